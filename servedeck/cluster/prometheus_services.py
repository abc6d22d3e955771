"""The Services of the cluster that may be a Prometheus.

Sources of the labels and ports: https://github.com/prometheus-operator/kube-prometheus,
https://github.com/prometheus-community/helm-charts, https://github.com/thanos-io/thanos and
https://github.com/VictoriaMetrics/helm-charts.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.cluster.resources import SERVICE


class PrometheusLookupError(ClusterError):
    """The Services cannot be listed; str() is one sentence."""


_SELECTORS = (
    "app.kubernetes.io/name in (thanos-query,thanos-querier,thanos-query-frontend)",
    "app.kubernetes.io/name in (prometheus,vmsingle,victoria-metrics-single)",
    "app in (prometheus,kube-prometheus-stack-prometheus,prometheus-server)",
    "operated-prometheus=true",
)
"""The first Services come first: what sees all of several Prometheus before one of them."""

_USUAL_NAMESPACES = (
    "monitoring",
    "prometheus",
    "observability",
    "kube-prometheus-stack",
    "kube-prometheus",
    "victoria-metrics",
    "openshift-monitoring",
)
"""Where Services are looked for without the permission to list those of all namespaces."""

_PORT_NAMES = ("web", "http-web", "http", "http-query", "query-frontend", "")
_PORTS = (9090, 80, 8428, 8429, 10902, 9091)


_PLACE = re.compile(
    r"(?P<namespace>[a-z0-9.-]+)/((?P<scheme>https?):)?(?P<name>[a-z0-9.-]+)(:(?P<port>[0-9]+))?",
    re.ASCII,
)


class _Port(msgspec.Struct, frozen=True):
    port: int = 0
    name: str = ""


class _Spec(msgspec.Struct, frozen=True):
    ports: list[_Port] = []


class _Metadata(msgspec.Struct, frozen=True):
    name: str = ""
    namespace: str = ""


class _Service(msgspec.Struct, frozen=True):
    metadata: _Metadata = _Metadata()
    spec: _Spec = _Spec()


class _Services(msgspec.Struct, frozen=True):
    items: list[_Service] = []


async def list_prometheus_services(connection: Connection) -> list[str]:
    """ "namespace/name:port" of Services that may be Prometheus, the likeliest first. Raises
    PrometheusLookupError."""
    try:
        lists = await _list_services(connection, SERVICE.collection_path(None))
    except ApiError as error:
        if error.code != 403:
            raise PrometheusLookupError(f"Services cannot be listed: {error}") from error
        lists = await _list_usual_namespaces(connection)
    except ClusterError as error:
        raise PrometheusLookupError(str(error)) from error
    return list(dict.fromkeys(place for services in lists for place in _places(services)))


def service_url(place: str) -> str:
    """Where Pods reach the Service "namespace/name:port", or "namespace/https:name:port"; "" for
    none, and for a port that has a name alone."""
    found = _PLACE.fullmatch(place)
    if found is None:
        return ""
    scheme, port = found["scheme"] or "http", found["port"] or _PORTS[0]
    return f"{scheme}://{found['name']}.{found['namespace']}:{port}"


async def _list_services(connection: Connection, path: str) -> list[list[_Service]]:
    bodies = await asyncio.gather(
        *(connection.get(path, params=[("labelSelector", one)]) for one in _SELECTORS)
    )
    return [_decode(one) for one in bodies]


async def _list_usual_namespaces(connection: Connection) -> list[list[_Service]]:
    """Those of the namespaces that may be read."""
    found: list[list[list[_Service]] | BaseException] = await asyncio.gather(
        *(_list_services(connection, SERVICE.collection_path(one)) for one in _USUAL_NAMESPACES),
        return_exceptions=True,
    )
    lists: list[list[_Service]] = []
    for one in found:
        if isinstance(one, list):
            lists += one
        elif not isinstance(one, ClusterError):
            raise one
    if all(isinstance(one, ApiError) and one.code == 403 for one in found):
        raise PrometheusLookupError(
            "Finding Prometheus needs list on services in all namespaces, or in namespace "
            f"{_USUAL_NAMESPACES[0]}; without it, set prometheus_service."
        )
    return lists


def _decode(body: bytes) -> list[_Service]:
    try:
        return msgspec.json.decode(body, type=_Services).items
    except (msgspec.DecodeError, ValueError) as error:
        raise PrometheusLookupError("The API server answered with no list of Services.") from error


def _places(services: Sequence[_Service]) -> Iterator[str]:
    named = sorted(services, key=lambda one: (one.metadata.namespace, one.metadata.name))
    for one in named:
        port = _choose_port(one.spec.ports)
        if port is not None:
            yield f"{one.metadata.namespace}/{one.metadata.name}:{port}"


def _choose_port(ports: Iterable[_Port]) -> int | None:
    ranked = sorted(
        (one for one in ports if one.port in _PORTS or one.name in _PORT_NAMES),
        key=lambda one: (
            _PORTS.index(one.port) if one.port in _PORTS else len(_PORTS),
            _PORT_NAMES.index(one.name) if one.name in _PORT_NAMES else len(_PORT_NAMES),
        ),
    )
    return ranked[0].port if ranked else None
