"""What the kubelet hands to its Pods and containers, so that no part refers back to its whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from servedeck.demo.clock import Clock
from servedeck.demo.controllers.event_recorder import EventRecorder
from servedeck.demo.event_messages import EventMessage
from servedeck.demo.store.store import ObjectStore
from servedeck.demo.workloads.instance_history import InstanceHistory
from servedeck.demo.workloads.traffic import Traffic


class NodeImages:
    """Which images each node has pulled."""

    def __init__(self) -> None:
        self._pulled: set[tuple[str, str]] = set()

    def has(self, node: str, reference: str) -> bool:
        return (node, reference) in self._pulled

    def add(self, node: str, reference: str) -> None:
        self._pulled.add((node, reference))


@dataclass(frozen=True)
class NodeServices:
    """Shared by all Pods of all nodes."""

    store: ObjectStore
    clock: Clock
    recorder: EventRecorder
    traffic: Traffic
    images: NodeImages = field(default_factory=NodeImages)
    history: InstanceHistory = field(default_factory=InstanceHistory)


class RecordEvent(Protocol):
    """Records an Event about one Pod; `path` names the part of it, `values` fill the message."""

    def __call__(self, message: EventMessage, /, *, path: str = "", **values: object) -> None: ...
