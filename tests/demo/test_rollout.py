from __future__ import annotations

from typing import Any

import pytest

from servedeck.demo.resources import DEPLOYMENTS, PODS
from servedeck.demo.store.changes import StoreChange
from servedeck.demo.store.objects import key_of
from tests.demo.cluster_fixture import ClusterFixture, container_of

Json = dict[str, Any]


def image(text: str) -> Any:
    return lambda obj: container_of(obj).update(image=text)


def is_ready(pod: Json) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def watch_rollout(cluster: ClusterFixture) -> list[tuple[int, int]]:
    """(Pods that are not being deleted, ready ones) after each change of a Pod from now on."""
    seen: list[tuple[int, int]] = []

    def changed(change: StoreChange) -> None:
        live = [p for p in cluster.pods() if "deletionTimestamp" not in p["metadata"]]
        seen.append((len(live), sum(is_ready(p) for p in live)))

    cluster.store.subscribe(changed, PODS)
    return seen


def test_a_deployment_makes_a_replicaset_and_its_pods_become_ready() -> None:
    cluster = ClusterFixture()
    cluster.node()
    cluster.deploy(replicas=2)
    cluster.until(cluster.ready)
    (replicaset,) = cluster.replicasets()
    hash_ = replicaset["metadata"]["labels"]["pod-template-hash"]
    assert replicaset["metadata"]["name"] == f"llm-{hash_}"
    assert replicaset["spec"]["selector"]["matchLabels"] == {
        "app": "llm",
        "pod-template-hash": hash_,
    }
    assert (
        cluster.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    )
    assert cluster.deployment()["status"]["observedGeneration"] == 1
    for pod in cluster.pods():
        assert pod["metadata"]["name"].startswith(f"llm-{hash_}-")
        (owner,) = pod["metadata"]["ownerReferences"]
        assert owner["uid"] == replicaset["metadata"]["uid"] and owner["controller"]
    progressing, available = cluster.condition("Progressing"), cluster.condition("Available")
    assert progressing is not None and progressing["reason"] == "NewReplicaSetAvailable"
    assert available is not None and available["status"] == "True"
    assert cluster.messages("ScalingReplicaSet") == [
        f"Scaled up replica set llm-{hash_} from 0 to 2"
    ]


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "most", "least"),
    [
        (4, "25%", "25%", 5, 3),
        (4, 0, 1, 4, 3),
        (4, 2, 0, 6, 4),
        (3, "50%", "50%", 5, 2),
        (1, "25%", "25%", 2, 1),
    ],
)
def test_a_rolling_update_respects_surge_and_unavailable_at_each_step(
    replicas: int, surge: str | int, unavailable: str | int, most: int, least: int
) -> None:
    cluster = ClusterFixture()
    cluster.node(gpus=16)
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    cluster.deploy(replicas=replicas, strategy={"type": "RollingUpdate", "rollingUpdate": rolling})
    cluster.until(cluster.ready)
    seen = watch_rollout(cluster)
    cluster.edit(image("vllm/vllm-openai:v0.32.1"))
    cluster.advance(0)
    cluster.until(
        lambda: cluster.ready() and all(_image(p).endswith("0.32.1") for p in cluster.pods())
    )
    assert max(count for count, _ in seen) <= most
    assert min(ready for _, ready in seen) >= least
    # the allowed surge or unavailability is used
    assert max(count for count, _ in seen) == most or min(ready for _, ready in seen) == least


def test_a_rollout_that_cannot_start_stops_at_its_bounds_and_keeps_serving() -> None:
    cluster = ClusterFixture()
    cluster.node(gpus=16)
    cluster.deploy(replicas=4, progressDeadlineSeconds=120)
    cluster.until(cluster.ready)
    cluster.edit(image("vllm/vllm-openai:v0.99.0"))
    cluster.advance(110)
    status = cluster.deployment()["status"]
    assert (status["replicas"], status["updatedReplicas"], status["readyReplicas"]) == (5, 2, 3)
    cluster.advance(60)
    progressing = cluster.condition("Progressing")
    assert progressing is not None and progressing["status"] == "False"
    assert progressing["reason"] == "ProgressDeadlineExceeded"
    name = next(r["metadata"]["name"] for r in cluster.replicasets() if "v0.99.0" in str(r["spec"]))
    assert progressing["message"] == f'ReplicaSet "{name}" has timed out progressing.'
    cluster.edit(image("vllm/vllm-openai:v0.33.0"))
    cluster.until(cluster.ready)
    revision = cluster.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
    assert revision == "3", "a return to an old template is a new revision"
    assert len(cluster.replicasets()) == 2


def test_recreate_starts_the_new_pods_after_the_old_are_deleted() -> None:
    cluster = ClusterFixture()
    cluster.node()
    cluster.deploy(replicas=2, strategy={"type": "Recreate"})
    cluster.until(cluster.ready)
    seen: list[set[str]] = []
    cluster.store.subscribe(lambda _: seen.append({_image(p) for p in cluster.pods()}), PODS)
    cluster.edit(image("vllm/vllm-openai:v0.32.1"))
    cluster.advance(0)
    cluster.until(lambda: cluster.ready() and len(cluster.pods()) == 2)
    assert set() in seen
    assert all(len(images) <= 1 for images in seen)


def test_old_revisions_beyond_the_history_limit_are_deleted() -> None:
    cluster = ClusterFixture()
    cluster.node()
    cluster.deploy(revisionHistoryLimit=2)
    for release in range(25, 31):
        cluster.edit(image(f"vllm/vllm-openai:v0.{release}.0"))
        cluster.advance(0)
        cluster.until(cluster.ready)
        cluster.advance(5)
    assert len(cluster.replicasets()) == 3


def test_a_revision_that_becomes_current_again_notes_its_earlier_number() -> None:
    cluster = ClusterFixture()
    cluster.node()
    cluster.deploy(replicas=1)
    cluster.until(cluster.ready)
    (first,) = cluster.replicasets()
    before = container_of(cluster.deployment())["image"]
    for text in ("vllm/vllm-openai:v0.25.0", before):
        cluster.edit(image(text))
        cluster.advance(0)
        cluster.until(cluster.ready)
    annotations = next(
        one["metadata"]["annotations"]
        for one in cluster.replicasets()
        if key_of(one) == key_of(first)
    )
    assert annotations["deployment.kubernetes.io/revision"] == "3"
    assert annotations["deployment.kubernetes.io/revision-history"] == "1"


def test_scaling_keeps_the_oldest_ready_pods() -> None:
    cluster = ClusterFixture()
    cluster.node()
    cluster.deploy(replicas=2)
    cluster.until(cluster.ready)
    kept = {p["metadata"]["name"] for p in cluster.pods()}
    cluster.edit(lambda obj: obj["spec"].update(replicas=4))
    cluster.advance(0)
    cluster.until(cluster.ready)
    cluster.edit(lambda obj: obj["spec"].update(replicas=2))
    cluster.advance(30)
    assert {p["metadata"]["name"] for p in cluster.pods()} == kept
    cluster.edit(lambda obj: obj["spec"].update(replicas=0))
    cluster.advance(30)
    assert cluster.pods() == []
    assert "readyReplicas" not in cluster.deployment()["status"]


def test_scaling_in_the_middle_of_a_rollout_is_shared_out() -> None:
    cluster = ClusterFixture()
    cluster.node(gpus=32)
    cluster.deploy(replicas=4)
    cluster.until(cluster.ready)
    cluster.edit(image("vllm/vllm-openai:v0.99.0"))
    cluster.advance(60)
    cluster.edit(lambda obj: obj["spec"].update(replicas=8))
    cluster.advance(120)
    sizes = sorted(r["spec"]["replicas"] for r in cluster.replicasets())
    assert sum(sizes) == 10 and sizes[0] > 2, sizes


def test_a_paused_deployment_does_not_roll_but_scales() -> None:
    cluster = ClusterFixture()
    cluster.node()
    cluster.deploy(replicas=2)
    cluster.until(cluster.ready)
    cluster.edit(lambda obj: obj["spec"].update(paused=True))
    cluster.edit(image("vllm/vllm-openai:v0.32.1"))
    cluster.advance(60)
    assert len(cluster.replicasets()) == 1
    progressing = cluster.condition("Progressing")
    assert progressing is not None
    assert (progressing["status"], progressing["reason"]) == ("Unknown", "DeploymentPaused")
    cluster.edit(lambda obj: obj["spec"].update(replicas=3))
    cluster.advance(200)
    assert len(cluster.pods()) == 3
    cluster.edit(lambda obj: obj["spec"].pop("paused"))
    cluster.advance(0)
    cluster.until(
        lambda: cluster.ready() and {_image(p)[-6:] for p in cluster.pods()} == {"0.32.1"}
    )


def test_deleting_a_deployment_deletes_its_replicasets_and_pods() -> None:
    cluster = ClusterFixture()
    cluster.node()
    cluster.deploy(replicas=2)
    cluster.until(cluster.ready)
    cluster.store.delete(DEPLOYMENTS, "lab", "llm")
    cluster.advance(1)
    assert cluster.replicasets() == []
    assert all("deletionTimestamp" in p["metadata"] for p in cluster.pods())
    assert len(cluster.pods()) == 2, "Pods have their time to stop"
    cluster.advance(30)
    assert cluster.pods() == []


def test_foreground_deletion_removes_the_owner_last_and_orphans_stay() -> None:
    cluster = ClusterFixture()
    cluster.node()
    cluster.deploy("first")
    cluster.deploy("second")
    cluster.until(lambda: cluster.ready("first") and cluster.ready("second"))
    gone: list[str] = []
    cluster.store.subscribe(
        lambda c: gone.append(c.object["kind"]) if c.type == "DELETED" else None
    )
    cluster.store.delete(DEPLOYMENTS, "lab", "first", propagation="Foreground")
    cluster.advance(60)
    kinds = [kind for kind in gone if kind in ("Pod", "ReplicaSet", "Deployment")]
    assert kinds == ["Pod", "ReplicaSet", "Deployment"]
    cluster.store.delete(DEPLOYMENTS, "lab", "second", propagation="Orphan")
    cluster.advance(60)
    (replicaset,) = cluster.replicasets()
    assert "ownerReferences" not in replicaset["metadata"]
    assert len(cluster.pods()) == 1


def _image(pod: Json) -> str:
    return str(pod["spec"]["containers"][0]["image"])
