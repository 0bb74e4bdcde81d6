# Every target does its own set-up; nothing else has to be typed first. `make` alone explains.
#
# To change something: one thing at a time, `make check` (what CI runs, in the same order), `make test`,
# then a commit whose subject says in the imperative and in plain words what is different now.

VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
BINARY := dist/mbcas/mbcasctl
IMAGE  := dist/mbcas-image.tar
KERNEL := build/vm/vmlinuz
# Debian packages of tests and build. PyInstaller also wants the shared library of the Python that it runs in.
LIBPYTHON = import sys; sys.base_prefix == "/usr" and print("libpython%d.%d-dev" % sys.version_info[:2])
PACKAGES  = packaging/ensure-packages.sh $$(sed 's/\#.*//' packaging/apt-test.txt) $$($(BIN)/python -c '$(LIBPYTHON)')
CLUSTER   = PYTHONPATH=tests $(BIN)/python -m cluster
LOCK      = $(BIN)/uv pip compile pyproject.toml --quiet --generate-hashes --universal --python-version 3.11 --no-header

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check bench bench-cluster build image manifests cluster cluster-down kubernetes completions lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Each sets up what it needs; Python 3.11 or newer and a network are enough."

run: $(READY) ## the demo: a minute of load with fixed limits, then with MBCAS
	@$(BIN)/mbcasctl demo

test: $(READY) ## all tests that can run here; says which tiers were left out
	@if $(PACKAGES); then $(MAKE) --no-print-directory image && \
	    { $(MAKE) --no-print-directory $(KERNEL) || echo "    going on without the virtual machine"; }; \
	    { $(MAKE) --no-print-directory kubernetes || echo "    going on without Kubernetes"; }; \
	else echo "    going on without; the tests that need them are left out"; fi
	@echo "==> tests"
	@$(BIN)/pytest

check: $(READY) ## format, lint, types, layers, generated files: what CI does first
	@echo "==> format"
	@$(BIN)/ruff format --check .
	@echo "==> lint"
	@$(BIN)/ruff check .
	@echo "==> types"
	@$(BIN)/mypy
	@echo "==> layers"
	@$(BIN)/lint-imports
	@echo "==> generated files"
	@$(BIN)/python packaging/completions.py --check
	@$(BIN)/python packaging/crd.py --check

bench: $(READY) ## all benchmarks, as tables; as JSON in build/bench/
	@mkdir -p build/bench
	@set -e; for bench in tests/bench/bench_*.py; do \
	    echo "==> $$bench"; \
	    $(BIN)/python $$bench --json build/bench/$$(basename $$bench .py).json; \
	done

bench-cluster: kubernetes ## what controller and agents cost on a real Kubernetes (ten minutes); as root
	@$(PACKAGES)
	@mkdir -p build/bench
	@set -e; for bench in tests/bench/cluster/bench_*.py; do \
	    echo "==> $$bench"; \
	    $(BIN)/python $$bench --json build/bench/cluster-$$(basename $$bench .py).json; \
	done

build: $(BINARY) ## dist/mbcas/: both programs in a folder that needs no Python

image: $(IMAGE) ## dist/mbcas-image.tar: a container image, made without an engine; IMAGE_NAME=mbcas:tag

manifests: $(READY) ## write the definition of PodAllocations into deploy/
	@$(BIN)/python packaging/crd.py

cluster: $(READY) ## a real Kubernetes with two nodes on this machine, for people; needs root
	@$(PACKAGES)
	@$(CLUSTER) up

cluster-down: $(READY) ## end it; nothing of it is left
	@$(CLUSTER) down

kubernetes: $(READY) ## build Kubernetes for the test cluster, once per version (twenty minutes, ever)
	@$(CLUSTER) build

$(KERNEL): packaging/fetch-kernel.sh
	@echo "==> a kernel for the virtual machine"
	@packaging/fetch-kernel.sh $@
	@touch $@

completions: $(READY) ## write completions/ for bash, zsh and fish
	@$(BIN)/python packaging/completions.py

lock: $(READY) ## pin all requirements anew, with hashes
	@echo "==> locking what the development needs"
	@$(LOCK) --group dev -o requirements/dev.txt --upgrade
	@echo "==> locking what the programs need"
	@$(LOCK) -o requirements/run.txt --upgrade -c requirements/dev.txt

clean: ## remove everything that was made here, .venv included
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find mbcasd mbcasctl tests packaging -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements/dev.txt pyproject.toml packaging/make-venv.sh
	@packaging/make-venv.sh $(VENV)
	@touch $@

$(BINARY): $(READY) $(shell find mbcasd mbcasctl deploy -name '*.py' -o -name '*.yaml') $(wildcard packaging/*.py packaging/*.spec)
	@$(PACKAGES)
	@echo "==> building the binary (half a minute)"
	@$(BIN)/python packaging/build.py --onefile
	@touch $@

$(IMAGE): $(BINARY) packaging/image.py
	@echo "==> a container image of it"
	@$(BIN)/python packaging/image.py $(if $(IMAGE_NAME),--name $(IMAGE_NAME))
