"""The Deployment that the page begins with, and the one that is read after it."""

from __future__ import annotations

import json
from typing import cast

from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.detail.deployment_watch import DeploymentWatch
from servedeck.detail.detail_service import DetailService
from servedeck.detail.object_watch import LiveObject
from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects.records import Deployment
from tests.tui.fake_detail_service import FakeDetailService

KEY = NamespacedName("team-a", "llama")


def make_deployment(uid: str = "u1", version: str = "7", revision: str = "1") -> dict[str, object]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "namespace": KEY.namespace,
            "name": KEY.name,
            "uid": uid,
            "resourceVersion": version,
            "annotations": {"deployment.kubernetes.io/revision": revision},
        },
        "spec": {"selector": {"matchLabels": {"app": "llama"}}},
    }


def open_watch(service: FakeDetailService, known: dict[str, object]) -> DeploymentWatch:
    raw = json.dumps(known).encode()
    record = cast(Deployment, RecordDecoder(Deployment).decode(raw).record)
    return DeploymentWatch(cast(DetailService, service), KEY, lambda: None, known=record)


def shown(watch: DeploymentWatch) -> LiveObject:
    deployment = watch.deployment
    assert deployment is not None
    return deployment


def revision(deployment: LiveObject) -> str:
    return cast(
        str, deployment.value["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
    )


def test_the_version_that_is_shown_already_stays_the_same_instance():
    service = FakeDetailService()
    watch = open_watch(service, make_deployment())
    known = shown(watch)
    service.put(make_deployment())
    assert shown(watch) is known
    service.put(make_deployment(version="8", revision="2"))
    changed = shown(watch)
    assert revision(changed) == "2"
    service.remove("u1")
    assert shown(watch) is changed


def test_a_deployment_that_was_made_again_is_another_one():
    service = FakeDetailService()
    watch = open_watch(service, make_deployment())
    service.put(make_deployment(uid="u2", revision="2"))
    assert revision(shown(watch)) == "2"


def test_an_object_without_a_version_is_taken_as_it_is_read():
    service = FakeDetailService()
    watch = open_watch(service, make_deployment(version=""))
    service.put(make_deployment(version="", revision="2"))
    assert revision(shown(watch)) == "2"


def test_it_is_not_settled_before_the_replicasets_of_the_listed_deployment_are_watched():
    service = FakeDetailService()
    watch = DeploymentWatch(cast(DetailService, service), KEY, lambda: None)
    (deployments,) = service.watches
    notify, deployments.on_change = deployments.on_change, lambda: None
    service.put(make_deployment())
    assert watch.deployment is not None
    assert not watch.is_settled
    notify()
    assert [one.resource_name for one in service.watches][1:] == ["replicasets.apps"]
    assert watch.is_settled
