"""How long Events live, and how repeated ones are counted."""

from __future__ import annotations

from typing import Any

from servedeck.demo.resources import (
    NAMESPACES,
    RESOURCEQUOTAS,
)
from tests.demo.cluster_fixture import ClusterFixture, started_cluster

Json = dict[str, Any]


def test_events_go_after_an_hour_and_a_recorder_limits_what_repeats() -> None:
    cluster = started_cluster(image="vllm/vllm-openai:v0.99.0")
    cluster.advance(7200)
    pulls = [e for e in cluster.events() if e["involvedObject"]["kind"] == "Pod"]
    # a burst of 25 in the first minutes, then one in five minutes
    assert sum(event["count"] or 1 for event in pulls) <= 25 + 7200 / 300 + 2
    assert cluster.events("ScalingReplicaSet") == []
    assert all(e["lastTimestamp"] or e["eventTime"] for e in cluster.events())


def test_events_that_differ_in_a_name_alone_are_combined_from_the_tenth_on() -> None:
    cluster = ClusterFixture()
    cluster.node()
    quota = {"metadata": {"namespace": "lab", "name": "none"}, "spec": {"hard": {"pods": "0"}}}
    cluster.create(RESOURCEQUOTAS, quota)
    cluster.deploy()
    cluster.advance(500)
    refused = cluster.events("FailedCreate")
    combined = [e for e in refused if e["message"].startswith("(combined from similar events): ")]
    assert (len(refused), len(combined)) == (10, 1)
    assert combined[0]["count"] > 3
    assert 'Error creating: pods "llm-' in combined[0]["message"]


def test_a_namespace_goes_with_all_that_is_in_it() -> None:
    cluster = started_cluster(replicas=2)
    cluster.until(cluster.ready)
    cluster.store.delete(NAMESPACES, "", "lab")
    cluster.advance(120)
    assert cluster.store.find(NAMESPACES, "", "lab") is None
    assert cluster.pods() == [] and cluster.events() == []
