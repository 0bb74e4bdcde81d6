"""The first process of a node: python node_init.py JSON. It makes the node's view of this machine, then reaps orphans.

It starts in mount, network, process and host name namespaces of its own. When it ends, so does everything in the node,
and no mount, process or address is left. The JSON has `directory`, `name`, `address` and `service_address`.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

# The kubelet insists on these values and would set them. It is shown files, so that the machine keeps its own.
SYSCTLS = {"vm/overcommit_memory": "1", "kernel/panic": "10", "kernel/panic_on_oops": "1"}
# What kubelet, containerd and pods write below fixed paths goes to the node's own folder.
OWN = ("/var/lib", "/var/log", "/run")


def main() -> None:
    wanted = json.loads(sys.argv[1])
    directory = Path(wanted["directory"])
    for number, (name, value) in enumerate(SYSCTLS.items()):
        shown = directory / f"sysctl-{number}"
        shown.write_text(f"{value}\n")
        run("mount", "--bind", str(shown), f"/proc/sys/{name}")
    for path in OWN:
        if Path(path).exists():
            give_own(path, directory / "own" / path.strip("/").replace("/", "-"))
    # Volumes of pods are mounted by containerd and must be seen by runc, which runs one level below.
    run("mount", "--make-rshared", "/")
    socket.sethostname(wanted["name"])
    run("ip", "link", "set", "lo", "up")
    for address in (wanted["address"], wanted["service_address"]):
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
    (directory / "ready").touch()
    reap()


def give_own(path: str, store: Path) -> None:
    for part in ("upper", "work"):
        (store / part).mkdir(parents=True)
    layers = f"lowerdir={path},upperdir={store / 'upper'},workdir={store / 'work'}"
    run("mount", "-t", "overlay", "overlay", "-o", layers, path)


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def reap() -> None:
    """Wait for orphans, which shims of containers become."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    while True:
        signal.sigwait([signal.SIGCHLD])
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            continue


main()
