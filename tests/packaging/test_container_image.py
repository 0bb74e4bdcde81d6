"""The container image: what is in it, that it is the same every time, and that it runs where nothing else is."""

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from rigs.scripts import script

from mbcasd import __version__

pytestmark = pytest.mark.binary

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "dist" / "mbcas"
SCRIPT = ROOT / "packaging" / "image.py"


def make(target: Path, *words: str) -> Path:
    command = [sys.executable, SCRIPT, "--folder", FOLDER, "--output", target, *words]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return target


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make(tmp_path_factory.mktemp("image") / "image.tar")


@pytest.fixture(scope="module")
def blobs(archive):
    with tarfile.open(archive) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}


def described(blobs, kind):
    index = json.loads(blobs["index.json"])
    manifest = json.loads(blob(blobs, index["manifests"][0]))
    found = manifest["config"] if kind == "config" else manifest["layers"][0]
    return blob(blobs, found)


def blob(blobs, wanted):
    data = blobs[f"blobs/sha256/{wanted['digest'].removeprefix('sha256:')}"]
    assert len(data) == wanted["size"]
    assert hashlib.sha256(data).hexdigest() == wanted["digest"].removeprefix("sha256:")
    return data


@pytest.fixture(scope="module")
def root(blobs, tmp_path_factory):
    """The image's root file system, unpacked."""
    place = tmp_path_factory.mktemp("root")
    place.chmod(0o755)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(described(blobs, "layer")))) as layer:
        layer.extractall(place)
    return place


def test_the_same_build_gives_the_same_bytes(archive, tmp_path):
    assert make(tmp_path / "again.tar").read_bytes() == archive.read_bytes()


def test_it_is_small(archive):
    assert archive.stat().st_size < 30e6


def test_it_starts_the_daemon_as_nobody_in_particular(blobs):
    config = json.loads(described(blobs, "config"))

    assert config["config"]["Entrypoint"] == ["/usr/bin/mbcasd"]
    assert config["config"]["User"] == "65532:65532"
    assert config["config"]["Labels"]["org.opencontainers.image.version"] == __version__


def test_docker_and_oci_tools_find_the_same_image(blobs):
    (for_docker,) = json.loads(blobs["manifest.json"])
    (for_others,) = json.loads(blobs["index.json"])["manifests"]

    assert for_docker["RepoTags"] == [f"mbcas:{__version__}"]
    assert for_others["annotations"]["io.containerd.image.name"] == f"docker.io/library/mbcas:{__version__}"
    assert blobs[for_docker["Config"]] == described(blobs, "config")
    assert blobs[for_docker["Layers"][0]] == described(blobs, "layer")
    diff_id = hashlib.sha256(gzip.decompress(described(blobs, "layer"))).hexdigest()
    assert json.loads(described(blobs, "config"))["rootfs"]["diff_ids"] == [f"sha256:{diff_id}"]


@pytest.mark.parametrize(
    ("name", "full", "tag"),
    [
        ("mbcas", "docker.io/library/mbcas", "latest"),
        ("mbcas:2", "docker.io/library/mbcas:2", "2"),
        ("cpu/mbcas:2", "docker.io/cpu/mbcas:2", "2"),
        ("registry.example/cpu/mbcas:2", "registry.example/cpu/mbcas:2", "2"),
        ("localhost/mbcas:2", "localhost/mbcas:2", "2"),
        ("registry:5000/mbcas", "registry:5000/mbcas", "latest"),
    ],
)
def test_a_name_is_filled_up_as_container_engines_do(name, full, tag):
    image = script("image")

    assert (image.reference(name), image.tag(name)) == (full, tag)


def test_nothing_in_it_could_help_an_intruder(root):
    programs = {path.name for path in root.rglob("*") if path.is_file() and path.stat().st_mode & 0o111}

    assert not programs & {"sh", "bash", "busybox", "apt", "dpkg", "python3", "perl", "su", "mount"}
    assert not any(path.stat().st_mode & 0o6000 for path in root.rglob("*") if not path.is_symlink())


@pytest.mark.kernel
def test_it_runs_on_a_read_only_root_as_a_user_without_privileges(root):
    script = (
        f"mount --bind {root} {root} && mount -o remount,bind,ro {root} && "
        f"exec chroot --userspec=65532:65532 {root} /usr/bin/mbcasd --version"
    )

    ran = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        timeout=60,
    )

    assert (ran.returncode, ran.stdout) == (0, f"mbcasd {__version__}\n"), ran.stderr


def test_it_carries_the_manifests_that_install_applies(root):
    shipped = root / "usr/lib/mbcas/_internal/mbcasd/kube/deploy"
    ours = ROOT / "deploy"

    files = {path.relative_to(ours) for path in ours.rglob("*.yaml")}
    assert {path.relative_to(shipped) for path in shipped.rglob("*.yaml")} == files
    assert all((shipped / file).read_bytes() == (ours / file).read_bytes() for file in files)
