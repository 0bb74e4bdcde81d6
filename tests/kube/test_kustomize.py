"""The part of kustomize that is rendered here, compared with kustomize itself, and what it says of the rest."""

import itertools
import os
import subprocess
from collections.abc import Iterable

import pytest
import yaml
from cluster import programs

from mbcasd.errors import ConfigError
from mbcasd.kube import kustomize, manifests

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {tier: front}}
spec:
  template:
    spec:
      initContainers: [{name: init, image: "registry.example:5000/tools/init:1"}]
      containers: [{name: main, image: web}, {name: other, image: "other@sha256:12"}]
"""
ACCOUNT = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web, namespace: shop}\n"


@pytest.fixture
def written(tmp_path):
    """Writes a kustomization beside two manifests."""

    def write(text: str, **files: str):
        for name, content in {"deployment": DEPLOYMENT, "account": ACCOUNT, **files}.items():
            (tmp_path / f"{name}.yaml").write_text(content)
        (tmp_path / "kustomization.yaml").write_text(text)
        return tmp_path

    return write


def test_resources_come_in_the_order_in_which_they_are_named(written):
    built = kustomize.build(written("resources: [deployment.yaml, account.yaml]"))

    assert [thing["kind"] for thing in built] == ["Deployment", "ServiceAccount"]


def test_a_patch_changes_what_it_is_meant_for_only(written):
    add = "- {op: add, path: /metadata/annotations, value: {a: b}}"
    text = (
        "resources: [deployment.yaml, account.yaml]\npatches: [{path: add.yaml, target: {kind: Deployment, name: web}}]"
    )

    deployment, account = kustomize.build(written(text, add=add))

    assert deployment["metadata"]["annotations"] == {"a": "b"}
    assert "annotations" not in account["metadata"]


def test_labels_are_added_to_objects_and_to_the_pods_that_they_make(written):
    text = "resources: [deployment.yaml, account.yaml]\nlabels: [{pairs: {part: x}, includeTemplates: true}]"

    deployment, account = kustomize.build(written(text))

    assert deployment["metadata"]["labels"] == {"tier": "front", "part": "x"}
    assert deployment["spec"]["template"]["metadata"]["labels"] == {"part": "x"}
    assert account["metadata"]["labels"] == {"part": "x"}


@pytest.mark.parametrize(
    ("entry", "images"),
    [
        ("{name: web, newTag: '2'}", ["web:2", "other@sha256:12", "registry.example:5000/tools/init:1"]),
        ("{name: web, newName: a.b/web}", ["a.b/web", "other@sha256:12", "registry.example:5000/tools/init:1"]),
        ("{name: registry.example:5000/tools/init, newTag: '2'}",
         ["web", "other@sha256:12", "registry.example:5000/tools/init:2"]),
    ],
)  # fmt: skip
def test_images_get_other_names_and_tags(written, entry, images):
    (deployment,) = kustomize.build(written(f"resources: [deployment.yaml]\nimages: [{entry}]"))

    pod = deployment["spec"]["template"]["spec"]
    assert [one["image"] for one in [*pod["containers"], *pod["initContainers"]]] == images


def test_a_component_sees_what_was_there_before(written, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "kustomization.yaml").write_text(
        "kind: Component\npatches:\n- target: {kind: ServiceAccount}\n"
        "  patch: '[{op: add, path: /automountServiceAccountToken, value: false}]'\n"
    )

    (account,) = kustomize.build(written("resources: [account.yaml]\ncomponents: [more]"))

    assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("resources: [nowhere.yaml]", "nowhere.yaml: No such file"),
        ("namePrefix: x-", "namePrefix is not supported here"),
        ("resources: account.yaml", "resources must be a list"),
        ("resources: [broken.yaml]", "broken.yaml: not YAML"),
        ("resources: [other.yaml]", "other.yaml: a document is no Kubernetes object"),
        ("patches: [{path: other.yaml, target: {kind: ServiceAccount}}]", "is no JSON patch"),
        ("patches: [{path: other.yaml}]", "patches has an entry that is not understood"),
        ("patches: [{path: x, target: {labelSelector: a}}]", "a target with labelSelector is not supported"),
        ("patches: [{path: x, target: {kind: A}, options: {}}]", "a patch with options is not supported"),
        ("labels: [{pairs: {a: b}, includeSelectors: true}]", "labels with includeSelectors are not supported"),
        ("images: [{name: a, digest: b}]", "an image with digest is not supported"),
        ("[]", "not one document with settings of kustomize"),
        ("resources: [account.yaml]\npatches: [{patch: '[{op: remove, path: /x}]', target: {name: web}}]",
         "patches: /x leads nowhere"),
    ],
)  # fmt: skip
def test_nothing_is_left_out_in_silence(written, text, words):
    directory = written(text, broken="a: [", other="a: b")

    with pytest.raises(ConfigError, match=words) as refused:
        kustomize.build(directory)

    assert str(directory) in str(refused.value)


MODES = ("observe", "recommend", "enforce")
COMPONENTS = ("cgroup-v1", "host-network", "opt-out", "monitoring")


def by_name(things: Iterable[dict]) -> list[dict]:
    """Kustomize sorts by kind; ours is the order of the files."""
    return sorted(things, key=lambda thing: (thing["kind"], thing["metadata"]["name"]))


def by_kustomize(directory) -> list[dict]:
    """What the kustomize inside of kubectl makes of it."""
    kubectl = programs.folder(programs.NEWEST) / "kubectl"
    # Files above the kustomization are ours too.
    command = [kubectl, "kustomize", "--load-restrictor=LoadRestrictionsNone", directory]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return by_name(yaml.safe_load_all(done.stdout))


@pytest.mark.control_plane
@pytest.mark.parametrize("mode", MODES)
def test_an_overlay_is_what_kustomize_makes_of_it(mode):
    assert by_name(manifests.load(mode)) == by_kustomize(manifests.directory() / "overlays" / mode)


@pytest.mark.control_plane
@pytest.mark.parametrize("chosen", [pair for pair in itertools.combinations(COMPONENTS, 2)] + [COMPONENTS])  # noqa: C416
def test_so_is_an_overlay_with_components(tmp_path, chosen):
    deploy = os.path.relpath(manifests.directory(), tmp_path)
    (tmp_path / "kustomization.yaml").write_text(
        f"resources: [{deploy}/overlays/enforce]\n"
        f"components: [{', '.join(f'{deploy}/components/{name}' for name in chosen)}]\n"
    )

    ours = manifests.load(
        "enforce",
        cgroup="v1" if "cgroup-v1" in chosen else "v2",
        host_network="host-network" in chosen,
        opt_out="opt-out" in chosen,
        monitoring="monitoring" in chosen,
    )

    assert by_name(ours) == by_kustomize(tmp_path)
    assert ours == kustomize.build(tmp_path)
