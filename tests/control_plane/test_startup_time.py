"""The start-up time and the endpoints of a serving on a real API server, and endpoints that are
tried on a real process behind its Pod proxy."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from servedeck.changes.edit.edit import begin_edit
from servedeck.cluster.http.connection import Connection
from servedeck.detail import endpoint_try
from servedeck.detail.endpoint_try import EndpointTarget, EndpointTryError, try_endpoint
from servedeck.serving.spec.mapping.probes import startup_probe_seconds
from tests.control_plane import pod_statuses
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.inference_process import running_inference_process
from tests.control_plane.prometheus import own_address
from tests.control_plane.test_deploy import grant_role, open_connection
from tests.control_plane.test_foreign_servings import NAME, create, foreign_deployment
from tests.control_plane.test_roles import rules_of
from tests.control_plane.test_set import create_own, path_of, run_set
from tests.waiting import WAIT_SECONDS

Json = dict[str, Any]


def probes_of(plane: ControlPlane, namespace: str) -> Json:
    """The probes of the inference server as they are stored."""
    deployment: Json = plane.request("GET", path_of(namespace))
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return {
        key: value
        for one in containers
        for key, value in one.items()
        if key in ("startupProbe", "readinessProbe", "livenessProbe")
    }


async def read_seconds(connection: Connection, namespace: str) -> int | None:
    return (await begin_edit(connection, namespace, NAME)).base.spec.startup_seconds


# -- the field ----------------------------------------------------------------------------------


async def test_it_is_set_changed_and_taken_off(control_plane: ControlPlane, namespace: str) -> None:
    async with open_connection(control_plane) as connection:
        await create_own(connection, namespace)
        assert await read_seconds(connection, namespace) == 1800
        for text, seconds in (("7200", 7200), ("45", 45), ("", 0), ("0", 0), ("600", 600)):
            run = await run_set(connection, namespace, f"startupSeconds={text}", as_json=True)
            assert run.saved, run.err
            assert run.result["result"] == ("unchanged" if text == "0" else "saved")
            assert await read_seconds(connection, namespace) == seconds
            probes = probes_of(control_plane, namespace)
            probe = probes.pop("startupProbe", None)
            assert (startup_probe_seconds(probe) if probe else 0) == seconds
            assert set(probes) == {"readinessProbe", "livenessProbe"}
            deployment = control_plane.request("GET", path_of(namespace))
            assert deployment["spec"]["progressDeadlineSeconds"] >= seconds + 1800


async def test_it_goes_with_the_endpoints_and_comes_with_the_first(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with open_connection(control_plane) as connection:
        await create_own(connection, namespace)
        off = ("readinessPath=", "livenessPath=", "startupSeconds=")
        assert (await run_set(connection, namespace, *off)).saved
        assert probes_of(control_plane, namespace) == {}
        run = await run_set(connection, namespace, "startupSeconds=600")
        assert not run.saved
        assert "The start-up probe needs an endpoint" in "\n".join(run.err)
        assert (await run_set(connection, namespace, "livenessPath=/live")).saved
        probes = probes_of(control_plane, namespace)
        assert set(probes) == {"startupProbe", "livenessProbe"}
        assert probes["startupProbe"]["httpGet"]["path"] == "/live"
        assert await read_seconds(connection, namespace) == 1800


async def test_probes_of_others_keep_what_else_they_say(
    control_plane: ControlPlane, namespace: str
) -> None:
    probe: Json = {"exec": {"command": ["/ready.sh"]}, "initialDelaySeconds": 30}
    probe |= {"periodSeconds": 15, "failureThreshold": 10, "timeoutSeconds": 4}
    deployment = foreign_deployment()
    deployment["spec"]["template"]["spec"]["containers"][-1]["startupProbe"] = probe
    create(control_plane, namespace, "helm", [deployment])
    async with open_connection(control_plane) as connection:
        assert await read_seconds(connection, namespace) == 180
        run = await run_set(connection, namespace, "startupSeconds=630", force=True)
        assert run.saved, run.err
        stored = probes_of(control_plane, namespace)["startupProbe"]
        stored.pop("successThreshold")  # a default of the API server
        assert stored == {**probe, "failureThreshold": 40}
        assert await read_seconds(connection, namespace) == 630


# -- endpoints ----------------------------------------------------------------------------------


def create_serving(plane: ControlPlane, namespace: str, port: int) -> EndpointTarget:
    """A serving with one Pod, whose server listens on the port of this machine."""
    container = {
        "name": "inference-server",
        "image": "vllm/vllm-openai:v0.33.0",
        "args": ["--model", "org/model", "--port", str(port)],
    }
    plane.create_deployment(namespace, NAME, hold=True, pod_spec={"containers": [container]})
    [pod] = plane.wait_for_pods(namespace, NAME, 1)
    host = own_address()
    address = {"podIP": host, "podIPs": [{"ip": host}]}
    plane.set_pod_status(pod, pod_statuses.ready_status() | address)
    return EndpointTarget(namespace, pod["metadata"]["name"], port)


async def test_an_endpoint_is_tried_on_the_server_of_a_pod(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_try, "TRY_TIMEOUT", WAIT_SECONDS)
    async with running_inference_process(own_address()) as process:
        target = create_serving(control_plane, namespace, process.port)
        grant_role(control_plane, namespace, "member", rules_of("viewer", "operator"))
        async with open_connection(control_plane, user="member", namespace=namespace) as connection:
            answer = await try_endpoint(connection, target, "/health")
            assert (answer.status, answer.is_success) == (200, True)
            assert answer.text.startswith("GET /health → 200 in ")
            moved = await try_endpoint(connection, target, "/moved?to=health")
            assert (moved.status, moved.is_success) == (302, True)
            missing = await try_endpoint(connection, target, "/v2/health/ready")
            assert (missing.status, missing.is_success) == (404, False)
            monkeypatch.setattr(endpoint_try, "TRY_TIMEOUT", 0.5)
            await process.configure(is_open=False)
            with pytest.raises(EndpointTryError, match="did not answer GET /health within"):
                await try_endpoint(connection, target, "/health")


async def test_why_an_endpoint_cannot_be_tried(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_try, "TRY_TIMEOUT", WAIT_SECONDS)
    with socket.socket() as unused:  # bound, but it does not listen
        unused.bind((own_address(), 0))
        target = create_serving(control_plane, namespace, unused.getsockname()[1])
        async with open_connection(control_plane) as connection:
            with pytest.raises(EndpointTryError, match=f"Nothing listens on port {target.port}"):
                await try_endpoint(connection, target, "/health")
            with pytest.raises(EndpointTryError, match="was deleted meanwhile"):
                await try_endpoint(connection, target._replace(pod="gone"), "/health")
        grant_role(control_plane, namespace, "member", rules_of("viewer"))
        async with open_connection(control_plane, user="member", namespace=namespace) as connection:
            with pytest.raises(EndpointTryError) as raised:
                await try_endpoint(connection, target, "/health")
        assert str(raised.value) == (
            f"Trying an endpoint needs get on pods/proxy in namespace {namespace}."
        )
