"""A serving that gets a share of the requests of an endpoint, or may get one."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from servedeck.changes.live_objects import LiveObjects, fetch_live_objects
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.resources import DEPLOYMENT, SERVICE
from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.serving.conventions import ASYNC_LABEL, REVISION_LABEL
from servedeck.serving.edit.second_revision import revision_of
from servedeck.serving.label_selector import selects_labels
from servedeck.serving.name_validation import label_value
from servedeck.serving.objects.detection import detect_served_model
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.objects.records import Deployment
from servedeck.serving.objects.traffic_split import SplitTarget
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_mapping,
    as_str,
    mappings,
)
from servedeck.serving.spec.mapping.request_ports import service_target
from servedeck.serving.status.rollout_status import (
    RolloutPhase,
    desired_replicas,
    read_rollout_status,
)
from servedeck.serving.text import one_line, sanitize

_KIND = {"apiVersion": DEPLOYMENT.api_version, "kind": DEPLOYMENT.kind}
"""What the entries of a list do not have."""


@dataclass(frozen=True, slots=True)
class Side:
    """A serving that gets a share, or a Service without a Deployment that is known."""

    name: str
    """Of the serving, else of the Service; as the API server has it."""
    target: SplitTarget | None
    """Service and port for its requests; None if it has none."""
    deployment: JsonObject
    """{} without one."""

    @property
    def revision_of(self) -> str:
        """Name of the serving that it is a second revision of, sanitized; "" for none."""
        return revision_of(self.deployment)

    @property
    def label(self) -> str:
        """Its name, sanitized."""
        return one_line(sanitize(self.name))

    @property
    def is_serving(self) -> bool:
        return bool(self.deployment)

    @property
    def ready(self) -> int:
        return as_int(as_mapping(self.deployment, "status").get("readyReplicas")) or 0

    @property
    def desired(self) -> int:
        return desired_replicas(self.deployment) if self.deployment else 0

    @property
    def replicas(self) -> str:
        """ "1 of 2 replicas ready"; "" if it is not known."""
        return f"{self.ready:,} of {self.desired:,} replicas ready" if self.is_serving else ""

    @property
    def is_rolled_out(self) -> bool:
        """Whether all its Pods have the current Pod template and are ready."""
        phase = read_rollout_status(self.deployment, None).phase
        return phase is RolloutPhase.COMPLETE and self.ready >= self.desired > 0

    @property
    def is_deleted(self) -> bool:
        return bool(as_mapping(self.deployment, "metadata").get("deletionTimestamp"))

    @property
    def is_async_gateway(self) -> bool:
        return ASYNC_LABEL in as_mapping(self.deployment, "metadata", "labels")

    @property
    def model(self) -> str:
        """The name of its model in requests, sanitized; "" if it is not known."""
        if not self.deployment:
            return ""
        record = RecordDecoder(Deployment).decode(msgspec.json.encode(self.deployment)).record
        return one_line(detect_served_model(record))


# -- reading --------------------------------------------------------------------------------------


def find_target(live: LiveObjects) -> SplitTarget | None:
    """The Service and port for requests of a serving, that of its name first; None if it has none
    that leads to its inference server or transformer."""
    imported = import_objects(live.objects)
    target = service_target(imported.objects, imported.spec)
    return SplitTarget(*target) if target is not None else None


async def read_side(
    connection: Connection, namespace: str, name: str, *, is_service: bool = False
) -> Side | None:
    """The serving of a name, else the Service of that name with the serving whose Pods it selects;
    with `is_service` the Service first. None if there is neither. Raises ClusterError."""
    if not is_service:
        live = await fetch_live_objects(connection, namespace, name)
        if live.objects:
            return Side(name, find_target(live), live.objects[0])
    service = await _get(connection, SERVICE.object_path(namespace, name))
    if service is None:
        return None
    ports = [
        as_int(one.get("port")) or 0 for one in mappings(as_mapping(service, "spec").get("ports"))
    ]
    deployment = await _find_deployment(connection, namespace, name, service)
    target = SplitTarget(name, ports[0]) if ports and ports[0] else None
    if not deployment:
        return Side(name, target, {})
    serving = as_str(as_mapping(deployment, "metadata").get("name"))
    return Side(serving, find_target(LiveObjects([deployment, service])) or target, deployment)


async def list_revisions(connection: Connection, namespace: str, serving: str) -> list[Side]:
    """The second revisions of a serving, the newest first, without those that are being deleted; []
    where Deployments may not be listed. Raises ClusterError."""
    if label_value(serving):
        return []
    params = [("labelSelector", f"{REVISION_LABEL}={serving}")]
    try:
        response = await connection.get_json(DEPLOYMENT.collection_path(namespace), params=params)
    except ApiError as error:
        if error.code == 403:
            return []
        raise
    found = [{**_KIND, **one} for one in mappings(response.get("items"))]
    found.sort(key=lambda one: as_str(as_mapping(one, "metadata").get("creationTimestamp")))
    sides = [
        Side(as_str(as_mapping(one, "metadata").get("name")), None, one) for one in found[::-1]
    ]
    return [one for one in sides if not (one.is_deleted or one.is_async_gateway)]


async def _find_deployment(
    connection: Connection, namespace: str, name: str, service: JsonObject
) -> JsonObject:
    """The Deployment whose Pods a Service selects, that of its name first; {} for none, and where
    Deployments may not be listed."""
    selector = as_mapping(service, "spec", "selector")
    if not selector or as_mapping(service, "spec").get("type") == "ExternalName":
        return {}
    try:
        response = await connection.get_json(DEPLOYMENT.collection_path(namespace))
    except ApiError as error:
        if error.code == 403:
            return {}
        raise
    found = [
        one
        for one in mappings(response.get("items"))
        if selects_labels(selector, as_mapping(one, "spec", "template", "metadata", "labels"))
    ]
    found.sort(key=lambda one: as_str(as_mapping(one, "metadata").get("name")) != name)
    return {**_KIND, **found[0]} if found else {}


async def _get(connection: Connection, path: str) -> JsonObject | None:
    try:
        found: JsonObject = await connection.get_json(path)
    except ApiError as error:
        if error.code == 404:
            return None
        raise
    return found
