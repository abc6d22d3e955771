"""Records for the tests of the rules, in the API server's format."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from servedeck.serving.objects.gateway_records import Gateway, IstioGateway, ListenerSet
from servedeck.serving.objects.records import (
    Deployment,
    Event,
    HTTPRoute,
    Ingress,
    Pod,
    ReplicaSet,
    Service,
    VirtualService,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def ago(**duration: float) -> str:
    return (NOW - timedelta(**duration)).isoformat()


def container(name: str = "inference-server", **status: Any) -> dict[str, Any]:
    return {"name": name, **status}


def running(name: str = "inference-server", ready: bool = True, **status: Any) -> dict[str, Any]:
    started = status.pop("started_at", ago(hours=1))
    return {
        "name": name,
        "ready": ready,
        "started": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": started}},
        **status,
    }


def waiting(
    reason: str = "", message: str = "", name: str = "inference-server", **status: Any
) -> dict[str, Any]:
    return {
        "name": name,
        "restartCount": 0,
        "state": {"waiting": {"reason": reason, "message": message}},
        **status,
    }


def terminated(
    exit_code: int, reason: str = "", name: str = "inference-server", **status: Any
) -> dict[str, Any]:
    return {
        "name": name,
        "restartCount": 0,
        "state": {"terminated": {"exitCode": exit_code, "reason": reason}},
        **status,
    }


def last_terminated(
    exit_code: int, reason: str = "Error", message: str = "", **when: float
) -> dict[str, Any]:
    return {
        "terminated": {
            "exitCode": exit_code,
            "reason": reason,
            "message": message,
            "finishedAt": ago(**(when or {"minutes": 1})),
        }
    }


def condition(
    type: str, status: str = "True", reason: str = "", message: str = ""
) -> dict[str, Any]:
    return {
        "type": type,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": ago(hours=1),
    }


def pod(
    *statuses: dict[str, Any],
    init: tuple[dict[str, Any], ...] = (),
    phase: str = "Running",
    conditions: tuple[dict[str, Any], ...] | None = None,
    sidecars: tuple[str, ...] = (),
    gates: tuple[str, ...] = (),
    node: str = "gpu-1",
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    **metadata: Any,
) -> Pod:
    """A scheduled Pod whose spec has the containers of its status."""
    if conditions is None:
        conditions = (condition("PodScheduled"),)
    names = [each["name"] for each in statuses] or ["inference-server"]
    return msgspec.convert(
        {
            "metadata": {
                "name": "llama-7d4-x1",
                "namespace": "team-a",
                "uid": "pod-uid",
                "creationTimestamp": ago(hours=1),
                **metadata,
            },
            "spec": {
                "nodeName": node,
                "containers": [{"name": name} for name in names],
                "initContainers": [
                    {"name": each["name"]}
                    | ({"restartPolicy": "Always"} if each["name"] in sidecars else {})
                    for each in init
                ],
                "readinessGates": [{"conditionType": gate} for gate in gates],
                **(spec or {}),
            },
            "status": {
                "phase": phase,
                "conditions": conditions,
                "initContainerStatuses": init,
                "containerStatuses": statuses,
                **(status or {}),
            },
        },
        Pod,
    )


def healthy(**metadata: Any) -> Pod:
    return pod(running(), conditions=(condition("PodScheduled"), condition("Ready")), **metadata)


def event(reason: str, message: str = "", container: str = "", **fields: Any) -> Event:
    when = fields.pop("when", ago(seconds=30))
    return msgspec.convert(
        {
            "metadata": {"name": "e", "namespace": "team-a"},
            "type": "Warning",
            "reason": reason,
            "message": message,
            "involvedObject": {
                "kind": "Pod",
                "uid": "pod-uid",
                "fieldPath": f"spec.containers{{{container}}}" if container else "",
            },
            "lastTimestamp": when,
            **fields,
        },
        Event,
    )


def deployment(
    *containers: dict[str, Any],
    replicas: int = 1,
    status: dict[str, Any] | None = None,
    conditions: tuple[dict[str, Any], ...] = (),
    pod_labels: dict[str, str] | None = None,
    paused: bool = False,
    **metadata: Any,
) -> Deployment:
    return msgspec.convert(
        {
            "metadata": {
                "name": "llama",
                "namespace": "team-a",
                "uid": "deployment-uid",
                "generation": 1,
                **metadata,
            },
            "spec": {
                "replicas": replicas,
                "paused": paused,
                "template": {
                    "metadata": {"labels": {"app": "llama"} if pod_labels is None else pod_labels},
                    "spec": {"containers": containers},
                },
            },
            "status": {"observedGeneration": 1, "conditions": conditions, **(status or {})},
        },
        Deployment,
    )


def replicaset(*conditions: dict[str, Any], revision: str = "1") -> ReplicaSet:
    return msgspec.convert(
        {
            "metadata": {"annotations": {"deployment.kubernetes.io/revision": revision}},
            "status": {"conditions": conditions},
        },
        ReplicaSet,
    )


def service(
    name: str = "llama",
    selector: dict[str, str] | None = None,
    ports: tuple[dict[str, Any], ...] = ({"port": 80},),
    namespace: str = "team-a",
) -> Service:
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "selector": {"app": "llama"} if selector is None else selector,
                "ports": ports,
            },
        },
        Service,
    )


ACCEPTED_STATUS = {"parents": [{"conditions": [{"type": "Accepted", "status": "True"}]}]}


def http_route(
    *rules: dict[str, Any],
    hostnames: tuple[str, ...] = ("ai.example.com",),
    name: str = "llama",
    namespace: str = "team-a",
    status: dict[str, Any] | None = None,
    parents: tuple[dict[str, Any], ...] = (),
) -> HTTPRoute:
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"parentRefs": parents, "hostnames": hostnames, "rules": rules},
            "status": ACCEPTED_STATUS if status is None else status,
        },
        HTTPRoute,
    )


def http_route_rule(
    path: str = "/team-a/llama",
    backend: str = "llama",
    headers: tuple[dict[str, str], ...] = (),
    type: str = "PathPrefix",
    **reference: Any,
) -> dict[str, Any]:
    return {
        "matches": [{"path": {"type": type, "value": path}, "headers": headers}],
        "backendRefs": [{"name": backend, "port": 80, **reference}],
    }


def gateway(
    *listeners: dict[str, Any],
    addresses: tuple[dict[str, Any], ...] = (),
    name: str = "main",
    namespace: str = "gateways",
) -> Gateway:
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"listeners": listeners},
            "status": {"addresses": addresses},
        },
        Gateway,
    )


def listener_set(
    *listeners: dict[str, Any],
    accepted: str = "True",
    name: str = "main",
    namespace: str = "team-a",
) -> ListenerSet:
    """One of the Gateway gateways/main; `accepted` is the status of its condition Accepted, "" for
    none."""
    parent = {"name": "main", "namespace": "gateways"}
    conditions = [{"type": "Accepted", "status": accepted}] if accepted else []
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"listeners": listeners, "parentRef": parent},
            "status": {"conditions": conditions},
        },
        ListenerSet,
    )


def listener(protocol: str, port: int, hostname: str = "", **fields: Any) -> dict[str, Any]:
    """A listener for routes of all namespaces, whose name is its protocol in lower case."""
    allowed = {"namespaces": {"from": "All"}}
    found = {"name": protocol.lower(), "protocol": protocol, "port": port}
    return {**found, "hostname": hostname, "allowedRoutes": allowed, **fields}


def istio_gateway(
    *servers: dict[str, Any], name: str = "public", namespace: str = "istio-system"
) -> IstioGateway:
    return msgspec.convert(
        {"metadata": {"name": name, "namespace": namespace}, "spec": {"servers": servers}},
        IstioGateway,
    )


def istio_server(protocol: str, port: int, *hosts: str, **tls: Any) -> dict[str, Any]:
    """A server for all hosts if none are given."""
    found = {"port": {"number": port, "protocol": protocol}, "hosts": hosts or ("*",)}
    return found | ({"tls": tls} if tls else {})


def virtual_service(
    *matches: dict[str, Any],
    host: str = "llama.team-a.svc.cluster.local",
    hosts: tuple[str, ...] = ("ai.example.com",),
    gateways: tuple[str, ...] = ("istio-system/public",),
    namespace: str = "team-a",
) -> VirtualService:
    return msgspec.convert(
        {
            "metadata": {"name": "llama", "namespace": namespace},
            "spec": {
                "hosts": hosts,
                "gateways": gateways,
                "http": [
                    {
                        "match": matches,
                        "route": [{"destination": {"host": host, "port": {"number": 80}}}],
                    }
                ],
            },
        },
        VirtualService,
    )


def ingress(
    path: str = "/team-a/llama",
    host: str = "ai.example.com",
    tls: tuple[dict[str, Any], ...] = ({"hosts": ["ai.example.com"]},),
    path_type: str = "Prefix",
    port: dict[str, Any] | None = None,
) -> Ingress:
    backend = {"service": {"name": "llama", "port": port or {"number": 80}}}
    return msgspec.convert(
        {
            "metadata": {"name": "llama", "namespace": "team-a"},
            "spec": {
                "rules": [
                    {
                        "host": host,
                        "http": {
                            "paths": [{"path": path, "pathType": path_type, "backend": backend}]
                        },
                    }
                ],
                "tls": tls,
            },
        },
        Ingress,
    )
