#!/bin/sh
# Make .venv with everything that `make` needs: make-venv.sh VENV
#
# Finds a Python of at least 3.11, installs Debian's venv package where it is missing and we may, then the
# locked requirements (hashes checked) and this package in editable form. Safe to run again at any time.
set -eu
cd "$(dirname "$0")/.."
venv=$1
here=packaging

# A Python that is new enough, by the names that Debian and Ubuntu give it. The system's own comes first: one from
# somebody's home cannot be read by other users, which tests and services run as.
find_python() {
    for name in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return 0
        fi
    done
    return 1
}

if ! python=$(find_python); then
    echo "==> no Python of at least 3.11 here"
    # Ubuntu 22.04 calls its python3 3.10 and has 3.11 beside it.
    "$here/ensure-packages.sh" python3.11 python3.11-venv
    python=$(find_python)
fi

if ! "$venv/bin/python" -c '' 2>/dev/null; then
    # Debian and Ubuntu ship `venv` without `ensurepip`, which it needs.
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        "$here/ensure-packages.sh" "python$version-venv"
    fi
    echo "==> making $venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1
echo "==> installing the locked requirements (about 100 MB, a minute or two the first time)"
"$venv/bin/python" -m pip install --quiet --require-hashes -r requirements/dev.txt
echo "==> installing mbcas itself, editable"
"$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation -e .
