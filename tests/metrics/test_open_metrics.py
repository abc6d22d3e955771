"""The source of the metrics of one cluster."""

from __future__ import annotations

import pytest

from servedeck.cluster.http.connection import Connection
from servedeck.config import Settings
from servedeck.metrics.cluster_metrics import ClusterMetrics
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.sample_ring import SampleRing
from tests.metrics.fake_prometheus import FakePrometheus, answer_with
from tests.metrics.targets import target


def make(connection: Connection, url: str) -> ClusterMetrics:
    settings = Settings(
        prometheus_url=url, pod_metrics=False, explicit_keys=frozenset({"prometheus_url"})
    )
    return ClusterMetrics(connection, settings, SampleRing())


async def test_a_prometheus_that_fails_for_one_serving_stays_open_for_others(
    prometheus: FakePrometheus, connection: Connection
):
    metrics = make(connection, prometheus.url)
    source = await metrics.prometheus()
    transport = source._client._transport
    prometheus.handler = answer_with(503, text="down")
    with pytest.raises(MetricsError, match="is not available"):
        await metrics.open(target)
    session = transport._session  # type: ignore[attr-defined]
    assert session is not None and not session.closed
    assert await metrics.prometheus() is source
    await metrics.close()
    assert session.closed


async def test_a_deleted_serving_has_no_metrics(prometheus: FakePrometheus, connection: Connection):
    with pytest.raises(MetricsError, match="does not exist any more"):
        await make(connection, prometheus.url).open(lambda: None)
