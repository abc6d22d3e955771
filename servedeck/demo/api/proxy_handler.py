"""pods/proxy and services/proxy: forwards requests to a port of a Pod. Sources: kubernetes
pkg/registry/core/service/storage/storage.go and pkg/registry/core/pod/strategy.go."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from servedeck.demo.api import pod_requests, status
from servedeck.demo.api.kubelet_api import KubeletApi, ProxyRequest
from servedeck.demo.api.request import ApiRequest
from servedeck.demo.resources import PODS, SERVICES
from servedeck.demo.store.store import ObjectStore

Json = dict[str, Any]


async def proxy_request(
    store: ObjectStore, kubelet: KubeletApi, call: ApiRequest, request: web.BaseRequest
) -> web.StreamResponse:
    """The Pod's response; a stream is forwarded chunk by chunk."""
    name, port = _split_name(call.name)
    if call.resource is SERVICES:
        pod, number = _resolve_service(store, call.namespace, name, port)
    else:
        pod, number = _resolve_pod(store, call.namespace, name, port)
    path = "/" + call.proxy_path
    if request.query_string:
        path += f"?{request.rel_url.raw_query_string}"
    # The API server does not forward the client's credentials.
    headers = pod_requests.end_to_end_headers(call.headers)
    headers = {k: v for k, v in headers.items() if k.lower() != "authorization"}
    asked = ProxyRequest(call.method, path, headers, call.body)
    try:
        answer = await kubelet.proxy(pod, number, asked)
    except ConnectionRefusedError:
        address = f"{(pod.get('status') or {}).get('podIP', '')}:{number}"
        raise status.unavailable(
            f"error trying to reach service: dial tcp {address}: connect: connection refused"
        ) from None
    return await pod_requests.forward_answer(answer, request)


def _split_name(name: str) -> tuple[str, str]:
    """`[scheme:]name[:port]` without its scheme."""
    parts = name.split(":")
    if len(parts) == 3:
        return parts[1], parts[2]
    return parts[0], parts[1] if len(parts) == 2 else ""


def _resolve_pod(store: ObjectStore, namespace: str, name: str, port: str) -> tuple[Json, int]:
    pod = store.get(PODS, namespace, name)
    if not (pod.get("status") or {}).get("podIP"):
        raise status.bad_request("address not allowed")
    if port.isdecimal() and len(port) < 6:
        return pod, int(port)
    ports = list(pod_requests.container_ports(pod))
    found = next((p["containerPort"] for p in ports if not port or p.get("name") == port), None)
    if found is None and port:
        raise status.bad_request(f'invalid pod request "{name}:{port}"')
    return pod, found or 80


def _resolve_service(store: ObjectStore, namespace: str, name: str, port: str) -> tuple[Json, int]:
    """A ready Pod of the Service, and its port."""
    service = store.get(SERVICES, namespace, name)
    ports = service["spec"].get("ports") or []
    if port.isdecimal():
        wanted = next((p for p in ports if str(p.get("port")) == port), None)
        if wanted is None:
            raise status.unavailable(f'no service port {port} found for service "{name}"')
    else:
        wanted = next((p for p in ports if p.get("name", "") == port), None)
    selector = service["spec"].get("selector")
    if wanted is not None and selector:
        for pod in pod_requests.ready_pods(store, namespace, selector):
            if number := pod_requests.target_port(wanted, pod):
                return pod, number
    raise status.unavailable(f'no endpoints available for service "{name}"')
