"""The control plane itself: everything else is tried against it."""

import pytest
from cluster.control_plane import ControlPlane

pytestmark = pytest.mark.control_plane


def a_pod(name: str) -> dict:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "none"}]}}


def test_it_is_the_version_that_it_was_built_as(
    control_plane: ControlPlane, control_plane_oldest: ControlPlane
) -> None:
    assert control_plane.get("/version")["gitVersion"] == control_plane.version
    assert control_plane_oldest.get("/version")["gitVersion"] == control_plane_oldest.version
    assert control_plane.server != control_plane_oldest.server


def test_a_service_account_has_no_rights_of_its_own(control_plane: ControlPlane) -> None:
    with control_plane.namespace() as namespace:
        control_plane.create(f"/api/v1/namespaces/{namespace}/pods", a_pod("bound"))
        token = control_plane.token(namespace, "default", pod="bound")
        code, answer = control_plane.request("GET", f"/api/v1/namespaces/{namespace}/pods", token=token)

        assert (code, answer["reason"]) == (403, "Forbidden")
        assert f"system:serviceaccount:{namespace}:default" in answer["message"]


def test_objects_survive_a_restart_of_the_api_server(control_plane: ControlPlane) -> None:
    with control_plane.namespace(managed=False) as namespace:
        control_plane.restart_apiserver()

        assert control_plane.get(f"/api/v1/namespaces/{namespace}")["metadata"]["name"] == namespace
