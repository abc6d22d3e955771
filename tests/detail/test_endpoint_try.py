"""Trying the endpoint of a probe on a running Pod."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from servedeck.cluster.http.connection import Connection
from servedeck.detail import endpoint_try
from servedeck.detail.cluster_detail_service import ClusterDetailService
from servedeck.detail.endpoint_try import (
    EndpointAnswer,
    EndpointTarget,
    EndpointTryError,
    choose_pod,
    find_endpoint_target,
    try_endpoint,
)
from servedeck.fleet.views import ContainerView, PodView, ServingView
from servedeck.serving.objects.import_objects import import_objects
from tests.cluster.conftest import api as api
from tests.cluster.conftest import connection as connection
from tests.cluster.fake_api_server import FakeApiServer, make_status
from tests.fleet.factories import START, pod_view, serving_view
from tests.metrics.fake_prometheus import answer_with

POD = "llama-6b8f-9qk2x"
TARGET = EndpointTarget("team-a", POD, 8000)


def place(path: str, name: str = f"{POD}:8000") -> str:
    return f"/api/v1/namespaces/team-a/pods/{name}/proxy{path}"


# -- asking -------------------------------------------------------------------------------------


async def test_the_answer_and_its_time(api: FakeApiServer, connection: Connection) -> None:
    api.add_route(place("/health"), answer_with(204))
    answer = await ClusterDetailService(lambda: connection).try_endpoint(TARGET, "/health?full=1")
    assert (answer.pod, answer.path, answer.status) == (POD, "/health?full=1", 204)
    assert answer.seconds > 0
    assert answer.is_success
    assert answer.issue("readiness_path") is None
    [request] = api.requests
    assert (request.method, request.query_string) == ("GET", "full=1")


@pytest.mark.parametrize("status", [302, 401, 404, 500, 503])
async def test_what_the_pod_answers_is_an_answer(
    api: FakeApiServer, connection: Connection, status: int
) -> None:
    body = {"object": "error", "message": "secret-body", "reason": "NotFound"}
    api.add_route(place("/x"), answer_with(status, body, Location="/elsewhere"))
    answer = await try_endpoint(connection, TARGET, "/x")
    assert answer.status == status
    assert answer.is_success is (status < 400)
    assert "/elsewhere" not in str([one.path for one in api.requests])
    issue = answer.issue("liveness_path")
    assert (issue is None) is (status < 400)
    assert "secret-body" not in f"{answer.text} {issue}"


async def test_a_server_with_tls(api: FakeApiServer, connection: Connection) -> None:
    api.add_route(place("/health", f"https:{POD}:8443"), answer_with(200, text="ok"))
    target = TARGET._replace(port=8443, is_tls=True)
    assert (await try_endpoint(connection, target, "/health")).status == 200


def refused(why: str) -> dict[str, Any]:
    return make_status(503, "ServiceUnavailable", f"error trying to reach service: {why}")


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (
            403,
            make_status(403, "Forbidden", "pods is forbidden"),
            "Trying an endpoint needs get on pods/proxy in namespace team-a.",
        ),
        (404, make_status(404, "NotFound", "pods not found"), f"Pod {POD} was deleted meanwhile"),
        (
            503,
            refused("dial tcp 10.0.0.1:8000: connect: connection refused"),
            f"Nothing listens on port 8000 of Pod {POD}; wait until the server has started, or "
            "correct the Inference Port.",
        ),
        (
            503,
            refused("no route to host"),
            f"Pod {POD} cannot be asked on port 8000: no route to host.",
        ),
    ],
)
async def test_what_the_api_server_answers_is_one_sentence(
    api: FakeApiServer, connection: Connection, status: int, body: dict[str, Any], text: str
) -> None:
    api.add_route(place("/health"), answer_with(status, body))
    with pytest.raises(EndpointTryError) as raised:
        await try_endpoint(connection, TARGET, "/health")
    assert str(raised.value).startswith(text)


async def test_a_server_that_does_not_answer(
    api: FakeApiServer, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_try, "TRY_TIMEOUT", 0.01)

    async def hold(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    api.add_route(place("/health"), hold)
    with pytest.raises(EndpointTryError, match=r"did not answer GET /health within"):
        await try_endpoint(connection, TARGET, "/health")


async def test_a_long_answer(
    api: FakeApiServer, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_try, "_MAX_BODY_BYTES", 10)
    api.add_route(place("/health"), answer_with(200, text="x" * 100))
    with pytest.raises(EndpointTryError, match="enter a path with a short answer"):
        await try_endpoint(connection, TARGET, "/health")


def test_the_texts() -> None:
    answer = EndpointAnswer(POD, "/he\x1b[31malth", 404, 0.0042)
    assert answer.text == f"GET /health → 404 in 4 ms, Pod {POD}"
    issue = answer.issue("liveness_path")
    assert issue is not None
    assert not issue.is_error
    assert issue.message == (
        f"Pod {POD} answers /health with 404, so that Pods would be restarted again and again; "
        "enter a path that is answered with 200."
    )


# -- where --------------------------------------------------------------------------------------


def running(name: str, minute: int = 0, state: str = "Running", **fields: Any) -> PodView:
    server = ContainerView("server", state, True, 0, False, False, "id")
    return pod_view(name, containers=(server,), created=START + timedelta(minutes=minute), **fields)


def view_of(*pods: PodView) -> ServingView:
    return serving_view(server_container="server", pods=pods)


def test_a_ready_pod_of_the_current_revision_is_asked() -> None:
    unready = running("unready", 9, is_ready=False)
    old = running("old", 8, old_revision=True)
    pods = [unready, old, running("first", 1), running("second", 2)]
    chosen = choose_pod(view_of(*pods))
    assert chosen is not None and chosen.name == "second"
    chosen = choose_pod(view_of(unready, old))
    assert chosen is not None and chosen.name == "old"
    chosen = choose_pod(view_of(unready))
    assert chosen is not None and chosen.name == "unready"
    waiting, finished = running("waiting", state="Waiting"), running("finished", finished=True)
    other = dataclasses.replace(view_of(running("a")), server_container="another")
    assert choose_pod(view_of(waiting, finished)) is choose_pod(other) is None


def serving(**server: Any) -> Any:
    container = {"name": "server", "image": "ghcr.io/org/server:1", **server}
    template = {"spec": {"containers": [container]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "llama", "namespace": "team-a"},
        "spec": {"template": template},
    }
    return import_objects([deployment])


def target_of(field: str = "readiness_path", *pods: PodView, **server: Any) -> EndpointTarget:
    read = serving(**server)
    return find_endpoint_target(field, view_of(*(pods or [running("p")])), read.objects, read.spec)


def test_the_port_is_that_of_the_probe() -> None:
    ports = [{"containerPort": 9000, "name": "http"}, {"containerPort": 9001, "name": "admin"}]
    probe = {"httpGet": {"path": "/up", "port": "admin", "scheme": "HTTPS"}}
    server = {"ports": ports, "livenessProbe": probe}
    assert target_of("liveness_path", **server) == EndpointTarget("team-a", "p", 9001, True)
    assert target_of("readiness_path", **server) == EndpointTarget("team-a", "p", 9000)


def test_where_nothing_can_be_asked() -> None:
    with pytest.raises(
        EndpointTryError, match=r"^No Pod of team-a/llama runs its inference server"
    ):
        target_of("readiness_path", running("p", state="Waiting"))
    with pytest.raises(EndpointTryError, match=r"^The port of this server is unknown"):
        target_of()
    probe = {"httpGet": {"path": "/up", "port": "gone"}}
    with pytest.raises(EndpointTryError, match=r"^The port gone of the probe is not among"):
        target_of("readiness_path", readinessProbe=probe, ports=[{"containerPort": 9000}])
