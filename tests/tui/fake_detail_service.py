"""A detail service made by hand: objects and Events that the test sets, and who watches them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from servedeck.cluster.http.errors import ClusterError
from servedeck.cluster.lease import LEASE
from servedeck.cluster.resources import RESOURCES_BY_KIND
from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.detail.endpoint_try import EndpointAnswer, EndpointTarget, EndpointTryError
from servedeck.detail.inference_client import InferenceClient
from servedeck.detail.object_watch import LiveObject, ObjectQuery
from servedeck.serving.label_selector import LabelSelectorError, parse_label_selector
from servedeck.serving.objects.records import Event, WholeObject

_RESOURCES = {**RESOURCES_BY_KIND, LEASE.kind: LEASE}
_decode_object = RecordDecoder(WholeObject).decode
_decode_event = RecordDecoder(Event).decode


class FakeWatch:
    """A watch that is open until `close`; it sees what its service has."""

    def __init__(self, service: FakeDetailService, resource_name: str) -> None:
        self.service = service
        self.resource_name = resource_name
        self.on_change: Callable[[], None] = lambda: None
        self.is_closed = False

    @property
    def is_settled(self) -> bool:
        return not self.service.is_loading

    @property
    def missing_permission(self) -> str:
        return self.service.missing_permissions.get(self.resource_name, "")

    async def close(self) -> None:
        self.is_closed = True


class FakeObjectWatch(FakeWatch):
    def __init__(self, service: FakeDetailService, query: ObjectQuery) -> None:
        super().__init__(service, query.resource.resource_name)
        self.query = query

    @property
    def objects(self) -> list[LiveObject]:
        if self.missing_permission or self.service.is_loading:
            return []
        return sorted(
            (
                one
                for one in self.service.live_objects
                if one.resource == self.query.resource and _matches(one, self.query)
            ),
            key=lambda one: one.metadata.name,
        )

    @property
    def is_kind_missing(self) -> bool:
        return self.resource_name in self.service.missing_kinds

    @property
    def newest(self) -> LiveObject | None:
        return max(self.objects, key=lambda one: str(one.metadata.creation_timestamp), default=None)


class FakeEventWatch(FakeWatch):
    def __init__(self, service: FakeDetailService, namespace: str, object_uid: str) -> None:
        super().__init__(service, "events")
        self.namespace = namespace
        self.object_uid = object_uid

    @property
    def records(self) -> list[Event]:
        if self.missing_permission or self.service.is_loading:
            return []
        return [
            one
            for one in self.service.events
            if one.involved_object.namespace == self.namespace
            and self.object_uid in ("", one.involved_object.uid)
        ]


class FakeDetailService:
    """`servedeck.detail.detail_service.DetailService` on what the test sets."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.live_objects: list[LiveObject] = []
        self.events: list[Event] = []
        self.secrets: dict[tuple[str, str, str], str] = {}
        self.secret_reads: list[tuple[str, str, str]] = []
        self.missing_permissions: dict[str, str] = {}
        """Resource name -> sentence."""
        self.missing_kinds: set[str] = set()
        """Resource names of kinds that the cluster does not have."""
        self.is_loading = False
        self.watches: list[FakeWatch] = []
        """Every watch that was started, in order."""
        self.put(*objects)

    @property
    def open_watches(self) -> list[str]:
        """Resource names of the watches that are open."""
        return [one.resource_name for one in self.watches if not one.is_closed]

    # -- what the cluster has -----------------------------------------------------------------

    def put(self, *objects: dict[str, Any]) -> None:
        """Add objects, or replace those with the same uid."""
        for value in objects:
            record = _decode_object(json.dumps(value).encode()).record
            one = LiveObject(_RESOURCES[value["kind"]], record)
            self.live_objects = [
                known for known in self.live_objects if known.metadata.uid != one.metadata.uid
            ]
            self.live_objects.append(one)
        self.notify()

    def remove(self, uid: str) -> None:
        self.live_objects = [one for one in self.live_objects if one.metadata.uid != uid]
        self.notify()

    def put_events(self, *events: dict[str, Any]) -> None:
        self.events += [_decode_event(json.dumps(one).encode()).record for one in events]
        self.notify()

    def notify(self) -> None:
        for watch in self._open():
            watch.on_change()

    def _open(self) -> Iterator[FakeWatch]:
        return (one for one in list(self.watches) if not one.is_closed)

    # -- the service --------------------------------------------------------------------------

    def watch_objects(self, query: ObjectQuery, on_change: Callable[[], None]) -> FakeObjectWatch:
        watch = FakeObjectWatch(self, query)
        watch.on_change = on_change
        self.watches.append(watch)
        return watch

    def watch_events(
        self, namespace: str, on_change: Callable[[], None], *, object_uid: str = ""
    ) -> FakeEventWatch:
        watch = FakeEventWatch(self, namespace, object_uid)
        watch.on_change = on_change
        self.watches.append(watch)
        return watch

    async def read_secret_value(self, namespace: str, secret: str, key: str) -> str:
        self.secret_reads.append((namespace, secret, key))
        try:
            return self.secrets[namespace, secret, key]
        except KeyError:
            raise ClusterError(f"Namespace {namespace} has no Secret {secret}.") from None

    async def try_endpoint(self, target: EndpointTarget, path: str) -> EndpointAnswer:
        raise EndpointTryError(f"Nothing listens on port {target.port} of Pod {target.pod}.")

    def open_inference_client(self) -> InferenceClient:
        return InferenceClient(lambda: None, {})


def _matches(one: LiveObject, query: ObjectQuery) -> bool:
    try:
        selector = parse_label_selector(query.label_selector)
    except LabelSelectorError:
        return False  # the API server rejects the request
    return (
        one.metadata.namespace == query.namespace
        and query.name in ("", one.metadata.name)
        and selector.matches(one.metadata.labels)
    )
