"""The route of a serving's endpoint, https://<host>/<namespace>/<name>, in three kinds: HTTPRoute,
VirtualService, Ingress.

The prefix is removed, so that the server gets its own paths, and no timeout interrupts a long
generation or a stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from servedeck.serving.spec.mapping.engines import Engines
from servedeck.serving.spec.names import validate_host, validate_label


class RouteKind(StrEnum):
    HTTP_ROUTE = "HTTPRoute"
    """Gateway API"""
    VIRTUAL_SERVICE = "VirtualService"
    """Istio"""
    INGRESS = "Ingress"


@dataclass(frozen=True, slots=True)
class PlatformSettings:
    """Cluster-wide settings for every serving, from the platform's configuration."""

    host: str = ""
    """Host of the endpoints; "" for no route."""
    route: RouteKind = RouteKind.HTTP_ROUTE
    gateway: str = ""
    """"namespace/name" of the Gateway, or of the Istio Gateway for a VirtualService."""
    ingress_class: str = ""
    ingress_annotations: Mapping[str, str] = field(default_factory=dict)
    """For a controller other than ingress-nginx: the annotations that remove the prefix."""
    tls_secret: str = ""
    """Secret of an Ingress's certificate; "" for the controller's default certificate."""
    model_cache: str = ""
    """PVC of downloaded models in the serving's namespace; "" for an empty directory."""
    engines: Engines = field(default_factory=Engines)
    """What acts on auto scaling and traffic."""
    defaults: Mapping[str, str] = field(default_factory=dict)
    """Texts of fields of a new serving that are not given, by their names."""

    @property
    def issue(self) -> str:
        """Why no route can be built from these settings, in one sentence; "" if one can."""
        if not self.host:
            return ""
        if message := validate_host(self.host, "The setting endpoint_host"):
            return message
        if self.route is RouteKind.INGRESS:
            return ""
        if not self.gateway:
            return (
                f"No gateway is set, so a serving gets no {self.route} and cannot be reached from"
                " outside; set gateway to namespace/name in the settings."
            )
        namespace, slash, name = self.gateway.partition("/")
        if not slash or validate_label(namespace) or not name:
            return (
                f"The setting gateway is {self.gateway!r}, not namespace/name, so a serving gets"
                f" no {self.route}; set gateway to namespace/name in the settings."
            )
        return ""


NGINX_ANNOTATIONS = {
    "nginx.ingress.kubernetes.io/use-regex": "true",
    "nginx.ingress.kubernetes.io/rewrite-target": "/$2",
    "nginx.ingress.kubernetes.io/proxy-read-timeout": "3600",
    "nginx.ingress.kubernetes.io/proxy-send-timeout": "3600",
    "nginx.ingress.kubernetes.io/proxy-buffering": "off",
    "nginx.ingress.kubernetes.io/proxy-body-size": "0",
}


def build_route(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    platform: PlatformSettings,
    port: int,
    service: str = "",
) -> dict[str, Any] | None:
    """The route to `port` of Service `service`, by default that of the same name; None without a
    host, or if the platform's settings are invalid (see `platform.issue`)."""
    if not platform.host or platform.issue:
        return None
    metadata: dict[str, Any] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    metadata["labels"] = dict(labels)
    prefix = f"/{namespace}/{name}"
    backend = (service or name, port)
    if platform.route is RouteKind.HTTP_ROUTE:
        return _build_http_route(metadata, prefix, platform, backend)
    if platform.route is RouteKind.VIRTUAL_SERVICE:
        return _build_virtual_service(metadata, prefix, platform, backend)
    return _build_ingress(metadata, prefix, platform, backend)


def _build_http_route(
    metadata: dict[str, Any], prefix: str, platform: PlatformSettings, backend: tuple[str, int]
) -> dict[str, Any]:
    namespace, _, gateway = platform.gateway.partition("/")
    rewrite = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata,
        "spec": {
            "parentRefs": [{"name": gateway, "namespace": namespace}],
            "hostnames": [platform.host],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": prefix}}],
                    "filters": [{"type": "URLRewrite", "urlRewrite": {"path": rewrite}}],
                    # 0s disables the timeout; if omitted, each implementation has its own default.
                    "timeouts": {"request": "0s", "backendRequest": "0s"},
                    "backendRefs": [{"name": backend[0], "port": backend[1]}],
                }
            ],
        },
    }


def _build_virtual_service(
    metadata: dict[str, Any], prefix: str, platform: PlatformSettings, backend: tuple[str, int]
) -> dict[str, Any]:
    (name, port), namespace = backend, metadata.get("namespace", "")
    host = f"{name}.{namespace}.svc.cluster.local" if namespace else name
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": metadata,
        "spec": {
            "hosts": [platform.host],
            "gateways": [platform.gateway],
            "http": [
                {
                    # Istio's prefix is a string prefix: without the slash it would also match
                    # /namespace/name-v2.
                    "match": [{"uri": {"prefix": prefix + "/"}}, {"uri": {"exact": prefix}}],
                    "rewrite": {"uri": "/"},
                    "timeout": "0s",
                    # Istio retries twice by default: a long generation would run three times.
                    "retries": {"attempts": 0},
                    "route": [{"destination": {"host": host, "port": {"number": port}}}],
                }
            ],
        },
    }


def _build_ingress(
    metadata: dict[str, Any], prefix: str, platform: PlatformSettings, backend: tuple[str, int]
) -> dict[str, Any]:
    if platform.ingress_annotations:
        annotations, path, kind = dict(platform.ingress_annotations), prefix, "Prefix"
    else:
        annotations, path, kind = NGINX_ANNOTATIONS, prefix + "(/|$)(.*)", "ImplementationSpecific"
    service = {"service": {"name": backend[0], "port": {"number": backend[1]}}}
    spec: dict[str, Any] = {
        "rules": [
            {
                "host": platform.host,
                "http": {"paths": [{"path": path, "pathType": kind, "backend": service}]},
            }
        ]
    }
    if platform.ingress_class:
        spec["ingressClassName"] = platform.ingress_class
    # Without a Secret the controller's default certificate is used: endpoints are https.
    secret = {"secretName": platform.tls_secret} if platform.tls_secret else {}
    spec["tls"] = [{"hosts": [platform.host], **secret}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {**metadata, "annotations": dict(annotations)},
        "spec": spec,
    }


def parse_istio_host(host: str, namespace: str) -> tuple[str, str]:
    """Namespace and name of the Service that an Istio destination names, by its short or full DNS
    name; ("", "") if it is another host. `namespace` is that of the VirtualService."""
    name, _, rest = host.partition(".")
    where, _, suffix = rest.partition(".")
    if suffix and suffix != "svc" and not suffix.startswith("svc."):
        return "", ""
    return where or namespace, name
