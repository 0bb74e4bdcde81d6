"""What is built, where it is kept, and what is said when it is not there."""

from pathlib import Path

import pytest
from cluster import programs


@pytest.mark.parametrize("tools", [programs.NEWEST, programs.OLDEST])
def test_a_set_is_named_for_the_minor_version_that_its_modules_have(tools: str) -> None:
    major, minor, _ = programs.kubernetes_version(tools).removeprefix("v").split(".")

    assert tools == f"kube-{major}.{minor}"
    assert "kube-apiserver" in programs.names(tools)


def test_an_empty_cache_says_what_builds_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lacking = programs.not_built(programs.NEWEST)

    assert lacking is not None
    assert "run `make kubernetes`" in lacking or "install Go" in lacking
