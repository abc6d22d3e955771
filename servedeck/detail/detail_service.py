"""What the page of a serving needs of a cluster besides the list. `cluster_detail_service`
implements it; tests bring their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from servedeck.detail.endpoint_try import EndpointAnswer, EndpointTarget
    from servedeck.detail.inference_client import InferenceClient
    from servedeck.detail.object_watch import LiveObject, ObjectQuery
    from servedeck.serving.objects.records import Event


class Watch(Protocol):
    """A watch that is open until `close`. What it has read stays readable."""

    @property
    def is_settled(self) -> bool:
        """Whether the objects are listed, or it is known that they cannot be."""

    @property
    def missing_permission(self) -> str:
        """The missing verb and resource in one sentence; "" if there is none."""

    async def close(self) -> None: ...


class ObjectWatch(Watch, Protocol):
    """Whole objects of one kind."""

    @property
    def objects(self) -> Sequence[LiveObject]:
        """The objects, by name. One that did not change is the same instance as before."""

    @property
    def is_kind_missing(self) -> bool:
        """Whether the cluster does not have the kind."""

    @property
    def newest(self) -> LiveObject | None:
        """The object that was created last; None if there is none."""


class EventWatch(Watch, Protocol):
    """Events of a namespace, or of one object."""

    @property
    def records(self) -> Sequence[Event]:
        """The Events, in no particular order."""


class DetailService(Protocol):
    """Everything between the page of a serving and the cluster."""

    def watch_objects(
        self, query: ObjectQuery, on_change: Callable[[], None]
    ) -> ObjectWatch | None:
        """Start to watch; None while there is no connection. `on_change` is called on the event
        loop, changes in quick succession together."""

    def watch_events(
        self, namespace: str, on_change: Callable[[], None], *, object_uid: str = ""
    ) -> EventWatch | None:
        """Start to watch the Events of a namespace, or only those about one object."""

    async def read_secret_value(self, namespace: str, secret: str, key: str) -> str:
        """The value of one key of a Secret, sanitized. Raises ClusterError if it cannot be read or
        there is none."""

    async def try_endpoint(self, target: EndpointTarget, path: str) -> EndpointAnswer:
        """GET a path on a Pod. Raises ClusterError if nothing answers."""

    def open_inference_client(self) -> InferenceClient:
        """What sends requests to inference servers; the caller closes it. Sends nothing."""
