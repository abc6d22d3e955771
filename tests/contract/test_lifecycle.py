"""The lifecycle of a Deployment: the same scenario with the controllers of both servers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.target import Target, configmap, deployment, eventually

Json = dict[str, Any]


class Workload:
    """One Deployment of a namespace and its dependents."""

    def __init__(self, target: Target, ns: str) -> None:
        self.target = target
        self.ns = ns
        self.path = f"/apis/apps/v1/namespaces/{ns}/deployments/web"

    def create(self, body: Json) -> None:
        self.target.ok("POST", f"/apis/apps/v1/namespaces/{self.ns}/deployments", body)

    def get(self) -> Json:
        found: Json = self.target.ok("GET", self.path)
        return found

    def items(self, kind: str) -> list[Json]:
        group = "/apis/apps/v1" if kind == "replicasets" else "/api/v1"
        found: list[Json] = self.target.ok("GET", f"{group}/namespaces/{self.ns}/{kind}")["items"]
        return found

    def ready(self, replicas: int) -> Json:
        def done() -> Json | None:
            obj = self.get()
            status = obj["status"]
            fresh = status.get("observedGeneration") == obj["metadata"]["generation"]
            counts = [status.get(f, 0) for f in ("replicas", "updatedReplicas", "readyReplicas")]
            return obj if fresh and counts == [replicas] * 3 else None

        found: Json = eventually(done, f"{replicas} ready replicas")
        return found

    def condition(self, kind: str) -> Json:
        conditions = self.get()["status"].get("conditions", ())
        return next((c for c in conditions if c["type"] == kind), {})

    def events(self, kind: str) -> list[tuple[str, str, str]]:
        return [
            (event["type"], event["reason"], event["message"])
            for event in self.items("events")
            if event["involvedObject"]["kind"] == kind
        ]


@pytest.fixture
def web(target: Target, ns: str) -> Workload:
    return Workload(target, ns)


def quick(**spec: Any) -> Json:
    body = deployment("web", **spec)
    body["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 1
    return body


def with_gpus(count: str, **spec: Any) -> Json:
    body = quick(**spec)
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"limits": {"nvidia.com/gpu": count}}
    return body


def test_a_new_deployment_becomes_available(web: Workload) -> None:
    web.create(quick(replicas=2))
    made = web.ready(2)
    assert made["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    available = web.condition("Available")
    assert (available["status"], available["reason"]) == ("True", "MinimumReplicasAvailable")
    assert available["message"] == "Deployment has minimum availability."
    (replicaset,) = web.items("replicasets")
    progressing = web.condition("Progressing")
    assert (progressing["status"], progressing["reason"]) == ("True", "NewReplicaSetAvailable")
    name = replicaset["metadata"]["name"]
    assert progressing["message"] == f'ReplicaSet "{name}" has successfully progressed.'
    owner = replicaset["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Deployment", "web", True)
    hashed = replicaset["metadata"]["labels"]["pod-template-hash"]
    assert name == f"web-{hashed}"
    for pod in web.items("pods"):
        assert pod["metadata"]["generateName"] == f"{name}-"
        assert pod["metadata"]["labels"] == {"app": "web", "pod-template-hash": hashed}
        assert pod["metadata"]["ownerReferences"][0]["name"] == name
        assert pod["status"]["phase"] == "Running"
        assert pod["spec"]["nodeName"]
    scaled = ("Normal", "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to 2")
    assert scaled in web.events("Deployment")
    pod = web.items("pods")[0]["metadata"]["name"]
    assert ("Normal", "SuccessfulCreate", f"Created pod: {pod}") in web.events("ReplicaSet")


def test_scaling_down_removes_pods(web: Workload) -> None:
    web.create(quick(replicas=2))
    web.ready(2)
    web.target.patch(f"{web.path}/scale", {"spec": {"replicas": 1}})
    web.ready(1)
    eventually(lambda: len(web.items("pods")) == 1, "one Pod to be left")
    messages = [message for _, _, message in web.events("Deployment")]
    assert any(m.startswith("Scaled down replica set web-") for m in messages)


def test_a_rollout_replaces_the_pods(web: Workload) -> None:
    web.create(quick(replicas=2))
    web.ready(2)
    (first,) = web.items("replicasets")
    container = {"name": "c", "image": "ghcr.io/contract/app:v0.11.0"}
    web.target.patch(
        web.path,
        {"spec": {"template": {"spec": {"containers": [container]}}}},
        "application/strategic-merge-patch+json",
    )
    rolled = web.ready(2)
    assert rolled["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"

    def only_new() -> bool:
        images = {p["spec"]["containers"][0]["image"] for p in web.items("pods")}
        return images == {container["image"]}

    eventually(only_new, "the old Pods to be gone")
    old = {r["metadata"]["name"]: r["spec"]["replicas"] for r in web.items("replicasets")}
    assert len(old) == 2 and old[first["metadata"]["name"]] == 0


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
def test_a_deletion_takes_what_it_owns(web: Workload, policy: str) -> None:
    web.create(quick())
    web.ready(1)
    web.target.ok("DELETE", f"{web.path}?propagationPolicy={policy}")
    eventually(
        lambda: not web.items("replicasets") and not web.items("pods"), "all of it to be gone"
    )
    # with foreground deletion, the owner is deleted shortly after its last dependent
    eventually(lambda: web.target.send("GET", web.path).code == 404, "the owner to be gone")


def test_an_orphaning_deletion_leaves_the_rest(web: Workload) -> None:
    web.create(quick())
    web.ready(1)
    web.target.ok("DELETE", f"{web.path}?propagationPolicy=Orphan")
    eventually(lambda: web.target.send("GET", web.path).code == 404, "the Deployment to be gone")
    (replicaset,) = web.items("replicasets")
    assert not replicaset["metadata"].get("ownerReferences")
    assert len(web.items("pods")) == 1


def test_a_pod_that_is_deleted_is_replaced(web: Workload) -> None:
    web.create(quick())
    web.ready(1)
    (pod,) = web.items("pods")
    path = f"/api/v1/namespaces/{web.ns}/pods/{pod['metadata']['name']}"
    going = web.target.ok("DELETE", path)
    assert going["metadata"]["deletionGracePeriodSeconds"] == 1

    def replaced() -> bool:
        uids = [p["metadata"]["uid"] for p in web.items("pods")]
        return len(uids) == 1 and uids != [pod["metadata"]["uid"]]

    eventually(replaced, "another Pod in its place")


def test_a_pod_that_fits_nowhere(web: Workload) -> None:
    web.create(with_gpus("99"))

    def rejected() -> Json | None:
        for pod in web.items("pods"):
            for condition in pod["status"].get("conditions", ()):
                if condition["type"] == "PodScheduled" and condition["status"] == "False":
                    return dict(condition)
        return None

    condition = eventually(rejected, "the scheduler's verdict")
    assert condition["reason"] == "Unschedulable"
    total = len(web.target.ok("GET", "/api/v1/nodes")["items"])
    assert condition["message"] == (
        f"0/{total} nodes are available: {total} Insufficient nvidia.com/gpu. no new claims to "
        f"deallocate, preemption: 0/{total} nodes are available: {total} Preemption is not "
        "helpful for scheduling."
    )
    warning = ("Warning", "FailedScheduling", condition["message"])
    eventually(lambda: warning in web.events("Pod"), "the Event")


def quota(target: Target, ns: str, hard: Json) -> None:
    path = f"/api/v1/namespaces/{ns}/resourcequotas"
    target.ok("POST", path, {"metadata": {"name": "q"}, "spec": {"hard": hard}})
    eventually(
        lambda: target.ok("GET", f"{path}/q").get("status", {}).get("used"), "the quota's count"
    )


def test_a_quota_rejects_pods(web: Workload) -> None:
    quota(web.target, web.ns, {"requests.nvidia.com/gpu": "1"})
    web.create(with_gpus("1", replicas=2))
    eventually(lambda: web.condition("ReplicaFailure"), "the failure")
    failure = web.condition("ReplicaFailure")
    assert (failure["status"], failure["reason"]) == ("True", "FailedCreate")
    message = failure["message"]
    assert message.startswith('pods "web-')
    assert message.endswith(
        "is forbidden: exceeded quota: q, requested: requests.nvidia.com/gpu=1, used: "
        "requests.nvidia.com/gpu=1, limited: requests.nvidia.com/gpu=1"
    )
    events = web.events("ReplicaSet")
    assert any(
        kind == "Warning" and reason == "FailedCreate" and "exceeded quota: q" in text
        for kind, reason, text in events
    )


def test_a_quota_of_limits_wants_them_named(web: Workload, pods: str) -> None:
    quota(web.target, web.ns, {"limits.cpu": "4"})
    body = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    status = web.target.rejected(403, "POST", pods, body)
    assert status["message"] == (
        'pods "p" is forbidden: failed quota: q: must specify limits.cpu for: c'
    )
    assert status["details"] == {"name": "p", "kind": "pods"}


def test_a_namespace_takes_all_with_it(target: Target, ns: str, configmaps: str) -> None:
    target.ok("POST", configmaps, configmap("a"))
    going = target.ok("DELETE", f"/api/v1/namespaces/{ns}")
    assert going["status"]["phase"] == "Terminating"
    eventually(lambda: target.send("GET", f"/api/v1/namespaces/{ns}").code == 404, "it to be gone")
    target.rejected(404, "GET", f"{configmaps}/a")


def test_a_dependent_of_a_deleted_owner_is_collected(target: Target, configmaps: str) -> None:
    owner = target.ok("POST", configmaps, configmap("owner"))
    body = configmap("owned")
    body["metadata"]["ownerReferences"] = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": "owner",
            "uid": owner["metadata"]["uid"],
        }
    ]
    target.ok("POST", configmaps, body)
    target.ok("DELETE", f"{configmaps}/owner")
    eventually(
        lambda: target.send("GET", f"{configmaps}/owned").code == 404, "the garbage to be gone"
    )
