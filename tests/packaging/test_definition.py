"""The generated definition of PodAllocations: fresh, complete, and tied to the structs."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rigs.scripts import script

ROOT = Path(__file__).parents[2]
crd = script("crd")


def test_the_definition_in_deploy_is_fresh():
    checked = subprocess.run([sys.executable, ROOT / "packaging" / "crd.py", "--check"], check=False, timeout=60)

    assert checked.returncode == 0


def test_a_stale_definition_is_noticed(tmp_path, monkeypatch, capsys):
    stale = tmp_path / "deploy" / "base" / "podallocations.yaml"
    stale.parent.mkdir(parents=True)
    stale.write_text(crd.document().replace("maximum: 512000", "maximum: 512001"))
    monkeypatch.setattr(crd, "TARGET", stale)
    monkeypatch.setattr(sys, "argv", ["crd.py", "--check"])

    assert crd.main() == 1
    assert "stale: deploy/base/podallocations.yaml; run `make manifests`" in capsys.readouterr().err


def test_the_document_is_the_definition():
    assert yaml.safe_load(crd.document()) == crd.definition()


def schemas(schema, path=""):
    """Every schema below this one, with its path."""
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from schemas(below, f"{path}.{name}")
    if "items" in schema:
        yield from schemas(schema["items"], f"{path}[]")


def every_part():
    whole = crd.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for half in ("spec", "status"):
        yield from schemas(whole["properties"][half], half)


def test_everything_is_bounded_as_rules_cost_by_the_bounds():
    for path, part in every_part():
        if part["type"] == "string":
            assert part.keys() & {"maxLength", "enum", "format"}, path
        if part["type"] == "array":
            assert "maxItems" in part, path
        if part["type"] == "integer":
            assert "minimum" in part, path


def test_everything_is_explained():
    explained = dict(every_part())

    assert all(part.get("description") for path, part in explained.items() if not path.endswith("[]"))
    assert "spec.containers[].limitMilli" in explained


def test_a_field_without_words_is_an_error(monkeypatch):
    fewer = {path: schema for path, schema in crd.SPEC.items() if path != "mode"}
    monkeypatch.setattr(crd, "SPEC", fewer)

    with pytest.raises(KeyError, match="mode"):
        crd.definition()


def test_words_without_a_field_are_an_error(monkeypatch):
    monkeypatch.setattr(crd, "SPEC", {**crd.SPEC, "ceilingMilli": crd.whole("Of what?", 0)})

    with pytest.raises(ValueError, match="ceilingMilli"):
        crd.definition()
