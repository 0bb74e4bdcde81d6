"""The manifests of `deploy/`, rendered: what `mbcasctl install` applies.

The files travel with the program: in a checkout they are read where they stand, a wheel and the PyInstaller folder
carry a copy beside this module.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from mbcasd import __version__
from mbcasd.kube import kustomize

IMAGE_NAME = "mbcas"
DEFAULT_IMAGE = f"{IMAGE_NAME}:{__version__}"

Mode = Literal["observe", "recommend", "enforce"]
CgroupVersion = Literal["v1", "v2"]


def directory() -> Path:
    """Where `deploy/` is."""
    shipped = Path(__file__).with_name("deploy")
    return shipped if shipped.is_dir() else Path(__file__).parents[2] / "deploy"


def load(
    mode: Mode,
    *,
    cgroup: CgroupVersion = "v2",
    image: str | None = None,
    host_network: bool = False,
    opt_out: bool = False,
    monitoring: bool = False,
    components: Sequence[Path] = (),
) -> list[dict[str, Any]]:
    """All objects of one installation, in an order in which they can be applied.

    Args:
        mode: What agents and controller do with decisions.
        cgroup: Of the nodes; a cluster with both kinds needs a kustomization of its own.
        image: Used in place of `DEFAULT_IMAGE`; with tag or digest.
        host_network: Agents and controller use their node's network: for clusters without a pod network that reaches
            the API server.
        opt_out: The admission policy lets the controller resize pods that nobody has labelled; goes with the setting
            `selection.opt_in = false`.
        monitoring: Also what the Prometheus operator reads; only where it is installed.
        components: Directories of further kustomize components, the owner's, applied last.

    Raises:
        ConfigError: A component cannot be read or does not fit.
    """
    ours = directory()
    objects = kustomize.build(ours / "overlays" / mode)
    wanted = {"cgroup-v1": cgroup == "v1", "host-network": host_network, "opt-out": opt_out, "monitoring": monitoring}
    for component in [*(ours / "components" / name for name, is_wanted in wanted.items() if is_wanted), *components]:
        objects = kustomize.with_component(objects, component)
    return objects if image is None else kustomize.with_image(objects, image, IMAGE_NAME)
