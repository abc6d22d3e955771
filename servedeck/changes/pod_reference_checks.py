"""Whether the objects that the fields of a serving's Pods name exist: image pull Secrets, the
ServiceAccount, the RuntimeClass, ResourceClaims and their templates."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.resources import (
    RESOURCE_CLAIM,
    RESOURCE_CLAIM_TEMPLATE,
    RUNTIME_CLASS,
    SECRET,
    SERVICE_ACCOUNT,
    Resource,
)
from servedeck.serving.spec.issues import Issue, error, warning
from servedeck.serving.spec.pod_settings import read_resource_claim
from servedeck.serving.spec.spec import ServingSpec


class _Reference(NamedTuple):
    field: str
    resource: Resource
    name: str


def _references(spec: ServingSpec) -> Iterator[_Reference]:
    for name in spec.image_pull_secrets:
        yield _Reference("image_pull_secrets", SECRET, name)
    if spec.service_account:
        yield _Reference("service_account", SERVICE_ACCOUNT, spec.service_account)
    if spec.runtime_class:
        yield _Reference("runtime_class", RUNTIME_CLASS, spec.runtime_class)
    for word in spec.resource_claims:
        if claim := read_resource_claim(word):
            is_template = claim.kind == "template"
            resource = RESOURCE_CLAIM_TEMPLATE if is_template else RESOURCE_CLAIM
            yield _Reference("resource_claims", resource, claim.source)


async def find_missing_pod_objects(
    connection: Connection, spec: ServingSpec, present: ServingSpec | None
) -> tuple[list[Issue], list[str]]:
    """What a new serving, or a change of the `present` one, names and the cluster does not have;
    and what could not be read, in sentences. What the serving names already is not asked for.
    A Pod without its pull Secret still starts if the image is public or on the node (kubernetes
    pkg/kubelet/kubelet_pods.go, getPullSecretsForPod), so that it is a warning."""
    known = set(_references(present)) if present is not None else set()
    wanted = [one for one in dict.fromkeys(_references(spec)) if one not in known]
    answers = await asyncio.gather(
        *(_find_problem(connection, one, spec.namespace) for one in wanted)
    )
    found: list[Issue] = []
    unchecked: list[str] = []
    for one, answer in zip(wanted, answers, strict=True):
        if answer is None:
            continue
        if answer.code != 404 or not answer.details.get("name"):  # or a kind that there is not
            unchecked.append(f"{one.resource.kind} {one.name} was not checked: {answer}")
        elif one.resource is SECRET:
            message = f"Namespace {spec.namespace} has no Secret {one.name!r}: images are pulled "
            found.append(warning(one.field, f"{message}without it until it is created."))
        else:
            where = f"Namespace {spec.namespace}" if one.resource.namespaced else "The cluster"
            message = f"{where} has no {one.resource.kind} {one.name!r}; create it first."
            found.append(error(one.field, message))
    return found, unchecked


async def _find_problem(connection: Connection, one: _Reference, namespace: str) -> ApiError | None:
    place = one.resource.object_path(namespace if one.resource.namespaced else "", one.name)
    try:
        await connection.get_json(place)
    except ApiError as problem:
        return problem
    return None
