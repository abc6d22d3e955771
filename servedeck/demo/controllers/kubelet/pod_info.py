"""The facts of a Pod that do not change while it is bound to its node."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from servedeck.demo.clock import parse_timestamp
from servedeck.demo.controllers.base import controller_of
from servedeck.demo.resources import NODES
from servedeck.demo.store.objects import Json
from servedeck.demo.store.store import ObjectStore
from servedeck.demo.workloads import failure_simulation
from servedeck.demo.workloads.request_load import LoadSettings, LoadSwing
from servedeck.serving.conventions import SERVING_LABEL

_DEFAULT_HOST_ADDRESS = "10.20.0.1"


@dataclass(frozen=True)
class PodInfo:
    """`spec` is shared with the store: never alter it."""

    namespace: str
    name: str
    uid: str
    node: str
    spec: Json
    annotations: Mapping[str, str]
    serving: str
    """"namespace/name" of what the Pod serves; Pods of one serving share its load."""
    load: LoadSettings
    """Load of the serving, from the Pod's annotations."""
    accelerator: str
    """Product name of the node's accelerators, "" where it has none."""
    address: str
    host_address: str

    @property
    def has_init_containers(self) -> bool:
        return bool(self.spec.get("initContainers"))

    @property
    def initial_reason(self) -> str:
        """Why a container waits that has not been created yet."""
        return "PodInitializing" if self.has_init_containers else "ContainerCreating"

    @property
    def restart_policy(self) -> str:
        return str(self.spec.get("restartPolicy") or "Always")

    @property
    def grace_seconds(self) -> float:
        return float(self.spec.get("terminationGracePeriodSeconds", 30))


def pod_info(store: ObjectStore, pod: Json) -> PodInfo:
    """Reads the facts from a Pod that is bound, and from its node."""
    meta, spec = pod["metadata"], pod["spec"]
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    owner = controller_of(pod) or {}
    serving = labels.get(SERVING_LABEL) or labels.get("app") or owner.get("name") or meta["name"]
    node_name = str(spec.get("nodeName") or "")
    node = store.find(NODES, "", node_name) or {"metadata": {}}
    node_labels = node["metadata"].get("labels") or {}
    accelerator = (
        node_labels.get("nvidia.com/gpu.product") or node_labels.get("furiosa.ai/npu.product") or ""
    )
    return PodInfo(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        node=node_name,
        spec=spec,
        annotations=annotations,
        serving=f"{meta['namespace']}/{serving}",
        load=_load_settings(annotations),
        accelerator=str(accelerator),
        address=str((pod.get("status") or {}).get("podIP") or _generated_address(meta["uid"])),
        host_address=_internal_address(node),
    )


def _generated_address(uid: str) -> str:
    rng = random.Random(f"{uid}/address")  # noqa: S311 - an address, not a secret
    return f"10.42.{rng.randint(1, 200)}.{rng.randint(2, 250)}"


def _load_settings(annotations: Mapping[str, str]) -> LoadSettings:
    replicas = _parse_float(annotations.get(failure_simulation.LOAD_REPLICAS_ANNOTATION))
    return LoadSettings(
        mean=_parse_float(annotations.get(failure_simulation.REQUEST_RATE_ANNOTATION)),
        replicas=replicas or 1.0,
        swing=_parse_swing(annotations.get(failure_simulation.LOAD_SWING_ANNOTATION, "")),
    )


def _parse_swing(text: str) -> LoadSwing | None:
    """The swing of a period and, after a space, its start; None for an invalid text."""
    period, _, start = text.partition(" ")
    seconds = failure_simulation.parse_duration(period)
    try:
        return LoadSwing(seconds, parse_timestamp(start) if start else 0.0) if seconds else None
    except ValueError:
        return None


def _parse_float(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _internal_address(node: Json) -> str:
    for entry in (node.get("status") or {}).get("addresses") or ():
        if entry.get("type") == "InternalIP":
            return str(entry.get("address"))
    return _DEFAULT_HOST_ADDRESS
