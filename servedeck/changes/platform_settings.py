"""How new servings are routed and where their models are cached: from the settings and from what
the cluster has."""

from __future__ import annotations

from collections.abc import Callable

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, InvalidResponseError
from servedeck.cluster.resources import CONFIG_MAP
from servedeck.config import PLATFORM_CONFIGMAP, PLATFORM_NAMESPACE, Settings
from servedeck.serving.objects.routes import PlatformSettings, RouteKind


def build_platform_settings(
    settings: Settings, is_available: Callable[[RouteKind], bool]
) -> PlatformSettings:
    """The platform of new servings. `is_available` returns whether the cluster has a kind of route;
    if the settings name none, the first available one is used: HTTPRoute, VirtualService,
    Ingress."""
    known = [kind for kind in RouteKind if is_available(kind)]
    route = RouteKind(settings.route) if settings.route else next(iter(known), RouteKind.INGRESS)
    return PlatformSettings(
        host=settings.endpoint_host,
        route=route,
        gateway=settings.gateway,
        ingress_class=settings.ingress_class,
        tls_secret=settings.tls_secret,
        model_cache=settings.model_cache,
    )


async def discover_api_groups(connection: Connection) -> frozenset[str]:
    """Names of the API groups that the API server has, besides the core group."""
    groups = (await connection.get_json("/apis")).get("groups")
    if not isinstance(groups, list):
        raise InvalidResponseError("The server lists no API groups; is it a Kubernetes API?")
    return frozenset(str(group.get("name")) for group in groups if isinstance(group, dict))


async def discover_route_kinds(connection: Connection) -> frozenset[RouteKind]:
    """Kinds of route that the API server has."""
    names = await discover_api_groups(connection)
    route_kinds_by_group = {
        "gateway.networking.k8s.io": RouteKind.HTTP_ROUTE,
        "networking.istio.io": RouteKind.VIRTUAL_SERVICE,
        "networking.k8s.io": RouteKind.INGRESS,
    }
    return frozenset(kind for group, kind in route_kinds_by_group.items() if group in names)


async def complete_settings(connection: Connection, settings: Settings) -> Settings:
    """The settings, completed by the cluster's ConfigMap if it may be read. Raises ClusterError if
    the server cannot be reached."""
    place = CONFIG_MAP.object_path(PLATFORM_NAMESPACE, PLATFORM_CONFIGMAP)
    try:
        data = (await connection.get_json(place)).get("data")
    except ApiError as error:
        if error.code not in (
            403,
            404,
        ):  # otherwise a busy server would change the routes of servings
            raise
    else:
        if isinstance(data, dict):
            texts = {key: value for key, value in data.items() if isinstance(value, str)}
            settings, _ = settings.with_platform_configmap(texts)
    return settings


async def load_platform_settings(connection: Connection, settings: Settings) -> PlatformSettings:
    """The platform of new servings: settings, completed by the cluster's ConfigMap if it may be
    read. Raises ClusterError if the server cannot be reached."""
    settings = await complete_settings(connection, settings)
    kinds = await discover_route_kinds(connection)
    return build_platform_settings(settings, kinds.__contains__)
