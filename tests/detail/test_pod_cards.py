"""The cards of one Pod."""

from __future__ import annotations

from datetime import UTC, datetime

from servedeck.detail.cards import Card
from servedeck.detail.pod_cards import clock_time, describe_probe, pod_cards
from tests.detail.objects import live, node, pod
from tests.serving.factories import event
from tests.tui.fakes import NOW


def cards(value, *events, with_node=True) -> dict[str, Card]:
    found = pod_cards(live(value), live(node()) if with_node else None, events, NOW)
    return {card.key: card for card in found}


def values(card: Card) -> dict[str, str]:
    return {row.label: row.value for row in card.rows}


def test_the_history_the_container_and_its_last_end():
    found = cards(pod("llama-1"))
    assert [row.value for row in found["history"].rows] == [
        "created",
        "scheduled to node gpu-node-1",
        "inference-server started",
        "inference-server exceeded its memory limit of 80Gi and was killed (OOMKilled) after 38s,"
        " exit code 137; 7 restarts until now",
        "next start of inference-server in 3m",
    ]
    server = values(found["container.inference-server"])
    assert server["State"].startswith("Waiting: CrashLoopBackOff: back-off 5m0s")
    assert server["Last Termination"] == "OOMKilled, exit code 137, after 38s"
    assert server["Restarts"] == "7"
    assert server["Limits"] == "memory 80Gi, nvidia.com/gpu 4"
    assert values(found["pod"])["Status"] == "CrashLoopBackOff"
    assert values(found["pod"])["QoS Class"] == "Burstable"
    assert values(found["volumes"]) == {"cache": "PVC models"}


def test_the_node_with_its_taints_and_pressure():
    found = values(cards(pod("llama-1"))["node"])
    assert found["Name"] == "gpu-node-1"
    assert found["Taint"] == "nvidia.com/gpu:NoSchedule"
    assert found["MemoryPressure"].startswith("True")
    assert "DiskPressure" not in found
    assert found["Allocatable"] == "cpu 64, memory 512Gi, nvidia.com/gpu 8"


def test_a_probe_with_its_last_failure():
    failure = event(
        "Unhealthy",
        "Startup probe failed: HTTP probe failed with statuscode: 503",
        container="inference-server",
        count=3,
        when="2026-11-23T02:59:00Z",
    )
    server = values(cards(pod("llama-1"), failure)["container.inference-server"])
    assert server["Startup Probe"] == (
        "http-get :8000/health delay=0s timeout=1s period=10s #success=1 #failure=60"
    )
    assert server["  last failure"] == "HTTP status 503, ×3, 60s ago"


def test_probes_of_every_kind():
    assert describe_probe({"exec": {"command": ["cat", "/ok"]}}).startswith("exec cat /ok delay=")
    assert describe_probe({"tcpSocket": {"port": "http"}}).startswith("tcp-socket :http ")
    assert describe_probe({"grpc": {"port": 9, "service": "s"}}).startswith("grpc :9 s ")
    assert describe_probe({"httpGet": {"port": 1, "scheme": "HTTPS"}}).startswith("https-get :1/ ")


def test_events_are_in_order_of_time_with_their_count():
    events = [
        event("BackOff", "later", count=3, when="2026-11-23T02:59:00Z"),
        event("Pulled", "first", type="Normal", when="2026-11-23T02:00:00Z"),
    ]
    shown = [row.value for row in cards(pod("llama-1"), *events)["events"].rows]
    assert shown == ["Pulled: first", "! BackOff ×3: later"]


def test_what_is_missing_is_said():
    given = pod("llama-1", spec={"containers": []}, status={})
    found = cards(given, with_node=False)
    assert found["node"].empty_text == "Not scheduled."
    assert found["conditions"].empty_text == "None reported yet."
    assert found["events"].empty_text == "No Events in the last hour."
    notes = {"node": "Cannot list nodes: needs list and watch on nodes."}
    other = pod_cards(live(pod("llama-1")), None, (), NOW, notes=notes)
    assert next(card for card in other if card.key == "node").empty_text == notes["node"]


def test_a_time_of_another_day_has_its_date():
    assert len(clock_time(NOW, NOW)) == 8
    assert len(clock_time(datetime(2026, 11, 1, tzinfo=UTC), NOW)) == 14
    assert clock_time(None, NOW) == ""
