"""The async gateways of two servings, as servedeck turns them on."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator, Mapping

from servedeck.demo.api.access import AccessRule
from servedeck.demo.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    HTTP_ROUTES,
    NETWORK_POLICIES,
    POD_DISRUPTION_BUDGETS,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICEACCOUNTS,
    SERVICES,
)
from servedeck.demo.scenario import cluster_objects
from servedeck.demo.scenario.cluster_objects import ResourceObject
from servedeck.demo.scenario.serving_objects import mark_applied, with_defaults
from servedeck.demo.store.objects import Json, Key
from servedeck.demo.store.store import ObjectStore
from servedeck.serving.async_limits import AsyncQueueSettings
from servedeck.serving.objects import async_gateway, async_routes

ASYNC_SERVINGS: tuple[Key, ...] = (("npu-lab", "exaone-35-78b"), ("chat", "llama-33-70b"))
"""One that answers as usual, and one that is slow and fails now and then."""
CALLED_SERVINGS: Mapping[Key, bool] = dict(zip(ASYNC_SERVINGS, (False, True), strict=True))
"""Those whose gateways get requests of the demo's own, and whether more come after the first."""
HOURS_AGO = 5.0
"""When they were turned on."""

PLATFORM = async_gateway.AsyncPlatform(
    image=cluster_objects.ASYNC_IMAGE, store=cluster_objects.ASYNC_STORE, replicas=1
)
_SETTINGS = {ASYNC_SERVINGS[1]: AsyncQueueSettings(pod_concurrency=1)}
"""With two Pods, two tasks at once: the others wait."""
_RESOURCES = {
    one.kind: one
    for one in (
        CONFIGMAPS,
        SERVICEACCOUNTS,
        ROLES,
        ROLE_BINDINGS,
        DEPLOYMENTS,
        SERVICES,
        POD_DISRUPTION_BUDGETS,
        NETWORK_POLICIES,
    )
}


def turn_on(store: ObjectStore, key: Key) -> None:
    """Create the gateway of a serving, and send its route's asynchronous requests there."""
    for resource, obj in _objects(store, key):
        store.create(resource, obj)

    def add_rules(route: Json) -> None:
        changed = async_routes.add_async_rules({**route, "kind": HTTP_ROUTES.kind}, key[1])
        route["spec"] = changed["spec"]

    store.mutate(HTTP_ROUTES, *key, add_rules)


def viewer_rules() -> Iterator[AccessRule]:
    """Those of deploy/rbac/async-viewer.yaml for the gateways that are there at the start: tasks
    are shown without bodies."""
    for namespace, name in ASYNC_SERVINGS:
        secret = async_routes.async_view_secret_name(name)
        port = f"{async_routes.async_gateway_name(name)}-admin:{async_routes.GATEWAY_PORT}"
        for resource, one in (("secrets", secret), ("services/proxy", port)):
            yield AccessRule(("get",), ("",), (resource,), (namespace,), (one,))


def _objects(store: ObjectStore, key: Key) -> Iterator[ResourceObject]:
    namespace, name = key
    settings = _SETTINGS.get(key, AsyncQueueSettings())
    built = async_gateway.build_async_gateway(namespace, name, PLATFORM, settings)
    password = store.get(SECRETS, *cluster_objects.ASYNC_STORE_SECRET)["data"]["password"]
    labels = built[0]["metadata"]["labels"]
    secret = _secret(namespace, name, labels, password)
    yield with_defaults(SECRETS, secret)
    view_secret = {
        "metadata": {**secret["metadata"], "name": async_routes.async_view_secret_name(name)},
        "data": {async_gateway.VIEW_KEY: secret["data"][async_gateway.VIEW_KEY]},
    }
    yield with_defaults(SECRETS, view_secret)
    for obj in built:
        resource = _RESOURCES[obj["kind"]]
        yield with_defaults(resource, mark_applied(resource, obj))


def _secret(namespace: str, name: str, labels: Json, password: str) -> Json:
    """Random as in a cluster: the gateway's ports are open to other users of this machine."""
    keys = async_gateway.SECRET_KEYS
    data = {one: base64.b64encode(secrets.token_hex(32).encode()).decode() for one in keys}
    data[async_gateway.VALKEY_PASSWORD_KEY] = password
    metadata = {
        "namespace": namespace,
        "name": async_routes.async_gateway_name(name),
        "labels": dict(labels),
    }
    return {"metadata": metadata, "data": data}
