"""Logs and the proxy: responses of the API server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.target import Target, eventually
from tests.contract.test_lifecycle import Workload, quick

Json = dict[str, Any]


@pytest.fixture
def waiting(target: Target, pods: str) -> str:
    """Path of a Pod that is never scheduled."""
    containers = [{"name": "c", "image": "i"}]
    spec = {"schedulerName": "nobody", "containers": containers}
    target.ok("POST", pods, {"metadata": {"name": "p"}, "spec": spec})
    return f"{pods}/p"


def test_a_pod_without_a_node_has_no_log(target: Target, waiting: str) -> None:
    reply = target.send("GET", f"{waiting}/log")
    assert (reply.code, reply.text) == (204, "")


def test_a_log_of_no_pod(target: Target, pods: str) -> None:
    assert target.rejected(404, "GET", f"{pods}/nope/log")["message"] == 'pods "nope" not found'


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("container=zz", 400, "container zz is not valid for pod p"),
        ("tailLines=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        (
            "tailLines=-1",
            422,
            'PodLogOptions "p" is invalid: tailLines: Invalid value: -1: must be greater than or '
            "equal to 0",
        ),
        (
            "limitBytes=0",
            422,
            'PodLogOptions "p" is invalid: limitBytes: Invalid value: 0: must be greater than 0',
        ),
        (
            "sinceTime=x",
            400,
            'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"',
        ),
        (
            "sinceTime=2020-01-01T00:00:00Z&sinceSeconds=5",
            422,
            'PodLogOptions "p" is invalid: []: Forbidden: at most one of `sinceTime` or '
            "`sinceSeconds` may be specified",
        ),
    ],
)
def test_bad_options(target: Target, waiting: str, query: str, code: int, message: str) -> None:
    assert target.rejected(code, "GET", f"{waiting}/log?{query}")["message"] == message


def test_a_container_must_be_named_among_several(target: Target, pods: str) -> None:
    spec = {
        "schedulerName": "nobody",
        "containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "i"}],
    }
    target.ok("POST", pods, {"metadata": {"name": "two"}, "spec": spec})
    status = target.rejected(400, "GET", f"{pods}/two/log")
    assert status["message"] == (
        "a container name must be specified for pod two, choose one of: [c d]"
    )


def test_a_pod_without_an_address_has_no_proxy(target: Target, waiting: str) -> None:
    status = target.rejected(400, "GET", f"{waiting}/proxy/x")
    assert status["message"] == "address not allowed"


def service(target: Target, ns: str) -> str:
    path = f"/api/v1/namespaces/{ns}/services"
    ports = [{"name": "http", "port": 80, "targetPort": 8000}]
    spec = {"selector": {"app": "web"}, "ports": ports}
    made = target.ok("POST", path, {"metadata": {"name": "web"}, "spec": spec})
    assert made["spec"]["clusterIP"] and made["spec"]["type"] == "ClusterIP"
    return f"{path}/web"


def test_a_service_without_endpoints(target: Target, ns: str) -> None:
    path = service(target, ns)
    endpoints = f"/api/v1/namespaces/{ns}/endpoints/web"
    eventually(lambda: target.send("GET", endpoints).code == 200, "its Endpoints")
    status = target.rejected(503, "GET", f"{path}:http/proxy/x")
    assert status["reason"] == "ServiceUnavailable"
    assert status["message"] == 'no endpoints available for service "web"'
    status = target.rejected(503, "GET", f"{path}:99/proxy/x")
    assert status["message"] == 'no service port 99 found for service "web"'
    path = f"/api/v1/namespaces/{ns}/services/nope:80/proxy/x"
    assert target.rejected(404, "GET", path)["message"] == 'services "nope" not found'


def test_a_ready_pod_becomes_an_endpoint(target: Target, ns: str) -> None:
    service(target, ns)
    web = Workload(target, ns)
    body = quick()
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["ports"] = [{"containerPort": 8000}]
    web.create(body)
    web.ready(1)

    def subsets() -> Any:
        found = target.ok("GET", f"/api/v1/namespaces/{ns}/endpoints/web")
        # a Pod that is not ready yet is among the others
        return [one for one in found.get("subsets") or () if "addresses" in one]

    (subset,) = eventually(subsets, "an address")
    (pod,) = web.items("pods")
    (address,) = subset["addresses"]
    assert address["ip"] == pod["status"]["podIP"]
    assert address["targetRef"]["name"] == pod["metadata"]["name"]
    assert [(p["name"], p["port"]) for p in subset["ports"]] == [("http", 8000)]
