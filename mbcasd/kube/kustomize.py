"""The part of kustomize that `deploy/` uses: resources, components, JSON patches, labels and images.

`mbcasctl install` applies the very files that `kubectl apply -k` does, on machines that have neither kubectl nor
kustomize. What a kustomization says beyond this part is refused, never left out; a test compares the result with
kustomize's own.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from mbcasd.errors import ConfigError
from mbcasd.kube.jsonpatch import patched

Object = dict[str, Any]

KUSTOMIZATION = "kustomization.yaml"
# Kinds whose pods get the labels too; a part of kustomize's own list.
WITH_POD_TEMPLATE = ("DaemonSet", "Deployment", "StatefulSet", "Job")


def build(directory: Path) -> list[Object]:
    """Render one kustomization, in the order in which it names its resources (kustomize's own is by kind).

    Raises:
        ConfigError: A file is missing or broken, or something in it is not supported; the message names the file.
    """
    return _build(directory, [])


def with_component(objects: Iterable[Object], directory: Path) -> list[Object]:
    """What a kustomization of these objects with one component gives.

    Raises:
        ConfigError: As `build`.
    """
    return _build(directory, list(objects))


def with_image(objects: Iterable[Object], image: str, replaces: str) -> list[Object]:
    """Replace the image of every container that has the image `replaces`, whatever its tag."""
    return [_each_container(thing, lambda found: image if _name_of(found) == replaces else found) for thing in objects]


def _build(directory: Path, objects: list[Object]) -> list[Object]:
    path = directory / KUSTOMIZATION
    for key, value in _only_document(path).items():
        if key in {"apiVersion", "kind"}:
            continue
        if key not in _STEPS:
            raise ConfigError(f"{path}: {key} is not supported here; there are {', '.join(_STEPS)}")
        if not isinstance(value, list):
            raise ConfigError(f"{path}: {key} must be a list")
    # In kustomize's order, whatever order the file has them in.
    for key, step in _STEPS.items():
        for entry in _only_document(path).get(key) or ():
            try:
                objects = step(directory, objects, entry)
            except (KeyError, TypeError, AttributeError) as err:
                raise ConfigError(f"{path}: {key} has an entry that is not understood: {entry!r}") from err
            except ConfigError as err:
                # What a file further in has to say about itself needs no other.
                raise err if str(directory) in str(err) else ConfigError(f"{path}: {key}: {err}") from err
    return objects


def _resource(directory: Path, objects: list[Object], entry: str) -> list[Object]:
    path = directory / entry
    return [*objects, *(build(path) if path.is_dir() else _documents(path))]


def _component(directory: Path, objects: list[Object], entry: str) -> list[Object]:
    return with_component(objects, directory / entry)


def _patch(directory: Path, objects: list[Object], entry: Mapping[str, Any]) -> list[Object]:
    if left := entry.keys() - {"path", "patch", "target"}:
        raise ConfigError(f"a patch with {', '.join(left)} is not supported here")
    target = entry["target"]
    if left := target.keys() - {"kind", "name", "namespace"}:
        raise ConfigError(f"a target with {', '.join(left)} is not supported here")
    operations = _yaml(directory / entry["path"])[0] if "path" in entry else yaml.safe_load(entry["patch"])
    if not isinstance(operations, list):
        raise ConfigError(f"{entry.get('path', 'patch')} is no JSON patch (a list of operations)")
    return [patched(thing, operations) if _is_meant(thing, target) else thing for thing in objects]


def _is_meant(thing: Object, target: Mapping[str, str]) -> bool:
    said = {"kind": thing["kind"], **thing["metadata"]}
    return all(said.get(key) == value for key, value in target.items())


def _labels(_: Path, objects: list[Object], entry: Mapping[str, Any]) -> list[Object]:
    if left := entry.keys() - {"pairs", "includeTemplates"}:
        raise ConfigError(f"labels with {', '.join(left)} are not supported here")
    pairs = entry["pairs"]
    templates = WITH_POD_TEMPLATE if entry.get("includeTemplates") else ()
    return [_labelled(thing, pairs, templates) for thing in objects]


def _labelled(thing: Object, pairs: Mapping[str, str], templates: Iterable[str]) -> Object:
    result = {**thing, "metadata": _with_labels(thing["metadata"], pairs)}
    if thing["kind"] in templates:
        template = thing["spec"]["template"]
        labelled = {**template, "metadata": _with_labels(template.get("metadata") or {}, pairs)}
        result["spec"] = {**thing["spec"], "template": labelled}
    return result


def _with_labels(metadata: Object, pairs: Mapping[str, str]) -> Object:
    return {**metadata, "labels": {**(metadata.get("labels") or {}), **pairs}}


def _image(_: Path, objects: list[Object], entry: Mapping[str, Any]) -> list[Object]:
    if left := entry.keys() - {"name", "newName", "newTag"}:
        raise ConfigError(f"an image with {', '.join(left)} is not supported here")

    def renamed(found: str) -> str:
        if _name_of(found) != entry["name"]:
            return found
        name, tag = str(entry.get("newName", _name_of(found))), entry.get("newTag")
        return name + (f":{tag}" if tag else found.removeprefix(_name_of(found)))

    return [_each_container(thing, renamed) for thing in objects]


def _each_container(thing: Object, change: Callable[[str], str]) -> Object:
    if thing["kind"] not in WITH_POD_TEMPLATE:
        return thing
    template = thing["spec"]["template"]
    pod = {
        key: [{**one, "image": change(one["image"])} for one in value]
        if key in {"containers", "initContainers"}
        else value
        for key, value in template["spec"].items()
    }
    return {**thing, "spec": {**thing["spec"], "template": {**template, "spec": pod}}}


def _name_of(image: str) -> str:
    """An image's name without tag and digest; a colon before the last slash is a port's."""
    name = image.partition("@")[0]
    return name if ":" not in name.rpartition("/")[2] else name.rpartition(":")[0]


# What a kustomization may say, in the order in which kustomize does it.
_STEPS: dict[str, Callable[[Path, list[Object], Any], list[Object]]] = {
    "resources": _resource,
    "components": _component,
    "patches": _patch,
    "labels": _labels,
    "images": _image,
}


def _documents(path: Path) -> list[Object]:
    found = [document for document in _yaml(path) if document is not None]
    for document in found:
        if not (isinstance(document, dict) and document.get("kind") and document.get("metadata")):
            raise ConfigError(f"{path}: a document is no Kubernetes object: it lacks kind or metadata")
    return found


def _only_document(path: Path) -> dict[str, Any]:
    documents = _yaml(path)
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise ConfigError(f"{path}: not one document with settings of kustomize")
    return documents[0]


def _yaml(path: Path) -> list[Any]:
    try:
        return list(yaml.safe_load_all(path.read_text()))
    except OSError as err:
        raise ConfigError(f"{path}: {err.strerror}") from err
    except yaml.YAMLError as err:
        raise ConfigError(f"{path}: not YAML: {err}") from err
