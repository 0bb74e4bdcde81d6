"""Write the definition of PodAllocations, or say with `--check` that it is stale.

Fields, their names and types come from the structs that agent and controller read and write, bounds from
`mbcasd.kube.bounds`; what a struct cannot say (what a field means, rules between fields, columns) stands here.
A field that is new in a struct and has no entry here is an error, and so is an entry without a field.
"""

import sys
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import yaml

from mbcasd.kube import bounds, names
from mbcasd.kube.objects import AllocationSpec, AllocationStatus

TARGET = Path(__file__).resolve().parent.parent / "deploy" / "base" / "podallocations.yaml"
HEADER = "# Made by packaging/crd.py from mbcasd/kube/objects.py; `make manifests` writes it anew.\n"

Schema = dict[str, Any]

SCALARS = {str: "string", bool: "boolean", int: "integer"}


def text(description: str, chars: int, **more: object) -> Schema:
    """Describe a bounded string."""
    return {"description": description, "maxLength": chars, **more}


def whole(description: str, smallest: int, largest: int | None = None) -> Schema:
    """Describe a bounded integer."""
    most = {} if largest is None else {"maximum": largest}
    return {"description": description, "format": "int64", "minimum": smallest, **most}


def time(description: str) -> Schema:
    """Describe a moment."""
    return {"description": description, "format": "date-time"}


def choice(description: str, *values: str) -> Schema:
    """Describe one of a few words."""
    return {"description": description, "enum": list(values)}


def keyed(description: str, key: str, most: int, **more: object) -> Schema:
    """Describe a list in which `key` is unique, so that server-side apply merges it by that."""
    return {
        "description": description,
        "maxItems": most,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": [key],
        **more,
    }


def rules(*pairs: tuple[str, str]) -> Schema:
    """Rules in CEL, each with the message of its refusal."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def fixed(field: str) -> Schema:
    """Forbid to change a field once it is set."""
    return rules(("self == oldSelf", f"{field} cannot be changed"))


TOTAL = (
    "!has(self.totalLimitMilli) || self.totalLimitMilli =="
    " (has(self.containers) ? self.containers.map(c, c.limitMilli).sum() : 0)"
)
ORIGINAL_STAYS = (
    "oldSelf.all(o, self.exists(n, n.name == o.name && n.limitMilli == o.limitMilli"
    " && has(n.requestMilli) == has(o.requestMilli)"
    " && (!has(o.requestMilli) || n.requestMilli == o.requestMilli)))"
)
# One object per pod: agents and the controller find it by this name, and no second one can contradict it.
NAME_IS_THE_PODS = (
    "self.metadata.name == (self.spec.podName.size() > 240 ? self.spec.podName.substring(0, 240) : self.spec.podName)"
    " + '.' + (self.spec.podUID.size() > 8 ? self.spec.podUID.substring(0, 8) : self.spec.podUID)"
)

CPU = {
    "name": text("The container's name.", bounds.NAME_CHARS, minLength=1),
    "limitMilli": whole("Its CPU limit, in millicores.", bounds.LIMIT_MILLI_MIN, bounds.LIMIT_MILLI_MAX),
    "requestMilli": whole("Its CPU request, in millicores; absent: it is not touched.", 0, bounds.LIMIT_MILLI_MAX),
}
CPU_RULE = rules(
    ("!has(self.requestMilli) || self.requestMilli <= self.limitMilli", "requestMilli is above limitMilli")
)


def per_container(path: str, description: str, *, least: int = 0, **more: object) -> Schema:
    """Describe a list of CPU per container, and what is below it."""
    return {
        path: keyed(description, "name", bounds.CONTAINERS_MAX, **({"minItems": least} if least else {}), **more),
        f"{path}[]": CPU_RULE,
        **{f"{path}[].{field}": schema for field, schema in CPU.items()},
    }


SPEC: dict[str, Schema] = {
    "": {
        "description": "What the agent of the pod's node decided.",
        **rules(
            (
                "self.containers.all(c, self.original.exists(o, o.name == c.name))",
                "each of containers must be in original",
            ),
            (TOTAL, "totalLimitMilli is not the sum of containers"),
        ),
    },
    "podName": text(
        "The pod, in the namespace of this object.", bounds.OBJECT_NAME_CHARS, minLength=1, **fixed("podName")
    ),
    "podUID": text(
        "Its UID: a pod that was made again has another object.", bounds.UID_CHARS, minLength=1, **fixed("podUID")
    ),
    "nodeName": text(
        "Its node, whose agent alone may write this.", bounds.OBJECT_NAME_CHARS, minLength=1, **fixed("nodeName")
    ),
    **per_container("containers", "What each managed container should have.", least=1),
    **per_container(
        "original",
        "What the owner had set before MBCAS: put back when it lets go of the pod.",
        least=1,
        **rules((ORIGINAL_STAYS, "what the owner had set cannot be changed or removed")),
    ),
    "mechanism": text("How the node's CPU was divided: nash, …", bounds.MECHANISM_CHARS),
    "mode": choice("How scarce CPU was at that time.", "uncongested", "congested", "overloaded"),
    "priceMicro": whole("The shadow price of CPU, times a million; absent: there was none.", 0, bounds.PRICE_MICRO_MAX),
    "reason": text("What holds the pod at this limit.", bounds.REASON_CHARS),
    "recommendOnly": {"description": "Nothing is moved for this object; what was moved before goes back to original."},
    "released": {"description": "The pod is not managed any more: original is put back, then this object is deleted."},
    "decisionTime": time("When it was decided."),
    "totalLimitMilli": whole("The sum of the limits in containers, in millicores.", 0),
}

STATUS: dict[str, Schema] = {
    "": {
        "description": "What the controller did about it.",
        **rules((TOTAL, "totalLimitMilli is not the sum of containers")),
    },
    "phase": choice("In one word.", "Pending", "Applied", "Failed"),
    "reason": text("Why it is not Applied, in one word or a few.", bounds.REASON_CHARS),
    **per_container("containers", "What MBCAS set last."),
    "lastAppliedTime": time("When the kubelet last confirmed a change."),
    "lastAttemptTime": time("When a change was last asked for."),
    "observedGeneration": whole("The generation of the spec that this is about.", 0),
    "conditions": keyed("Applied, ResizePending, Conflict.", "type", bounds.CONDITIONS_MAX),
    "conditions[]": {},
    "conditions[].type": text("Which condition.", 63, minLength=1),
    "conditions[].status": choice("Whether it holds.", "True", "False", "Unknown"),
    "conditions[].reason": text("Why, in one word.", bounds.REASON_CHARS),
    "conditions[].message": text("Why, in a sentence.", bounds.MESSAGE_CHARS),
    "conditions[].observedGeneration": whole("The generation of the spec that it is about.", 0),
    "conditions[].lastTransitionTime": time("Since when its status is this one."),
    "totalLimitMilli": whole("The sum of the limits in containers, in millicores.", 0),
}

COLUMNS = [
    ("Node", "string", ".spec.nodeName", 0, "The pod's node"),
    ("Pod", "string", ".spec.podName", 0, "The pod"),
    ("Desired", "integer", ".spec.totalLimitMilli", 0, "What its managed containers should have, in millicores"),
    ("Applied", "integer", ".status.totalLimitMilli", 0, "The same as MBCAS set it last"),
    ("Phase", "string", ".status.phase", 0, "Pending, Applied or Failed"),
    ("Reason", "string", ".status.reason", 0, "Why it is not Applied"),
    ("Age", "date", ".metadata.creationTimestamp", 0, "Since when MBCAS manages the pod"),
    ("Held by", "string", ".spec.reason", 1, "What holds the pod at this limit"),
    ("Mode", "string", ".spec.mode", 1, "How scarce CPU was on the node"),
    ("Recommend", "boolean", ".spec.recommendOnly", 1, "Nothing is moved for it"),
    ("Released", "boolean", ".spec.released", 1, "The owner's values are being put back"),
    ("Decided", "date", ".spec.decisionTime", 1, "When it was decided"),
]  # fmt: skip


def schema_of(kind: Any, path: str, known: dict[str, Schema]) -> Schema:  # noqa: ANN401 - a type, a union or a generic
    """Derive a structural schema from a type; what `known` says about a path is taken out of it and added.

    Raises:
        KeyError: A field has no entry.
        TypeError: A field has a type that the API server has no word for.
    """
    words = known.pop(path)
    if isinstance(kind, UnionType):
        (kind,) = [one for one in get_args(kind) if one is not type(None)]
    if get_origin(kind) is tuple:
        return {**typed("array", words), "items": schema_of(get_args(kind)[0], f"{path}[]", known)}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = get_type_hints(kind)
        fields = msgspec.structs.fields(kind)
        below = f"{path}." if path else ""
        required = [field.encode_name for field in fields if field.required]
        return {
            **typed("object", words),
            **({"required": required} if required else {}),
            "properties": {
                field.encode_name: schema_of(hints[field.name], f"{below}{field.encode_name}", known)
                for field in fields
            },
        }
    if kind not in SCALARS:
        raise TypeError(f"{path}: no schema for {kind}")
    return typed(SCALARS[kind], words)


def typed(kind: str, words: Schema) -> Schema:
    """Put the type where readers look for it."""
    return {"type": kind, **words}


def definition() -> Schema:
    """Put the CustomResourceDefinition together.

    Raises:
        KeyError, TypeError: The structs have a field that is not described, or not describable.
        ValueError: A field is described that the structs do not have.
    """
    spec_words, status_words = dict(SPEC), dict(STATUS)
    schema = {
        "description": "The CPU that MBCAS decided for one pod, and what became of it.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": schema_of(AllocationSpec, "", spec_words),
            "status": schema_of(AllocationStatus, "", status_words),
        },
        **rules(
            (NAME_IS_THE_PODS, "the name must be podName and the first eight characters of podUID, with a dot between")
        ),
    }
    if left := [*spec_words, *status_words]:
        raise ValueError(f"described, but not in the structs: {', '.join(left)}")
    columns = [
        {"name": name, "type": kind, "jsonPath": path, "description": words, **({"priority": rank} if rank else {})}
        for name, kind, path, rank, words in COLUMNS
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.KIND.lower(),
                "shortNames": ["pa"],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "selectableFields": [{"jsonPath": ".spec.nodeName"}],
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def document() -> str:
    """The definition as it stands in `deploy/`."""

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the same dictionary twice is no anchor
            return True

    return HEADER + yaml.dump(definition(), Dumper=Plain, sort_keys=False, width=110, allow_unicode=True)


def main() -> int:
    """Write it, or compare; 1 when it is stale."""
    wanted = document()
    if "--check" in sys.argv[1:]:
        if not TARGET.exists() or TARGET.read_text() != wanted:
            print(f"stale: {TARGET.relative_to(TARGET.parents[2])}; run `make manifests`", file=sys.stderr)
            return 1
        return 0
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(wanted)
    print(f"written: {TARGET.relative_to(TARGET.parents[2])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
