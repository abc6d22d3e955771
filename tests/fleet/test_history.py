"""What is remembered of the servings of a fleet."""

from __future__ import annotations

from datetime import timedelta

from servedeck.fleet.fleet import Fleet
from servedeck.fleet.history import ServingHistory
from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects.records import (
    Condition,
    ContainerState,
    ContainerStateRunning,
    ContainerStatus,
    PodStatus,
    Record,
)
from tests.fleet.factories import (
    START,
    autoscaler,
    change,
    deployment,
    event,
    http_route,
    ingress,
    openshift_route,
    pod,
    replicaset,
    scaled_object,
    service,
    virtual_service,
)

LLAMA = NamespacedName("team-a", "llama")
NOW = START + timedelta(hours=1)


def make_fleet(*records: Record) -> Fleet:
    fleet = Fleet()
    for record in records:
        fleet.apply(change(record, "ADDED"))
    fleet.flush(NOW)
    return fleet


def test_services_routes_and_autoscalers_of_a_serving() -> None:
    fleet = make_fleet(
        deployment(),
        deployment("qwen"),
        service("llama"),
        service("qwen"),
        http_route("llama"),
        virtual_service("vs", "llama.team-a"),
        openshift_route("os", "llama"),
        ingress("ing", "llama"),
        scaled_object("llama"),
        autoscaler("llama"),
        autoscaler("qwen"),
    )
    found = fleet.related_objects(LLAMA)
    assert [one.kind for one in found] == [
        "Service",
        "HTTPRoute",
        "VirtualService",
        "Route",
        "Ingress",
        "ScaledObject",
        "HorizontalPodAutoscaler",
    ]
    assert len({one.uid for one in found}) == 7
    assert fleet.related_objects(NamespacedName("team-a", "other")) == []


def test_the_deployment_of_a_serving() -> None:
    fleet = make_fleet(deployment())
    known = fleet.deployment(LLAMA)
    assert known is not None and known.metadata.name == "llama"
    assert fleet.deployment(NamespacedName("team-a", "other")) is None
    assert fleet.deployment(NamespacedName("team-a", "llama", "StatefulSet")) is None


def test_warnings_stay_after_the_api_server_dropped_them() -> None:
    warning = event("p-llama")
    fleet = make_fleet(deployment(), replicaset(), pod(), warning)
    history = ServingHistory()
    history.record([LLAMA], fleet, NOW)
    fleet.apply(change(warning, "DELETED"))
    fleet.flush(NOW)
    assert fleet.warning_events(LLAMA) == []
    history.record([LLAMA, NamespacedName("team-a", "deleted")], fleet, NOW)
    (entry,) = history.events.entries("d-llama")
    assert entry.reason == warning.reason


def test_starts_of_a_serving_are_remembered_after_its_pods_have_ended() -> None:
    running = ContainerState(running=ContainerStateRunning(started_at=START))
    server = ContainerStatus(name="inference-server", ready=True, state=running)
    ready_at = START + timedelta(seconds=220)
    ready = Condition(type="ContainersReady", status="True", last_transition_time=ready_at)
    status = PodStatus(phase="Running", conditions=(ready,), container_statuses=(server,))
    fleet = make_fleet(deployment(), replicaset(), pod(status=status))
    history = ServingHistory()
    history.record([LLAMA], fleet, NOW)
    assert history.starts.durations("d-llama") == (220,)
    fleet.apply(change(pod(status=status), "DELETED"))
    fleet.flush(NOW)
    history.record([LLAMA], fleet, NOW)
    assert history.starts.durations("d-llama") == (220,)
