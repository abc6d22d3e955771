"""kubectl against both servers: every command commonly used on a serving."""

from __future__ import annotations

import json

from tests.contract.kubectl import KUBECTL_TIMEOUT_ARGS, Kubectl
from tests.contract.test_lifecycle import quick


def test_create_scale_roll_out_and_delete(kubectl: Kubectl) -> None:
    body = quick(replicas=2)
    assert kubectl("apply", "-f", "-", input=body) == "deployment.apps/web created\n"
    assert "successfully rolled out" in kubectl(
        "rollout", "status", "deploy/web", KUBECTL_TIMEOUT_ARGS
    )
    assert kubectl("apply", "-f", "-", input=body) == "deployment.apps/web unchanged\n"
    table = kubectl("get", "deploy", "web", "-o", "wide").splitlines()
    assert table[0].split()[:5] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert table[1].split()[:4] == ["web", "2/2", "2", "2"]
    described = kubectl("describe", "deploy", "web")
    assert "2 desired | 2 updated | 2 total | 2 available | 0 unavailable" in described
    assert "ScalingReplicaSet" in described
    pods = kubectl("get", "pods", "-l", "app=web", "--no-headers").splitlines()
    assert [line.split()[1:3] for line in pods] == [["1/1", "Running"]] * 2
    assert "scaled" in kubectl("scale", "deploy/web", "--replicas=1")
    kubectl("set", "image", "deploy/web", "c=ghcr.io/contract/app:v0.11.0")
    kubectl("rollout", "status", "deploy/web", KUBECTL_TIMEOUT_ARGS)
    kubectl("rollout", "restart", "deploy/web")
    kubectl("rollout", "status", "deploy/web", KUBECTL_TIMEOUT_ARGS)
    history = kubectl("rollout", "history", "deploy/web").split()
    assert history[-6::2] == ["1", "2", "3"]
    assert "rolled back" in kubectl("rollout", "undo", "deploy/web", "--to-revision=1")
    kubectl("rollout", "status", "deploy/web", KUBECTL_TIMEOUT_ARGS)
    path = "jsonpath={.spec.template.spec.containers[0].image}"
    assert kubectl("get", "deploy", "web", "-o", path) == "ghcr.io/contract/app:v0.10.0"
    assert "edited" in kubectl("edit", "deploy/web")
    assert kubectl("get", "deploy", "web", "-o", path) == "ghcr.io/contract/app:v0.12.0"
    kubectl("annotate", "deploy/web", "a=b")
    kubectl("label", "deploy/web", "x=y")
    assert "x=y" in kubectl("get", "deploy", "web", "--show-labels")
    assert "deleted" in kubectl("delete", "deploy", "web", KUBECTL_TIMEOUT_ARGS)
    assert "NotFound" in kubectl("get", "deploy", "web", code=1)


def test_server_side_apply_and_its_conflict(kubectl: Kubectl) -> None:
    body = quick(replicas=0)
    assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", input=body)
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    command = ("apply", "--server-side", "--field-manager=me", "-f", "-")
    rejected = kubectl(*command, input=body, code=1)
    assert 'conflict with "kubectl": .spec.template.spec.containers[name="c"].image' in rejected
    assert "serverside-applied" in kubectl(*command, "--force-conflicts", input=body)
    assert "server dry run" in kubectl(*command, "--dry-run=server", input=body)


def test_a_bad_manifest_is_explained(kubectl: Kubectl) -> None:
    body = quick()
    body["spec"]["foo"] = 1
    assert 'unknown field "spec.foo"' in kubectl("apply", "-f", "-", input=body, code=1)
    del body["spec"]["foo"], body["spec"]["selector"]
    rejected = kubectl("create", "-f", "-", input=body, code=1)
    assert 'The Deployment "web" is invalid:' in rejected
    assert "* spec.selector: Required value" in rejected


def test_types_are_explained(kubectl: Kubectl) -> None:
    text = kubectl("explain", "deployment.spec.strategy")
    assert "FIELD: strategy <DeploymentStrategy>" in text
    assert "rollingUpdate\t<RollingUpdateDeployment>" in text


def test_forbidden_message(kubectl: Kubectl) -> None:
    rejected = kubectl("get", "pods", "-A", user="nobody", code=1)
    assert 'User "nobody" cannot list resource "pods" in API group ""' in rejected


def test_watching_rows(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", input=quick(replicas=0))
    process = kubectl.start("get", "deploy", "-w")
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("NAME")
        assert process.stdout.readline().startswith("web")
    finally:
        process.kill()
        process.communicate()


def test_events_of_a_namespace(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", input=quick())
    kubectl("rollout", "status", "deploy/web", KUBECTL_TIMEOUT_ARGS)
    assert "ScalingReplicaSet" in kubectl("get", "events")
    assert "Scheduled" in kubectl("events", "--types=Normal")


def test_commands_that_send_protobuf(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "list", "pods") == "yes\n"
    assert "no" in kubectl("auth", "can-i", "list", "pods", user="nobody", code=1)
    assert "admin" in kubectl("auth", "whoami")
    made = ("create", "deployment", "made", "--image=ghcr.io/contract/app:v1", "--replicas=0")
    assert kubectl(*made, "--port=80") == "deployment.apps/made created\n"
    spec = json.loads(kubectl("get", "deploy", "made", "-o", "json"))["spec"]
    assert spec["replicas"] == 0
    (container,) = spec["template"]["spec"]["containers"]
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    kubectl("create", "configmap", "c", "--from-literal=a=b")
    assert kubectl("get", "cm", "c", "-o", "jsonpath={.data}") == '{"a":"b"}'
    kubectl("create", "secret", "generic", "s", "--from-literal=a=b")
    assert kubectl("get", "secret", "s", "-o", "jsonpath={.data.a}") == "Yg=="
    kubectl("create", "service", "clusterip", "s", "--tcp=80:8000")
    path = "jsonpath={.spec.ports[0].targetPort}"
    assert kubectl("get", "service", "s", "-o", path) == "8000"
    kubectl("create", "quota", "q", "--hard=pods=5,requests.nvidia.com/gpu=2")
    assert "0/5" in kubectl("get", "quota", "q") or "pods" in kubectl("get", "quota", "q")
    assert "already exists" in kubectl("create", "configmap", "c", code=1)
