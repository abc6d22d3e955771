"""How new servings are routed and where their models are kept: settings, and what the cluster
has."""

from __future__ import annotations

from collections.abc import Callable

from servedeck.config import Settings
from servedeck.serving.objects.routes import Platform, RouteKind


def build_platform(settings: Settings, is_available: Callable[[RouteKind], bool]) -> Platform:
    """The platform of new servings. `has` says whether the cluster knows a kind of route; where
    the settings name none, the first it knows is taken: HTTPRoute, VirtualService, Ingress."""
    known = [kind for kind in RouteKind if is_available(kind)]
    route = RouteKind(settings.route) if settings.route else next(iter(known), RouteKind.INGRESS)
    return Platform(
        host=settings.endpoint_host,
        route=route,
        gateway=settings.gateway,
        ingress_class=settings.ingress_class,
        tls_secret=settings.tls_secret,
        model_cache=settings.model_cache,
    )
