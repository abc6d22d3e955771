from servedeck.changes.platform_settings import build_platform_settings
from servedeck.config import Settings
from servedeck.serving.objects.routes import PlatformSettings, RouteKind


def test_the_first_kind_of_route_that_the_cluster_has_is_taken() -> None:
    settings = Settings(endpoint_host="ai.example.com", gateway="gateways/main")
    everything = build_platform_settings(settings, lambda kind: True)
    assert everything == PlatformSettings(host="ai.example.com", gateway="gateways/main")
    no_gateway = build_platform_settings(settings, lambda kind: kind is not RouteKind.HTTP_ROUTE)
    assert no_gateway.route is RouteKind.VIRTUAL_SERVICE
    assert build_platform_settings(settings, lambda kind: False).route is RouteKind.INGRESS


def test_the_settings_decide_where_they_name_a_kind() -> None:
    settings = Settings(route="Ingress", endpoint_host="h", ingress_class="nginx", model_cache="m")
    platform = build_platform_settings(settings, lambda kind: True)
    assert platform == PlatformSettings(
        host="h", route=RouteKind.INGRESS, ingress_class="nginx", model_cache="m"
    )
