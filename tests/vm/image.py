"""What the guest finds when it starts: this machine's Python, the project and what it imports, at the same paths.

Everything is copied from this machine, so that there is no second installation to keep up to date. Packages that the
tests in the guest never import stay out, the memory of the guest is small.
"""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from vm.cpio import CONSOLE, CpioWriter

PROJECT = Path(__file__).parents[2]
INIT = Path(__file__).with_name("guest_init.py")

# Reports and the cluster roles import these, in two thirds of all bytes; nothing on a plain node does.
LEFT_OUT = {"numpy", "kubernetes"}
NEEDED_BY_TESTS = ["pytest", "hypothesis", "pexpect"]
# Programs that tests start, beside Python.
PROGRAMS = ["setpriv", "sh", "sleep"]
# Large parts of the standard library that nobody asks for.
NOT_OF_STDLIB = {"test", "idlelib", "tkinter", "lib2to3", "ensurepip", "turtledemo", "pydoc_data"}
NOT_OF_STDLIB |= {"site-packages", "dist-packages"}

_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")


def build(
    archive: Path, *, with_project: bool = True, programs: Iterable[Path] = (), files: Iterable[Path] = ()
) -> None:
    """Write the archive to start from.

    Args:
        archive: The file to write.
        with_project: Whether the project and what its tests import are in it, beside Python.
        programs: More programs, with their libraries.
        files: More files. All of them are at the paths that they have here.
    """
    base = Path(sys.executable).resolve()
    with CpioWriter(archive) as cpio:
        cpio.device(Path("/dev/console"), CONSOLE)
        for empty in ("proc", "sys", "tmp", "run", "root", "var/lib"):
            cpio.directory(Path("/", empty))
        cpio.add(Path("/etc/passwd"), b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
        cpio.add(Path("/etc/hosts"), b"127.0.0.1 localhost\n")
        # The kernel takes no long path, and no blank, behind #!.
        cpio.add(Path("/python"), os.fsencode(base), stat.S_IFLNK | 0o777)
        cpio.add(Path("/init"), b"#!/python -IS\n" + INIT.read_bytes(), stat.S_IFREG | 0o755)
        python = [*_python(base), *((*_distributions(), *_project()) if with_project else ())]
        programs = list(programs)
        for file in (*python, *programs, *files):
            cpio.copy(file)
        usual = [Path(found).resolve() for name in PROGRAMS if (found := shutil.which(name))]
        for name, program in zip(PROGRAMS, usual, strict=True):
            cpio.copy(program, Path("/bin", name))
        extensions = [file for file in python if ".so" in file.suffixes]
        for library in _libraries([base, *usual, *programs, *extensions]):
            # Under the name by which it is asked for, which is often a link.
            cpio.copy(library.resolve(), library)
        cache = Path("/etc/ld.so.cache")
        if cache.exists():
            cpio.copy(cache)


def _python(base: Path) -> Iterator[Path]:
    """The interpreter, its standard library, and the links through which the environment reaches it."""
    yield base
    link = Path(sys.executable)
    while link.is_symlink():
        yield link
        link = link.parent / link.readlink()
    configuration = Path(sys.prefix, "pyvenv.cfg")
    if configuration.exists():
        yield configuration
    stdlib = Path(sysconfig.get_path("stdlib"))
    yield from (
        file
        for file in stdlib.rglob("*")
        if file.is_file() and not NOT_OF_STDLIB.intersection(file.relative_to(stdlib).parts)
    )


def _distributions() -> Iterator[Path]:
    """The files of the project's requirements, those of the tests, and theirs in turn."""
    waiting, seen = ["mbcas", *NEEDED_BY_TESTS], set(LEFT_OUT)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform or another Python
        for requirement in distribution.requires or ():
            words = _REQUIREMENT.match(requirement)
            if words and "extra ==" not in requirement:
                waiting.append(words[0])
        for entry in distribution.files or ():
            file = Path(str(distribution.locate_file(entry)))
            if file.is_file():
                yield file
                yield from _compiled(file)


def _project() -> Iterator[Path]:
    yield PROJECT / "pyproject.toml"
    for folder in ("mbcasd", "mbcasctl", "tests"):
        yield from (file for file in (PROJECT / folder).rglob("*") if file.is_file())


def _compiled(file: Path) -> Iterator[Path]:
    """Spares the guest the compiling, which is slow there; installers do not list it."""
    if file.suffix == ".py":
        compiled = Path(importlib.util.cache_from_source(str(file)))
        if compiled.exists():
            yield compiled


def _libraries(programs: Iterable[Path]) -> set[Path]:
    """The shared libraries that these need, as the dynamic linker of this machine finds them."""
    listing = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    return {Path(path) for path in re.findall(r"(?:=> |^\t)(/\S+) \(0x", listing, re.MULTILINE)}
