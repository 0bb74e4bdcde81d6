"""What `make` calls: python -m cluster build|up|down."""

import argparse
import sys

from cluster import archives, cluster, keeper, programs


def main() -> int:
    parser = argparse.ArgumentParser(prog="cluster", description=__doc__)
    actions = {"build": _build, "up": _up, "down": _down, "keep": keeper.keep}
    parser.add_argument("action", choices=actions)
    return actions[parser.parse_args().action]()


def _build(*sets: str) -> int:
    for tools in sets or (programs.NEWEST, programs.OLDEST):
        if programs.not_built(tools) and not programs.go_is_missing(tools):
            print(
                f"==> building Kubernetes {programs.kubernetes_version(tools)} (ten minutes from nothing)", flush=True
            )
        try:
            programs.build(tools)
        except programs.BuildError as err:
            print(err, file=sys.stderr)
            return 1
    return 0


def _up() -> int:
    held = keeper.find()
    if held is not None:
        print("The cluster is already up.")
        return _tell(held)
    if code := _build(programs.NEWEST):
        return code
    if lacking := cluster.missing():
        print(f"No cluster here: {lacking}", file=sys.stderr)
        return 1
    try:
        held = keeper.start()
    except RuntimeError as err:
        print(f"The cluster did not start:\n{err}", file=sys.stderr)
        return 1
    print(f"Kubernetes {held.version} with {len(held.nodes)} Ready nodes, up in {held.started_in_s:g} s.")
    return _tell(held)


def _tell(held: keeper.Held) -> int:
    images = f"{archives.BURNER}, {archives.BUSYBOX}"
    print(
        f"""
  export KUBECONFIG={held.kubeconfig}
  {programs.folder(programs.NEWEST) / "kubectl"} get nodes

  mbcasctl and everything else that knows a kubeconfig works the same way.
  Images on the nodes (imagePullPolicy: Never): {images}
  Logs: {held.directory}
  End it with: make cluster-down"""
    )
    return 0


def _down() -> int:
    took_s = keeper.stop()
    print("No cluster was up." if took_s is None else f"The cluster is down ({took_s:.1f} s); nothing of it is left.")
    return 0


sys.exit(main())
