"""A Prometheus among the Services of the cluster."""

from __future__ import annotations

import pytest

from servedeck.cluster.http.connection import Connection
from servedeck.metrics.discovery import find_prometheus
from servedeck.metrics.errors import MetricsError
from tests.cluster.fake_api_server import FakeApiServer, make_status
from tests.metrics.fake_prometheus import answer_with

NONE = {"items": []}
DENIED = answer_with(403, make_status(403, "Forbidden", "no"))
USUAL = (
    "monitoring",
    "prometheus",
    "observability",
    "kube-prometheus-stack",
    "kube-prometheus",
    "victoria-metrics",
    "openshift-monitoring",
)


async def test_without_the_permission_the_reason_is_not_that_there_is_none(
    api: FakeApiServer, connection: Connection
):
    api.add_route("/api/v1/services", DENIED)
    for one in USUAL:
        api.add_route(f"/api/v1/namespaces/{one}/services", DENIED)
    with pytest.raises(MetricsError, match="list on services in all namespaces"):
        await find_prometheus(connection)
    api.add_route("/api/v1/namespaces/monitoring/services", answer_with(200, NONE))
    with pytest.raises(MetricsError, match="No Prometheus was found"):
        await find_prometheus(connection)


async def test_a_service_that_answers_is_found_in_a_usual_namespace(
    api: FakeApiServer, connection: Connection
):
    api.add_route("/api/v1/services", DENIED)
    for one in USUAL[1:]:
        api.add_route(f"/api/v1/namespaces/{one}/services", DENIED)
    service = {
        "metadata": {"name": "prometheus", "namespace": "monitoring"},
        "spec": {"ports": [{"name": "web", "port": 9090}]},
    }
    api.add_route("/api/v1/namespaces/monitoring/services", answer_with(200, {"items": [service]}))
    api.add_route(
        "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1/query",
        answer_with(
            200,
            {"status": "success", "data": {"resultType": "vector", "result": []}},
        ),
    )
    found = await find_prometheus(connection)
    assert found.display_name == "Prometheus in Service monitoring/prometheus"
