"""How new servings are routed and where their models are cached: from the settings and from what
the cluster has."""

from __future__ import annotations

from collections.abc import Callable, Collection

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, InvalidResponseError
from servedeck.cluster.prometheus_services import service_url
from servedeck.cluster.resources import CONFIG_MAP
from servedeck.config import PLATFORM_CONFIGMAP, PLATFORM_NAMESPACE, POD_DEFAULTS, Settings
from servedeck.serving.objects.routes import PlatformSettings, RouteKind
from servedeck.serving.spec.mapping.engines import Engines


def build_platform_settings(
    settings: Settings,
    is_available: Callable[[RouteKind], bool],
    api_groups: Collection[str] = (),
) -> PlatformSettings:
    """The platform of new servings. `is_available` returns whether the cluster has a kind of route;
    if the settings name none, the first available one is used: HTTPRoute, VirtualService,
    Ingress. `api_groups` are those of the API server."""
    known = [kind for kind in RouteKind if is_available(kind)]
    route = RouteKind(settings.route) if settings.route else next(iter(known), RouteKind.INGRESS)
    return PlatformSettings(
        host=settings.endpoint_host,
        route=route,
        gateway=settings.gateway,
        ingress_class=settings.ingress_class,
        tls_secret=settings.tls_secret,
        model_cache=settings.model_cache,
        defaults={name: text for name in POD_DEFAULTS if (text := getattr(settings, name))},
        engines=Engines(
            frozenset(api_groups), prometheus_url=service_url(settings.prometheus_service)
        ),
    )


async def discover_api_groups(connection: Connection) -> frozenset[str]:
    """Names of the API groups that the API server has, besides the core group."""
    groups = (await connection.get_json("/apis")).get("groups")
    if not isinstance(groups, list):
        raise InvalidResponseError("The server lists no API groups; is it a Kubernetes API?")
    return frozenset(str(group.get("name")) for group in groups if isinstance(group, dict))


def route_kinds(api_groups: Collection[str]) -> frozenset[RouteKind]:
    """Kinds of route that an API server with these groups has."""
    kinds_by_group = {
        "gateway.networking.k8s.io": RouteKind.HTTP_ROUTE,
        "networking.istio.io": RouteKind.VIRTUAL_SERVICE,
        "networking.k8s.io": RouteKind.INGRESS,
    }
    return frozenset(kind for group, kind in kinds_by_group.items() if group in api_groups)


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
    groups = await discover_api_groups(connection)
    return build_platform_settings(settings, route_kinds(groups).__contains__, groups)
