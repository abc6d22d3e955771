"""Objects of a serving in any shape and with any text: what a broken or hostile server sends."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.detail import objects
from tests.serving.foreign_manifests import Json, foreign_objects

HOSTILE_TEXTS = (
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b2J",
    "two\nlines\r\nand\ttabs",
    "\u202eright to left\u2066",
    "\u200b\ufe0f\u034f",
    "한국어 👍🏽 e" + "\u0301" * 9,
    "[red]markup[/red]",
    "\0",
    "\ud800",
    "x" * 300,
    "1e400",
    "-1",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59+23:59",
    "2026-01-01T00:00:00",
)
hostile_texts = st.sampled_from(HOSTILE_TEXTS) | st.text(max_size=20)
numbers = (
    st.integers()
    | st.sampled_from([-1, 0, 2**31, 2**63, 10**30])
    | st.floats(allow_nan=False, allow_infinity=False)
)
known_keys = st.sampled_from(
    ["name", "value", "env", "containers", "limits", "spec", "metadata", "key", "port", "httpGet"]
)
any_json = st.recursive(
    st.none() | st.booleans() | numbers | hostile_texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(known_keys | hostile_texts, inner, max_size=3)
    ),
    max_leaves=6,
)
IDENTITY = frozenset({"uid", "ownerReferences", "kind", "namespace", "selector"})
"""Fields by which objects belong together: they stay, or the serving has no Pods. The API server
rejects a request with a selector that it cannot read."""


class HostileServing(NamedTuple):
    """Objects of one serving; they belong together, and nothing else about them is sure."""

    deployment: Json
    replicaset: Json
    pod: Json
    node: Json
    events: list[Json]


@st.composite
def hostile_servings(draw: st.DrawFn) -> HostileServing:
    """A serving whose fields are replaced, removed and added at random."""
    deployment = draw(foreign_objects())[0] if draw(st.booleans()) else objects.deployment()
    deployment["metadata"] |= {"uid": "uid-deployment", "namespace": objects.NAMESPACE}
    template = copy.deepcopy(deployment["spec"]["template"])
    replicaset: Json = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": "llm-1",
            "namespace": objects.NAMESPACE,
            "uid": "uid-replicaset",
            "labels": dict(template["metadata"]["labels"]),
            "annotations": {"deployment.kubernetes.io/revision": "1"},
            "creationTimestamp": "2026-11-23T01:00:00Z",
            "ownerReferences": [_owner("Deployment", deployment["metadata"]["name"])],
        },
        "spec": {"replicas": 1, "template": template},
        "status": {"replicas": 1, "readyReplicas": 0},
    }
    pod = objects.pod("llm-1-a")
    pod["metadata"] |= {
        "labels": dict(template["metadata"]["labels"]),
        "ownerReferences": [_owner("ReplicaSet", "llm-1")],
    }
    events = [_event(reason) for reason in ("Unhealthy", "BackOff", "FailedScheduling")]
    node = objects.node()
    for one in (deployment, replicaset, pod, node, *events):
        for _ in range(draw(st.integers(0, 4))):
            _change_something(draw, one)
    return HostileServing(deployment, replicaset, pod, node, events)


def _owner(kind: str, name: str) -> Json:
    uid = f"uid-{kind.lower()}"
    return {"kind": kind, "name": name, "uid": uid, "controller": True}


def _event(reason: str) -> Json:
    message = "Startup probe failed: HTTP probe failed with statuscode: 503"
    return {
        "kind": "Event",
        "metadata": {"name": f"e-{reason}", "namespace": objects.NAMESPACE, "uid": reason},
        "involvedObject": {
            "kind": "Pod",
            "namespace": objects.NAMESPACE,
            "name": "llm-1-a",
            "uid": "uid-llm-1-a",
            "fieldPath": "spec.containers{inference-server}",
        },
        "type": "Warning",
        "reason": reason,
        "message": message,
        "count": 3,
        "firstTimestamp": "2026-11-23T02:58:00Z",
        "lastTimestamp": "2026-11-23T02:59:00Z",
    }


def _change_something(draw: st.DrawFn, root: Json) -> None:
    """Replace or remove one value of the object, or add one, at any depth."""
    node: Any = root
    while True:
        keys = [key for key in _keys(node) if key not in IDENTITY]
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        child = node[key]
        if isinstance(child, (dict, list)) and child and draw(st.integers(0, 4)):
            node = child
            continue
        break
    if isinstance(node, dict) and node is not root and draw(st.integers(0, 3)) == 0:
        node[draw(known_keys | hostile_texts)] = draw(any_json)
    elif key in ("metadata", "involvedObject"):
        return
    elif isinstance(node[key], str) and draw(st.booleans()):
        node[key] = draw(hostile_texts)
    elif draw(st.integers(0, 4)) == 0:
        del node[key]
    else:
        node[key] = draw(any_json)


def _keys(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node)
    return list(range(len(node))) if isinstance(node, list) else []
