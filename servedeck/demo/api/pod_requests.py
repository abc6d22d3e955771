"""HTTP requests to Pods: which Pods of a Service get them, and how their answers are forwarded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web

from servedeck.demo.api.kubelet_api import ProxyResponse
from servedeck.demo.resources import PODS
from servedeck.demo.store.store import ObjectStore

Json = dict[str, Any]

_HOP_HEADERS = frozenset(
    (
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""They are about one connection, and end with it."""


def end_to_end_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Those that are forwarded."""
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_HEADERS}


def ready_pods(store: ObjectStore, namespace: str, selector: Mapping[str, str]) -> list[Json]:
    """The Pods that the labels select and that get requests."""
    return [
        pod
        for pod in store.list(PODS, namespace)
        if selector.items() <= (pod["metadata"].get("labels") or {}).items() and _is_ready(pod)
    ]


def container_ports(pod: Json) -> Iterator[Json]:
    """The ports that the containers of a Pod name."""
    for container in pod["spec"].get("containers") or ():
        yield from container.get("ports") or ()


def target_port(port: Json, pod: Json) -> int:
    """The Pod's port behind a port of a Service; 0 if the Pod has none of its name."""
    target = port.get("targetPort", port.get("port"))
    if isinstance(target, int):
        return target
    named = (one["containerPort"] for one in container_ports(pod) if one.get("name") == target)
    return next(named, 0)


async def forward_answer(answer: ProxyResponse, request: web.BaseRequest) -> web.StreamResponse:
    """The Pod's answer as that to the request; a stream is forwarded chunk by chunk."""
    headers = end_to_end_headers(answer.headers)
    if isinstance(answer.body, bytes):
        return web.Response(status=answer.status, headers=headers, body=answer.body)
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    try:
        async for chunk in answer.body:
            await response.write(chunk)
    except ConnectionError:
        pass  # the client has disconnected
    return response


def _is_ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
