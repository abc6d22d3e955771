"""What a changed port does to Services that are not the serving's alone, or not known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.resources import DEPLOYMENT
from servedeck.serving.objects.change import ObjectChange
from servedeck.serving.objects.missing_objects import RelatedObjects
from servedeck.serving.servers.settings import SERVING_PORT_NAMES
from servedeck.serving.spec.issues import Issue, error, warning
from servedeck.serving.spec.mapping.container_ports import (
    declared_ports,
    read_serving_port,
)
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_mapping,
    mappings,
)
from servedeck.serving.spec.mapping.ports import known_port
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.text import one_line, sanitize


class _RetargetedPort(NamedTuple):
    """A port of a Service with another target after a change."""

    service: str
    selector: Mapping[str, Any]
    target: str | int


async def find_service_issues(
    connection: Connection,
    before: ServingSpec,
    wanted: ServingSpec,
    change: ObjectChange,
    related: RelatedObjects,
) -> list[Issue]:
    """Errors where a changed port may cut off Pods: Services that may not be listed, and Services
    that other Deployments use too. Raises ClusterError if the Deployments cannot be read."""
    found = list(_unlisted_services(before, wanted, change, related))
    retargets = list(_find_retargets(change))
    if not retargets:
        return found
    try:
        response = await connection.get_json(DEPLOYMENT.collection_path(wanted.namespace))
    except ApiError as failure:
        if failure.code != 403:
            raise
        for one in dict.fromkeys(retarget.service for retarget in retargets):
            message = (
                "Deployments may not be listed, so it is not known whether others use Service "
                f"{_safe_text(one)}; check its selector."
            )
            found.append(warning(_field(change, before, wanted), message))
        return found
    others = [
        one
        for one in mappings(response.get("items"))
        if as_mapping(one, "metadata").get("name") != wanted.name
        and as_int(as_mapping(one, "spec").get("replicas")) != 0  # has no Pods
    ]
    field = _field(change, before, wanted)
    for retarget in retargets:
        found += [_shared_service(field, retarget, one) for one in others if _uses(one, retarget)]
    return list(dict.fromkeys(found))


def _transformer_port(spec: ServingSpec) -> int | None:
    """Port of the transformer."""
    return spec.transformer.port if spec.transformer else None


def _field(change: ObjectChange, before: ServingSpec, wanted: ServingSpec) -> str:
    """The field that changes the targets of Services."""
    return "transformer" if _moves_transformer(change, before, wanted) else "inference_port"


def _moves_transformer(change: ObjectChange, before: ServingSpec, wanted: ServingSpec) -> bool:
    """Whether a transformer is added or removed, or gets another port."""
    if "transformer" not in change.changed_fields:
        return False
    is_moved = (before.transformer is None) != (wanted.transformer is None)
    return is_moved or _transformer_port(before) != _transformer_port(wanted)


def _unlisted_services(
    before: ServingSpec, wanted: ServingSpec, change: ObjectChange, related: RelatedObjects
) -> Iterator[Issue]:
    if "Service" not in related.unlisted_kinds:
        return
    targets = {}
    server = _describe_target("inference server", known_port(before))
    if "inference_port" in change.changed_fields:
        targets["inference_port"] = server
    if _moves_transformer(change, before, wanted):
        targets["transformer"] = (
            _describe_target("transformer", before.transformer.port)
            if before.transformer
            else server
        )
    for field, target in targets.items():
        yield error(
            field,
            f"Services may not be listed, so it is not known whether one targets {target}; "
            "ask for the permission to list them.",
        )


def _describe_target(container: str, port: int | None) -> str:
    return f"the {container}" if port is None else f"port {port}"


def _find_retargets(change: ObjectChange) -> Iterator[_RetargetedPort]:
    for live, changed in zip(change.live, change.changed, strict=False):
        if changed.get("kind") != "Service":
            continue
        ports = [mappings(as_mapping(one, "spec").get("ports")) for one in (live, changed)]
        for old, new in zip(*ports, strict=False):
            if _target(old) != _target(new):
                name = str(as_mapping(changed, "metadata").get("name"))
                yield _RetargetedPort(name, as_mapping(changed, "spec", "selector"), _target(new))


def _target(port: Mapping[str, Any]) -> Any:
    return port.get("targetPort", port.get("port"))


def _uses(deployment: JsonObject, retarget: _RetargetedPort) -> bool:
    labels = as_mapping(deployment, "spec", "template", "metadata", "labels")
    return retarget.selector.items() <= labels.items()


def _shared_service(field: str, retarget: _RetargetedPort, deployment: JsonObject) -> Issue:
    pod = as_mapping(deployment, "spec", "template", "spec")
    containers = [*mappings(pod.get("containers")), *mappings(pod.get("initContainers"))]
    ports = [port for one in containers for port in declared_ports(one)]
    known = {one.get("name") for one in ports} | {one["containerPort"] for one in ports}
    known |= {read_serving_port(one, SERVING_PORT_NAMES) for one in containers}
    name = as_mapping(deployment, "metadata").get("name")
    service, target = _safe_text(retarget.service), _safe_text(retarget.target)
    also = f"Service {service} also selects the Pods of Deployment {_safe_text(name)}"
    if retarget.target in known:
        return warning(
            field, f"{also}; after this change, their requests go to port {target}, too."
        )
    return error(
        field,
        f"{also}, which do not have port {target}; give each Deployment its own Service.",
    )


def _safe_text(value: object) -> str:
    return one_line(sanitize(str(value)))
