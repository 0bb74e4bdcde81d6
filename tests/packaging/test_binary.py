"""The build itself, in an environment that has no Python to fall back on."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from rigs.kernel import a_daemon, a_rig, wait_until

from mbcasd import __version__
from mbcasd.kube import manifests

pytestmark = pytest.mark.binary

DIST = Path(__file__).parents[2] / "dist"
FOLDERS = [DIST / "mbcas", DIST / "mbcas-onefile"]
PROBLEM = {
    "capacity_milli": 1000,
    "agents": [
        {"name": "web", "floor_milli": 100, "cap_milli": 900},
        {"name": "api", "floor_milli": 100, "cap_milli": 900, "weight": 3},
    ],
}

folders = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def environ(home: Path) -> dict[str, str]:
    """Nothing that could lead to this checkout or to a Python; the single file unpacks itself into TMPDIR."""
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8"}


@pytest.fixture
def run(tmp_path):
    """Runs a program of the build to its end."""

    def run(program: Path, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(program), *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environ(tmp_path),
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )

    return run


@folders
def test_the_name_decides_which_program_it_is(run, folder):
    daemon, command = run(folder / "mbcasd", "--version"), run(folder / "mbcasctl", "--help")

    assert daemon.stdout == f"mbcasd {__version__}\n"
    assert "completion" in command.stdout
    assert (daemon.returncode, command.returncode) == (0, 0)


def test_a_link_from_elsewhere_is_as_good(run, tmp_path):
    link = tmp_path / "mbcasd"
    link.symlink_to(DIST / "mbcas" / "mbcasd")

    assert run(link, "--version").stdout == f"mbcasd {__version__}\n"


@folders
def test_it_solves_a_market(run, folder, tmp_path):
    (tmp_path / "problem.json").write_text(json.dumps(PROBLEM))

    solved = run(folder / "mbcasctl", "solve", "--dry-run", "-f", "problem.json", "-o", "json")

    assert solved.returncode == 0, solved.stderr
    # 1000 − 2 × 100 = 800 of surplus, one quarter and three quarters.
    given = {row["name"]: row["milli"] for row in json.loads(solved.stdout)["allocations"]}
    assert given == pytest.approx({"web": 300, "api": 700})


@folders
def test_it_writes_tables_yaml_and_configuration(run, folder):
    assert "market.overcommit" in run(folder / "mbcasctl", "config", "show").stdout
    assert "overcommit:" in run(folder / "mbcasctl", "config", "show", "-o", "yaml").stdout
    assert "overcommit = 2.0" in run(folder / "mbcasctl", "config", "init", "-").stdout


@folders
def test_a_mistake_is_told_without_a_traceback(run, folder):
    refused = run(folder / "mbcasctl", "config", "validate", "nowhere.toml")

    assert refused.returncode == 2
    assert refused.stderr.startswith("nowhere.toml: no such file")


def test_it_prints_the_completion_scripts_of_the_repository(run):
    printed = run(DIST / "mbcas" / "mbcasctl", "completion", "bash").stdout

    assert printed == (DIST.parent / "completions" / "mbcasctl.bash").read_text()


@folders
def test_it_renders_the_manifests_of_the_repository(run, folder):
    rendered = run(folder / "mbcasctl", "install", "--render", "--mode", "enforce", "--cgroup", "v1")

    assert rendered.returncode == 0, rendered.stderr
    wanted = manifests.load("enforce", cgroup="v1")
    assert dict(by_name(yaml.safe_load_all(rendered.stdout))) == dict(by_name(wanted))


def by_name(objects):
    """Objects by kind and name, without the note about how they were asked for."""
    for thing in objects:
        thing["metadata"].pop("annotations", None)
        yield (thing["kind"], thing["metadata"]["name"]), thing


@folders
def test_it_understands_kubeconfigs(run, folder, tmp_path):
    user, cluster = {"name": "u", "user": {"token": "x"}}, {"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}
    context = {"name": "here", "context": {"cluster": "c", "user": "u"}}
    described = {"current-context": "here", "contexts": [context], "clusters": [cluster], "users": [user]}
    (tmp_path / "config").write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **described}))

    away = run(folder / "mbcasctl", "status", "--kubeconfig", str(tmp_path / "config"))
    unknown = run(folder / "mbcasctl", "status", "--kubeconfig", str(tmp_path / "config"), "--context", "other")

    assert (away.returncode, unknown.returncode) == (1, 2)
    assert "API server not reachable" in away.stderr
    assert "no context 'other'" in unknown.stderr


@pytest.mark.kernel
def test_it_inspects_a_real_cgroup(run):
    with a_rig() as rig:
        rig.add("web", 200)
        rig.burn("web")
        seen = run(DIST / "mbcas" / "mbcasctl", "inspect", "--cgroup", rig.path, "-o", "json")

    assert seen.returncode == 0, seen.stderr
    assert "web" in seen.stdout


@pytest.mark.kernel
def test_the_daemon_looks_once_and_shows_what_it_saw(run, tmp_path):
    with a_rig() as rig:
        rig.add("web", 200)
        rig.burn("web")
        looked = run(
            DIST / "mbcas" / "mbcasd",
            *("local", "--once", "--parent", rig.path),
            *("--state-dir", str(tmp_path / "state"), "--socket", str(tmp_path / "mbcasd.sock")),
        )

    assert looked.returncode == 0, looked.stderr
    assert [row["name"] for row in json.loads(looked.stdout)["workloads"]] == ["web"]


@pytest.mark.kernel
def test_the_daemon_moves_a_limit_and_gives_it_back(tmp_path):
    program = DIST / "mbcas" / "mbcasd"
    with a_rig() as rig:
        rig.add("web", 200)
        with a_daemon(rig, tmp_path, "--mode", "enforce", "--capacity", "2000m", program=[str(program)]) as daemon:
            rig.burn("web")
            wait_until(lambda: (rig.limit("web") or 0) > 400, 10, "the limit is raised")
            # The folder is one process: no parent that waits and keeps memory.
            assert Path(f"/proc/{daemon.process.pid}/exe").readlink() == program.resolve()

        assert rig.limit("web") == 200


def test_it_installs_and_removes_itself_without_a_trace(run, tmp_path):
    place = tmp_path / "root"
    install = ["sh", str(DIST.parent / "packaging" / "install.sh")]
    env = {**environ(tmp_path), "DESTDIR": str(place), "PREFIX": "/usr"}

    subprocess.run(install, env=env, check=True, capture_output=True)

    assert run(place / "usr/lib/mbcas/mbcasd", "--version").stdout == f"mbcasd {__version__}\n"
    assert (place / "usr/bin/mbcasd").readlink() == Path("/usr/lib/mbcas/mbcasd")
    assert (place / "etc/systemd/system/mbcasd.service").exists()

    subprocess.run([*install, "--remove"], env=env, check=True, capture_output=True)

    assert [path for path in place.rglob("*") if not path.is_dir()] == []
