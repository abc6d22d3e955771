"""Tries the endpoint of a probe on a running Pod, through the API server's Pod proxy. Needs `get`
on `pods/proxy`. What the server answers is neither kept nor shown, only its status."""

from __future__ import annotations

import asyncio
import json
from time import monotonic
from typing import NamedTuple
from urllib.parse import quote

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError, InvalidResponseError
from servedeck.cluster.resources import POD
from servedeck.fleet.views import PodView, ServingView
from servedeck.serving.objects.probe_text import PROBES_BY_FIELD
from servedeck.serving.spec.issues import Issue, warning
from servedeck.serving.spec.mapping.container_ports import resolve_target
from servedeck.serving.spec.mapping.json_values import as_int, as_mapping, as_str
from servedeck.serving.spec.mapping.ports import known_port
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.text import one_line, sanitize, truncate

TRY_TIMEOUT = 10.0
"""Seconds for an answer."""
_MAX_BODY_BYTES = 1 << 20
_MAX_PATH_LENGTH = 80
_NO_CONNECTION = "error trying to reach service: "
"""How the API server begins to say why it has no connection to the Pod."""

_CONSEQUENCES = {
    "readiness_path": "Pods would receive no traffic",
    "liveness_path": "Pods would be restarted again and again",
    "startup_path": "Pods would be restarted before they have started",
}


class EndpointTryError(ClusterError):
    """The endpoint could not be tried, or nothing answered; str() is one sentence."""


class EndpointTarget(NamedTuple):
    """Where a probe asks."""

    namespace: str
    pod: str
    port: int
    is_tls: bool = False


class EndpointAnswer(NamedTuple):
    """What a server answered to a GET."""

    pod: str
    path: str
    status: int
    """The HTTP status."""
    seconds: float
    """Until the answer was complete, with the way through the API server."""

    @property
    def is_success(self) -> bool:
        """Whether a probe takes it for one (kubernetes pkg/probe/http/http.go: from 200 to
        399)."""
        return 200 <= self.status < 400

    @property
    def text(self) -> str:
        """ "GET /health → 200 in 4 ms, Pod llama-6b8f-9qk2x"; one sanitized line."""
        took = max(round(self.seconds * 1000), 1)
        return f"GET {_shown(self.path)} → {self.status} in {took} ms, Pod {_shown(self.pod)}"

    def issue(self, field: str) -> Issue | None:
        """A warning at the field that was tried, a key of PROBES_BY_FIELD, if a probe would fail;
        None if it would not."""
        if self.is_success:
            return None
        return warning(
            field,
            f"Pod {_shown(self.pod)} answers {_shown(self.path)} with {self.status}, so that "
            f"{_CONSEQUENCES[field]}; enter a path that is answered with 200.",
        )


def find_endpoint_target(
    field: str, view: ServingView, objects: ServingObjects, spec: ServingSpec
) -> EndpointTarget:
    """The Pod on which the endpoint of a field (a key of PROBES_BY_FIELD) can be tried, and the
    port that the probe asks at, else that of the inference server. `objects` are those of the
    serving and `spec` what was read from them. Raises EndpointTryError."""
    pod = choose_pod(view)
    if pod is None:
        raise EndpointTryError(
            f"No Pod of {view.key} runs its inference server; try the endpoint when one does."
        )
    probe = as_mapping(objects.container, PROBES_BY_FIELD[field], "httpGet")
    target = as_str(probe.get("port")) or as_int(probe.get("port"))
    port = resolve_target(objects, target) if target else known_port(spec)
    if port is None:
        raise EndpointTryError(
            f"The port {_shown(str(target))} of the probe is not among those of the Pods; correct "
            "it in the Deployment."
            if target
            else "The port of this server is unknown; enter and save the Inference Port first."
        )
    return EndpointTarget(pod.namespace, pod.name, port, probe.get("scheme") == "HTTPS")


def choose_pod(view: ServingView) -> PodView | None:
    """A Pod whose inference server runs: a ready one before others, of the current revision before
    earlier ones, the newest first; None if there is none."""
    running = [
        pod
        for pod in view.pods
        if not pod.finished
        and any(
            one.name == view.server_container and one.state == "Running" for one in pod.containers
        )
    ]

    def rank(pod: PodView) -> tuple[bool, bool, float]:
        created = pod.created.timestamp() if pod.created is not None else 0.0
        return pod.is_ready, not pod.old_revision, created

    return max(running, key=rank, default=None)


async def try_endpoint(connection: Connection, target: EndpointTarget, path: str) -> EndpointAnswer:
    """GET a path, which begins with "/" and may have a query, on a Pod. Redirects are not followed.
    Raises EndpointTryError if nothing answers or the user may not ask, and other ClusterErrors if
    the API server cannot be reached."""
    scheme = "https:" if target.is_tls else ""
    name = f"{scheme}{quote(target.pod, safe='')}:{target.port}"
    place = f"{POD.collection_path(target.namespace)}/{name}/proxy"
    began = monotonic()
    try:
        async with asyncio.timeout(TRY_TIMEOUT):
            response = await connection.request(
                "GET",
                place + quote(path, safe="/?&=%:@!$'()*+,;~"),
                headers={"Accept": "*/*"},
                max_bytes=_MAX_BODY_BYTES,
            )
        status = response.status
    except TimeoutError:
        raise EndpointTryError(
            f"Pod {target.pod} did not answer GET {_shown(path)} within {TRY_TIMEOUT:.0f} s; see "
            "its log."
        ) from None
    except InvalidResponseError:
        raise EndpointTryError(
            f"Pod {target.pod} answers GET {_shown(path)} with more than 1 MiB; enter a path with "
            "a short answer."
        ) from None
    except ApiError as error:
        if _is_of_api_server(error):
            raise _explain(error, target) from error
        status = error.code
    return EndpointAnswer(target.pod, path, status, monotonic() - began)


def _is_of_api_server(error: ApiError) -> bool:
    """Whether the API server answers, with a Status of a reason, and not the Pod."""
    try:
        body = json.loads(error.body)
    except (ValueError, RecursionError):
        return False
    return bool(error.reason) and as_mapping(body).get("kind") == "Status"


def _explain(error: ApiError, target: EndpointTarget) -> ClusterError:
    pod, port = target.pod, target.port
    if error.reason == "Forbidden":
        return EndpointTryError(
            f"Trying an endpoint needs get on pods/proxy in namespace {target.namespace}."
        )
    if error.reason == "NotFound":
        return EndpointTryError(f"Pod {pod} was deleted meanwhile; try again.")
    if _NO_CONNECTION in error.message:
        why = error.message.partition(_NO_CONNECTION)[2].rstrip(".")
        if "connection refused" in why:
            return EndpointTryError(
                f"Nothing listens on port {port} of Pod {pod}; wait until the server has started, "
                "or correct the Inference Port."
            )
        return EndpointTryError(f"Pod {pod} cannot be asked on port {port}: {why}.")
    return error


def _shown(text: str) -> str:
    return truncate(one_line(sanitize(text)), _MAX_PATH_LENGTH)
