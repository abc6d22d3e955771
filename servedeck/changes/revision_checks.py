"""What becoming a second revision of a serving needs of the cluster, and what it began from."""

from __future__ import annotations

from collections.abc import Iterator

from servedeck.changes.live_objects import LiveObjects, fetch_live_objects
from servedeck.changes.traffic_split.pool_routes import pool_routes
from servedeck.changes.traffic_split.side import Side
from servedeck.changes.traffic_split.state import find_rules
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.resources import DEPLOYMENT, OPENSHIFT_ROUTE
from servedeck.serving.conventions import REVISION_BASE_ANNOTATION
from servedeck.serving.edit.revision_base import decode_revision_base
from servedeck.serving.edit.takeover import make_revision_base
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.spec.issues import Issue, error, warning
from servedeck.serving.spec.mapping.json_values import JsonObject, child_mapping
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.text import one_line, sanitize


async def begin_from(
    connection: Connection, spec: ServingSpec, deployment: JsonObject, base: str
) -> tuple[list[Issue], list[str]]:
    """Write into the Deployment of a new second revision what it begins from: `base`, as
    `RevisionBase.encode` returns it, else what the first serving is now. Returns issues, and what
    is not known, in sentences. Raises ClusterError if the API server cannot be reached."""
    if not spec.revision_of:
        return [], []
    try:
        live = await fetch_live_objects(connection, spec.namespace, spec.revision_of)
    except ApiError as failure:
        return [], [_unchecked(spec, failure)]
    if not live.objects:
        return [_missing(spec)], []
    known = decode_revision_base(base)
    if known is None or known.serving != spec.revision_of:
        model = Side(spec.revision_of, None, live.objects[0]).model
        known = make_revision_base(live.import_serving(), spec.name, model)
    metadata = child_mapping(deployment, "metadata")
    child_mapping(metadata, "annotations")[REVISION_BASE_ANNOTATION] = known.encode()
    return [], []


async def check_revision_of(
    connection: Connection, existing: ImportedServing, wanted: ServingSpec
) -> tuple[list[Issue], list[str]]:
    """Issues of a serving that becomes a second revision of another one, and what is not known, in
    sentences. Raises ClusterError if the API server cannot be reached."""
    if not wanted.revision_of or wanted.revision_of == existing.spec.revision_of:
        return [], []
    found = list(_check_endpoint(existing))
    try:
        await connection.get_json(DEPLOYMENT.object_path(wanted.namespace, wanted.revision_of))
    except ApiError as failure:
        if failure.code != 404:
            return found, [_unchecked(wanted, failure)]
        found.append(_missing(wanted))
    return found, []


def _check_endpoint(existing: ImportedServing) -> Iterator[Issue]:
    """That it has an endpoint of its own. A share of the requests of another one is none."""
    live = LiveObjects(existing.objects.all, engines=existing.objects.engines)
    state = find_rules(existing.spec.namespace, existing.spec.name, live, None)
    routes = [
        *(one.route for one in state.rules),
        *pool_routes(live),
        *(one for one in live.objects if one.get("kind") in ("Ingress", OPENSHIFT_ROUTE.kind)),
    ]
    if routes:
        names = dict.fromkeys(f"{one['kind']} {one['metadata']['name']}" for one in routes)
        text = one_line(sanitize(", ".join(names)))
        yield error(
            "revision_of",
            f"It has an endpoint of its own ({text}), which a revision of another serving does not "
            "have; delete that first, or leave this empty.",
        )


def _missing(spec: ServingSpec) -> Issue:
    first = one_line(sanitize(spec.revision_of))
    return warning(
        "revision_of",
        f"Namespace {spec.namespace} has no serving {first}, so nothing sends it requests; enter "
        "the serving whose endpoint it shares.",
    )


def _unchecked(spec: ServingSpec, failure: ApiError) -> str:
    return one_line(sanitize(f"Deployment {spec.revision_of} was not checked: {failure}"))
