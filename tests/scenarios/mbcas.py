"""MBCAS beside the test cluster: an agent for a node and a controller, as real processes under their real accounts."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from scenarios.daemons import Role, running
from scenarios.grounds import Grounds

# Fast enough that tests need not wait for the optimizer's slow grid; all else as it comes.
QUICK = """
[loops]
slow_loop_interval = "2s"
startup_grace_period = "1s"
"""


class Mbcas(NamedTuple):
    """Both, and what tests read off them."""

    agent: Role
    controller: Role

    def manages(self, name: str) -> bool:
        """Whether the agent has a container of a pod of this name in its market."""
        return manages(self.agent, name)

    def words(self) -> str:
        """The ends of their logs, for messages of failed tests."""
        return f"{self.agent.words()}\n{self.controller.words()}"


def manages(agent: Role, pod: str) -> bool:
    """Whether an agent has a container of a pod of this name in its market."""
    return any(row["name"] == pod and row["managed"] for row in agent.status()["workloads"])


def why_not(agent: Role, pod: str) -> str:
    """Why an agent does not manage a pod; empty: it does, or has not seen it."""
    return ", ".join(row["reason"] for row in agent.status()["workloads"] if row["name"] == pod and not row["managed"])


def agent_flags(ground: Grounds, node: str, *, server: str | None = None, capacity: str = "2000m") -> list[str]:
    """Flags of the agent of a node that works from outside of it."""
    return [
        *("--kubeconfig", ground.agent_kubeconfig(node, server), "--node-name", node, "--capacity", capacity),
        *("--kubepods", f"/{ground.cluster.nodes[node].cgroup}/kubepods"),
    ]


def controller_flags(ground: Grounds, *, identity: str = "a", server: str | None = None) -> list[str]:
    """Flags of a controller."""
    return ["--kubeconfig", ground.controller_kubeconfig(server), "--identity", identity]


@contextlib.contextmanager
def mbcas(
    ground: Grounds,
    directory: Path,
    *,
    node: str = "node-1",
    server: str | None = None,
    capacity: str = "2000m",
    mode: str = "enforce",
    config: str = "",
) -> Iterator[Mbcas]:
    """Both, ready; stopped at the end. `server` is a proxy that stands before the API server for both of them."""
    how = ("--mode", mode)
    text = QUICK + config
    with (
        running(
            "controller", directory / "controller", *controller_flags(ground, server=server), *how, config=text
        ) as c,
        running(
            "agent",
            directory / "agent",
            *agent_flags(ground, node, server=server, capacity=capacity),
            *how,
            config=text,
        ) as a,
    ):
        yield Mbcas(a, c)
