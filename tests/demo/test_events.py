"""How long Events live, and how repeated ones are counted."""

from __future__ import annotations

from servedeck.demo.clock import parse_timestamp
from servedeck.demo.resources import NAMESPACES
from tests.demo.cluster_fixture import started_cluster


def test_events_expire_an_hour_after_they_last_occurred() -> None:
    cluster = started_cluster(image="vllm/vllm-openai:v0.99.0")
    cluster.advance(7200)
    assert cluster.events("ScalingReplicaSet") == []
    assert all(e["lastTimestamp"] or e["eventTime"] for e in cluster.events())
    now = cluster.clock.time()
    assert all(now - parse_timestamp(e["lastTimestamp"]) <= 3600 for e in cluster.events("BackOff"))


def test_repeated_events_are_counted_in_one_object() -> None:
    cluster = started_cluster(image="vllm/vllm-openai:v0.99.0")
    cluster.until(lambda: any(e["count"] > 2 for e in cluster.events("BackOff")))
    (event,) = cluster.events("BackOff")
    assert event["firstTimestamp"] < event["lastTimestamp"]


def test_repeated_events_of_the_scheduler_are_a_series() -> None:
    cluster = started_cluster(gpus=16)
    cluster.advance(700)
    (event,) = cluster.events("FailedScheduling")
    assert event["series"]["count"] == 3, "tried again every five minutes"
    assert event["series"]["lastObservedTime"] > event["eventTime"]


def test_a_namespace_is_deleted_with_its_content() -> None:
    cluster = started_cluster(replicas=2)
    cluster.until(cluster.ready)
    cluster.store.delete(NAMESPACES, "", "lab")
    cluster.advance(120)
    assert cluster.store.find(NAMESPACES, "", "lab") is None
    assert cluster.pods() == [] and cluster.events() == []
