"""The objects of an async gateway: what the server adds to those that only they need."""

from __future__ import annotations

from typing import Any

from servedeck.demo.resources import BY_KIND
from servedeck.serving.async_limits import AsyncQueueSettings
from servedeck.serving.objects.async_gateway import AsyncPlatform, build_async_gateway
from tests.contract.target import APPLY, TABLE, Target

Json = dict[str, Any]
PLATFORM = AsyncPlatform(image="servedeck-gateway:1", store="valkey://valkey:6379")


def test_the_objects_of_a_gateway_are_applied_twice(target: Target, ns: str) -> None:
    found: dict[str, Json] = {}
    given: dict[str, Json] = {}
    for obj in build_async_gateway(ns, "llama", PLATFORM, AsyncQueueSettings()):
        resource = BY_KIND[obj["apiVersion"], obj["kind"]]
        root = f"/apis/{resource.api_version}" if resource.group else "/api/v1"
        path = f"{root}/namespaces/{ns}/{resource.plural}/{obj['metadata']['name']}"
        options = "?fieldManager=servedeck"
        first = target.send("PATCH", path + options, obj, content_type=APPLY)
        assert first.code == 201, first.text
        again = target.send("PATCH", path + options, obj, content_type=APPLY)
        assert again.code == 200, again.text
        given[obj["kind"]] = obj
        found[obj["kind"]] = target.ok("GET", path)
    role, binding = found["Role"], found["RoleBinding"]
    assert role["rules"] == given["Role"]["rules"]
    assert binding["roleRef"] == given["RoleBinding"]["roleRef"]
    assert binding["subjects"] == given["RoleBinding"]["subjects"]
    assert "generation" not in role["metadata"] and "generation" not in binding["metadata"]
    budget = found["PodDisruptionBudget"]
    assert budget["spec"] == given["PodDisruptionBudget"]["spec"]
    assert budget["metadata"]["generation"] == 1
    policy = found["NetworkPolicy"]
    assert policy["metadata"]["generation"] == 1
    expected = given["NetworkPolicy"]["spec"]
    for rule in expected["ingress"]:
        for port in rule["ports"]:
            port["protocol"] = "TCP"
    assert policy["spec"] == expected


def test_the_tables_of_what_only_a_gateway_has(target: Target, ns: str) -> None:
    for obj in build_async_gateway(ns, "llama", PLATFORM, AsyncQueueSettings()):
        resource = BY_KIND[obj["apiVersion"], obj["kind"]]
        root = f"/apis/{resource.api_version}" if resource.group else "/api/v1"
        target.ok("POST", f"{root}/namespaces/{ns}/{resource.plural}", obj)

    def cells(path: str) -> list[Any]:
        table = target.ok("GET", path.format(ns), accept=TABLE)
        names = [one["name"] for one in table["columnDefinitions"]]
        (row,) = table["rows"]
        return [cell for name, cell in zip(names, row["cells"], strict=True) if name != "Age"]

    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings"
    assert cells(rbac) == ["llama-async", "Role/llama-async", "", "", f"{ns}/llama-async"]
    selector = "app.kubernetes.io/instance=llama-async,app.kubernetes.io/name=servedeck-gateway"
    policies = "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies"
    assert cells(policies) == ["llama-async", selector]
    budgets = "/apis/policy/v1/namespaces/{}/poddisruptionbudgets"
    assert cells(budgets)[:3] == ["llama-async", "N/A", "1"]


def test_what_a_role_binding_and_a_network_policy_leave_out(target: Target, ns: str) -> None:
    group = "rbac.authorization.k8s.io"
    binding = {
        "metadata": {"name": "b"},
        "roleRef": {"kind": "Role", "name": "r", "apiGroup": group},
        "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}],
    }
    binding["subjects"][1]["namespace"] = ns  # type: ignore[index]
    stored = target.ok("POST", f"/apis/{group}/v1/namespaces/{ns}/rolebindings", binding)
    assert stored["subjects"] == [
        {"kind": "User", "name": "u", "apiGroup": group},
        {"kind": "ServiceAccount", "name": "s", "namespace": ns},
    ]
    policy = {"metadata": {"name": "p"}, "spec": {"podSelector": {}, "egress": [{}]}}
    path = f"/apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies"
    stored = target.ok("POST", path, policy)
    assert stored["spec"] == {
        "podSelector": {},
        "egress": [{}],
        "policyTypes": ["Ingress", "Egress"],
    }
