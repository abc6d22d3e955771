"""Revisions and rollouts made by kubectl and server-side apply, on a real Deployment controller."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from servedeck.detail.rollout import Rollouts, build_rollouts
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.objects.template_changes import find_template_changes
from servedeck.serving.status.rollout_status import RolloutPhase
from tests.control_plane import pod_statuses
from tests.control_plane.assertions import list_views
from tests.control_plane.control_plane import ControlPlane, JsonObject, wait_for
from tests.control_plane.objects import HOLD_ANNOTATION
from tests.control_plane.test_app import AppDriver, running_app
from tui.panes.rollouts import RolloutsPane
from tui.screens.serving import PANES

SERVER = "inference-server"
CONTAINER = f".spec.containers[{SERVER}]"


class Serving:
    """A Deployment "llama" that the test changes with kubectl."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane = plane
        self.namespace = namespace
        self.path = f"/apis/apps/v1/namespaces/{namespace}/deployments/llama"

    def kubectl(self, *arguments: str) -> str:
        return self.plane.kubectl(*arguments, "-n", self.namespace)

    def kubectl_status(self) -> str:
        """The sentence of `kubectl rollout status`."""
        return self.kubectl("rollout", "status", "deployment/llama", "--watch=false").strip()

    def deployment(self) -> JsonObject:
        return self.plane.request("GET", self.path)

    def replicasets(self) -> list[JsonObject]:
        path = f"/apis/apps/v1/namespaces/{self.namespace}/replicasets"
        return list(self.plane.request("GET", path)["items"])

    def rollouts(self) -> Rollouts:
        return build_rollouts(self.deployment(), self.replicasets(), self.view())

    def view(self) -> ServingView | None:
        return list_views(self.plane, self.namespace).get(NamespacedName(self.namespace, "llama"))

    def patch(self, **spec: Any) -> None:
        self.plane.request("PATCH", self.path, {"spec": spec})

    def wait_for_hold_up(self, *texts: str, updated: int | None = None) -> Rollouts:
        """The rollouts once the sentence about what holds it up contains the texts, and the
        Deployment counts so many updated Pods, which it does some time after they are created."""

        def found() -> Rollouts | None:
            rollouts = self.rollouts()
            is_counted = updated in (None, rollouts.status.updated)
            held_up = all(text in rollouts.hold_up for text in texts)
            return rollouts if held_up and is_counted else None

        rollouts = wait_for(found, f"{texts} to hold it up")
        assert rollouts is not None
        return rollouts

    def wait_until_complete(self, number: int, replicas: int = 2) -> Rollouts:
        """The rollouts once this revision is rolled out."""

        def found() -> Rollouts | None:
            rollouts = self.rollouts()
            current = rollouts.current
            complete = rollouts.status.phase is RolloutPhase.COMPLETE and current.number == number
            return rollouts if complete and current.ready == replicas else None

        rollouts = wait_for(found, f"revision {number} to be rolled out")
        assert rollouts is not None
        return rollouts


@pytest.fixture
def serving(control_plane: ControlPlane, namespace: str) -> Serving:
    control_plane.create_deployment(namespace, "llama", replicas=2)
    made = Serving(control_plane, namespace)
    made.wait_until_complete(1)
    return made


def numbers(rollouts: Rollouts) -> list[int]:
    return [one.number for one in rollouts.revisions]


def test_what_kubectl_does_is_a_revision_with_its_manager_and_change(serving: Serving) -> None:
    first = serving.rollouts()
    assert first.status.message == serving.kubectl_status()
    assert numbers(first) == [1]
    assert first.current.change == ""
    assert first.current.image == "vllm/vllm-openai:v0.10.0"
    serving.kubectl("set", "image", "deployment/llama", f"{SERVER}=vllm/vllm-openai:v0.11.0")
    image = serving.wait_until_complete(2).current
    assert (image.change, image.image) == ("image", "vllm/vllm-openai:v0.11.0")
    assert image.changed_by is not None
    assert image.changed_by[:2] == ("kubectl-set", "Update")
    serving.kubectl("set", "env", "deployment/llama", "HF_TOKEN=hunter2", "A=1")
    found = serving.wait_until_complete(3)
    assert found.current.change == "env"
    newest, before, oldest = found.revisions
    assert find_template_changes(before.template, newest.template) == [
        (f"{CONTAINER}.env[HF_TOKEN].value", "none", "••••••••"),
        (f"{CONTAINER}.env[A].value", "none", "1"),
    ]
    assert [one.changed_by is None for one in (newest, before, oldest)] == [False, True, True]
    assert (newest.desired, newest.current, newest.ready) == (2, 2, 2)
    assert (before.desired, before.current, before.ready) == (0, 0, 0)


def test_a_restart_and_a_rollback(serving: Serving) -> None:
    serving.kubectl("rollout", "restart", "deployment/llama")
    restarted = serving.wait_until_complete(2).current
    assert restarted.is_restart
    assert restarted.changed_by is not None
    assert restarted.changed_by.name == "kubectl-rollout"
    serving.kubectl("rollout", "undo", "deployment/llama")
    found = serving.wait_until_complete(3)
    assert numbers(found) == [3, 2]
    assert found.current.previous_numbers == (1,)
    assert found.current.change == "rollback to 1"
    history = serving.kubectl("rollout", "history", "deployment/llama")
    rows = [line.split()[0] for line in history.splitlines() if line[:1].isdigit()]
    assert sorted(numbers(found)) == sorted(map(int, rows))


def test_the_change_cause(serving: Serving) -> None:
    annotate = ("annotate", "deployment/llama")
    serving.kubectl(*annotate, "kubernetes.io/change-cause=first image")
    serving.kubectl("set", "image", "deployment/llama", f"{SERVER}=vllm/vllm-openai:v0.11.0")
    found = serving.wait_until_complete(2)
    assert found.current.change_cause == "first image"
    assert found.current.repeats_change_cause
    serving.kubectl(*annotate, "kubernetes.io/change-cause=v0.11 is faster", "--overwrite")
    found = serving.rollouts()
    assert [one.change_cause for one in found.revisions] == ["v0.11 is faster", "first image"]
    assert not found.current.repeats_change_cause


def test_another_field_manager_by_server_side_apply(serving: Serving) -> None:
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "llama"},
        "spec": {
            "template": {"spec": {"containers": [{"name": SERVER, "image": "vllm/vllm-openai:v1"}]}}
        },
    }
    serving.plane.request(
        "PATCH",
        f"{serving.path}?fieldManager=helm&force=true",
        body,
        content_type="application/apply-patch+yaml",
    )
    found = serving.wait_until_complete(2).current
    assert found.changed_by is not None
    assert found.changed_by[:2] == ("helm", "Apply")
    assert str(found.changed_by) == "helm (Apply)"


def test_a_paused_change_is_not_rolled_out(serving: Serving) -> None:
    serving.kubectl("rollout", "pause", "deployment/llama")
    serving.kubectl("set", "image", "deployment/llama", f"{SERVER}=vllm/vllm-openai:v0.11.0")

    def observed() -> Rollouts | None:
        found = serving.rollouts()
        return found if found.status.phase is RolloutPhase.PAUSED else None

    found = wait_for(observed, "the pause")
    assert found is not None
    assert [(one.number, one.uid != "") for one in found.revisions] == [(0, False), (1, True)]
    assert found.current.change == "image"
    assert "not rolled out until it is resumed" in found.hold_up
    serving.kubectl("rollout", "resume", "deployment/llama")
    assert numbers(serving.wait_until_complete(2)) == [2, 1]


def test_history_limit_0_keeps_the_current_revision_only(serving: Serving) -> None:
    serving.patch(revisionHistoryLimit=0)
    serving.kubectl("set", "image", "deployment/llama", f"{SERVER}=vllm/vllm-openai:v0.11.0")
    found = wait_for(
        lambda: found if numbers(found := serving.wait_until_complete(2)) == [2] else None,
        "the old ReplicaSet to be deleted",
    )
    assert found is not None
    assert found.notes == ("revisionHistoryLimit is 0: Kubernetes keeps no earlier revisions.",)


def test_replicasets_of_an_overlapping_deployment_are_not_its_revisions(
    control_plane: ControlPlane, namespace: str, serving: Serving
) -> None:
    body = serving.deployment()
    other = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "other"},
        "spec": {key: body["spec"][key] for key in ("replicas", "selector", "template")},
    }
    control_plane.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", other)
    wait_for(lambda: len(serving.replicasets()) == 2, "the other Deployment's ReplicaSet")
    found = serving.rollouts()
    assert len(found.revisions) == 1
    assert found.current.replicaset.startswith("llama-")


# -- what holds a rollout up ---------------------------------------------------------------------


def test_no_room_for_the_new_pod_beside_the_old_one(
    control_plane: ControlPlane, namespace: str
) -> None:
    nodes = control_plane.add_nodes(1, prefix=f"small-{namespace}")
    surge = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    control_plane.create_deployment(
        namespace,
        "llama",
        accelerator="nvidia.com/gpu",
        count=8,
        strategy=surge,
        pod_spec={"nodeSelector": {"kubernetes.io/hostname": nodes[0]}},
    )
    serving = Serving(control_plane, namespace)
    serving.wait_until_complete(1, 1)
    serving.kubectl("set", "image", "deployment/llama", f"{SERVER}=vllm/vllm-openai:v0.11.0")
    found = serving.wait_for_hold_up("No node has room for a new Pod beside 1 old Pod: ", updated=1)
    assert found.hold_up.endswith(
        "keeps each old Pod until a new one is available. With rollout=replace an old Pod stops "
        "first."
    )
    assert found.status.phase is RolloutPhase.IN_PROGRESS
    assert (found.status.old, found.status.ready) == (1, 0)
    assert found.status.message == serving.kubectl_status()
    assert "1 old replicas are pending termination" in found.status.message
    serving.kubectl("rollout", "undo", "deployment/llama")
    serving.wait_until_complete(3, 1)


def test_a_quota(control_plane: ControlPlane, namespace: str, serving: Serving) -> None:
    quota = {"metadata": {"name": "pods"}, "spec": {"hard": {"pods": "2"}}}
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    control_plane.create(path, quota)
    wait_for(
        lambda: control_plane.request("GET", f"{path}/pods").get("status", {}).get("used"),
        "the quota to be counted",
    )
    serving.patch(strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
    serving.kubectl("set", "image", "deployment/llama", f"{SERVER}=vllm/vllm-openai:v0.11.0")
    found = serving.wait_for_hold_up("No Pod can be created", "exceeded quota")
    assert found.status.updated == 0


def test_the_progress_deadline(serving: Serving) -> None:
    serving.patch(progressDeadlineSeconds=1)
    hold_new_pods(serving)

    def failed() -> Rollouts | None:
        found = serving.rollouts()
        return found if found.status.phase is RolloutPhase.FAILED else None

    found = wait_for(failed, "the deadline to be exceeded")
    assert found is not None
    assert found.status.message == 'deployment "llama" exceeded its progress deadline'
    assert "Waiting for 1 new Pod to become ready" in found.hold_up


def test_minimum_ready_time(serving: Serving) -> None:
    serving.patch(minReadySeconds=3600, progressDeadlineSeconds=7200)
    serving.kubectl("set", "image", "deployment/llama", f"{SERVER}=vllm/vllm-openai:v0.11.0")
    serving.wait_for_hold_up("available after minReadySeconds (3600 s)")


def test_recreate_waits_for_old_pods(control_plane: ControlPlane, namespace: str) -> None:
    """Pods that are not scheduled, so that nothing but their finalizer holds them."""
    control_plane.create_deployment(
        namespace,
        "llama",
        replicas=2,
        strategy={"type": "Recreate"},
        pod_spec={"schedulerName": "nobody"},
    )
    serving = Serving(control_plane, namespace)
    path = f"/api/v1/namespaces/{namespace}/pods"
    pods = control_plane.wait_for_pods(namespace, "llama", 2, scheduled=False)
    names = [pod["metadata"]["name"] for pod in pods]
    for name in names:
        finalizers = {"metadata": {"finalizers": ["tests.servedeck.dev/hold"]}}
        control_plane.request("PATCH", f"{path}/{name}", finalizers)
    try:
        serving.kubectl("set", "image", "deployment/llama", f"{SERVER}=vllm/vllm-openai:v0.11.0")
        found = serving.wait_for_hold_up("Waiting for 2 old Pods to terminate (Recreate)")
        assert str(found.status.strategy) == "Recreate"
        assert [(one.number, one.uid != "") for one in found.revisions] == [(0, False), (1, True)]
    finally:
        for name in names:
            control_plane.request("PATCH", f"{path}/{name}", {"metadata": {"finalizers": None}})
    wait_for(lambda: serving.rollouts().current.number == 2, "the new ReplicaSet")


# -- on the screen ------------------------------------------------------------------------------


def hold_new_pods(serving: Serving) -> None:
    """Change the Pod template so that new Pods do not become ready."""
    serving.patch(template={"metadata": {"annotations": {HOLD_ANNOTATION: "true"}}})


def held_pods(serving: Serving) -> list[JsonObject]:
    """Pods of the new revision that have a node."""
    return [
        pod
        for pod in serving.plane.list_pods(serving.namespace, "llama")
        if HOLD_ANNOTATION in pod["metadata"].get("annotations", {}) and "nodeName" in pod["spec"]
    ]


async def open_rollouts(driver: AppDriver) -> None:
    await driver.wait_for_row("llama")
    await driver.pilot.press("enter")
    await driver.wait_for_screen(lambda text: "Rollouts" in text, "page")
    await driver.pilot.press(str(PANES.index(RolloutsPane) + 1))


async def test_the_tab_follows_a_rollout_that_is_held_up(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path, serving: Serving
) -> None:
    async with running_app(kubeconfig, namespace, (120, 40)) as driver:
        await open_rollouts(driver)
        await driver.wait_for_screen(
            lambda text: "Revision 1 is rolled out" in text and "2 of 2 updated" in text, "state"
        )
        hold_new_pods(serving)
        await driver.wait_for_screen(
            lambda text: "Revision 2 is being rolled out" in text and "2 current" in text,
            "the rollout",
        )
        new = await asyncio.to_thread(wait_for, partial(held_pods, serving), "the new Pod")
        control_plane.set_pod_status(new[0], pod_statuses.image_pull_error())
        text = await driver.wait_for_screen(lambda text: "! New Pod" in text, "what holds it up")
        assert "pull" in text
        await driver.pilot.press("g", "enter")  # the cursor was on the revision before
        await driver.wait_for_screen(
            lambda text: (
                "From revision 1 to revision 2" in text and f"annotations.{HOLD_ANNOTATION}" in text
            ),
            "difference",
        )
        await driver.pilot.press("escape")
        serving.kubectl("rollout", "undo", "deployment/llama")
        await driver.wait_for_screen(
            lambda text: "Revision 3 is rolled out" in text and "rollback to 1" in text, "rollback"
        )


async def test_without_permission_for_replicasets_the_deployment_stays(
    control_plane: ControlPlane, namespace: str, serving: Serving
) -> None:
    rules = [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
    ]
    control_plane.grant("viewer", rules, namespace=namespace, name="deployments")
    kubeconfig = control_plane.write_kubeconfig("viewer", namespace=namespace)
    async with running_app(kubeconfig, namespace, (120, 40)) as driver:
        await open_rollouts(driver)
        text = await driver.wait_for_screen(
            lambda text: "Earlier revisions are not shown." in " ".join(text.split()), "the reason"
        )
        assert "replicasets" in text
        assert "1 current" in text
        assert "v0.10.0" in text
