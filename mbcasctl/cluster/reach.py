"""From options to an API client, and the reads that several commands share."""

import os
import re
from typing import TypeVar

import msgspec

from mbcasctl.cluster.objects import DaemonSet, Deployment, Lease, VersionInfo, Worker
from mbcasctl.cluster.options import ClusterOptions
from mbcasd import __version__
from mbcasd.clock import Clock, SystemClock
from mbcasd.errors import ApiRefused
from mbcasd.kube import names
from mbcasd.kube.access import detect
from mbcasd.kube.api import Api
from mbcasd.kube.install import PART_OF
from mbcasd.kube.listing import list_all
from mbcasd.kube.objects import PodAllocation

T = TypeVar("T")

DAEMON_SET_PATH = f"/apis/apps/v1/namespaces/{names.NAMESPACE}/daemonsets/{names.AGENT}"
DEPLOYMENT_PATH = f"/apis/apps/v1/namespaces/{names.NAMESPACE}/deployments/{names.CONTROLLER}"
LEASE_PATH = f"/apis/coordination.k8s.io/v1/namespaces/{names.NAMESPACE}/leases/{names.CONTROLLER}"


class Cluster:
    """One cluster, with the rights of whoever the kubeconfig is for."""

    def __init__(self, api: Api, clock: Clock | None = None) -> None:
        """Read through `api`."""
        self.api = api
        self.clock: Clock = clock or SystemClock()

    @property
    def place(self) -> str:
        """What to call it: the API server's URL."""
        return self.api.access.server

    def version(self) -> VersionInfo:
        """Of Kubernetes."""
        return msgspec.json.decode(self.api.get("/version"), type=VersionInfo)

    def find(self, path: str, kind: type[T]) -> T | None:
        """One object; None: it does not exist."""
        try:
            return msgspec.json.decode(self.api.get(path), type=kind)
        except ApiRefused as err:
            if err.code == 404:
                return None
            raise

    def agents(self) -> DaemonSet | None:
        """The DaemonSet; None: MBCAS is not installed."""
        return self.find(DAEMON_SET_PATH, DaemonSet)

    def controllers(self) -> Deployment | None:
        """The Deployment; None: MBCAS is not installed."""
        return self.find(DEPLOYMENT_PATH, Deployment)

    def lease(self) -> Lease | None:
        """Who leads the controllers; None: nobody ever did."""
        return self.find(LEASE_PATH, Lease)

    def workers(self) -> list[Worker]:
        """The pods of MBCAS itself."""
        return list_all(self.api, names.pods_path(names.NAMESPACE), Worker, {"labelSelector": PART_OF})

    def allocations(self, namespace: str | None = None) -> list[PodAllocation] | None:
        """All PodAllocations, or those of a namespace; None: their kind is not defined, MBCAS is not installed."""
        try:
            return list_all(self.api, names.allocations_path(namespace), PodAllocation)
        except ApiRefused as err:
            if err.code == 404:
                return None
            raise


def connect(options: ClusterOptions) -> Cluster:
    """Prepare to talk to the cluster that the options, or the person's kubeconfig, name.

    Raises:
        ConfigError: There is no kubeconfig, or it is wrong.
    """
    clock = SystemClock()
    access = detect(options.kubeconfig, options.context, os.environ)
    return Cluster(Api(access, clock=clock, user_agent=f"mbcasctl/{__version__}"), clock)


def minor_of(version: VersionInfo) -> int | None:
    """The minor version of Kubernetes; None: it has another major one, or says something else altogether."""
    minor = re.match(r"\d+", version.minor)
    return int(minor.group()) if version.major == "1" and minor else None
