"""The table cells of network, configuration and storage kinds and of Events. Source: kubernetes
pkg/printers/internalversion/printers.go."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from servedeck.demo.api.tables.workload_printers import (
    NONE,
    age,
    elapsed,
    format_label_selector,
    format_labels,
    lookup,
    name,
)

Json = dict[str, Any]


def service(obj: Json, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    ports = ",".join(
        f"{p.get('port')}{':' + str(p['nodePort']) if p.get('nodePort') else ''}"
        f"/{p.get('protocol', 'TCP')}"
        for p in spec.get("ports") or ()
    )
    outside = lookup(obj, "status.loadBalancer.ingress") or []
    addresses = [i.get("ip") or i.get("hostname", "") for i in outside]
    addresses += spec.get("externalIPs") or []
    kind = spec.get("type", "ClusterIP")
    external = ",".join(addresses) or ("<pending>" if kind == "LoadBalancer" else NONE)
    return [
        name(obj),
        kind,
        spec.get("clusterIP") or NONE,
        spec.get("externalName") or external,
        ports or NONE,
        age(obj, now),
        format_labels(spec.get("selector")),
    ]


def _join_some(items: list[str], limit: int = 3) -> str:
    if not items:
        return NONE
    more = f" + {len(items) - limit} more..." if len(items) > limit else ""
    return ",".join(items[:limit]) + more


def endpoints(obj: Json, now: datetime) -> list[Any]:
    found = []
    no_port: Json = {}
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or (no_port,):
            for address in subset.get("addresses") or ():
                ip = address["ip"]
                found.append(f"{ip}:{port['port']}" if "port" in port else ip)
    return [name(obj), _join_some(found), age(obj, now)]


def endpointslice(obj: Json, now: datetime) -> list[Any]:
    ports = [str(p.get("port", "")) for p in obj.get("ports") or ()]
    addresses = [a for e in obj.get("endpoints") or () for a in e.get("addresses") or ()]
    return [
        name(obj),
        obj.get("addressType"),
        _join_some(ports) if ports else "<unset>",
        _join_some(addresses) if addresses else "<unset>",
        age(obj, now),
    ]


def event(obj: Json, now: datetime) -> list[Any]:
    about = obj.get("involvedObject") or obj.get("regarding") or {}
    series = obj.get("series") or {}
    first = obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp")
    last = obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp")
    first = first or obj.get("eventTime")
    last = series.get("lastObservedTime") or last or first
    count = series.get("count") or obj.get("count") or obj.get("deprecatedCount") or 1
    target = (about.get("kind") or "").lower()
    if about.get("name"):
        target += f"/{about['name']}"
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    origin = source.get("component") or obj.get("reportingComponent") or ""
    origin = origin or obj.get("reportingController") or ""
    if source.get("host"):
        origin += f", {source['host']}"
    return [
        elapsed(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        target,
        about.get("fieldPath", ""),
        origin,
        (obj.get("message") or obj.get("note") or "").strip(),
        elapsed(first, now),
        str(count),
        name(obj),
    ]


def configmap(obj: Json, now: datetime) -> list[Any]:
    count = len(obj.get("data") or ()) + len(obj.get("binaryData") or ())
    return [name(obj), count, age(obj, now)]


def secret(obj: Json, now: datetime) -> list[Any]:
    return [name(obj), obj.get("type", "Opaque"), len(obj.get("data") or ()), age(obj, now)]


def resource_quota(obj: Json, now: datetime) -> list[Any]:
    hard, used = lookup(obj, "status.hard") or {}, lookup(obj, "status.used") or {}
    limits = [key for key in sorted(hard) if key.startswith("limits.")]
    requests = [key for key in sorted(hard) if not key.startswith("limits.")]

    def text(keys: list[str]) -> str:
        return ", ".join(f"{key}: {used.get(key, '0')}/{hard[key]}" for key in keys)

    return [name(obj), text(requests), text(limits), age(obj, now)]


_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
_UNSET = "<unset>"


def _modes(modes: list[str] | None) -> str:
    return ",".join(_MODES.get(mode, mode) for mode in modes or ())


def pvc(obj: Json, now: datetime) -> list[Any]:
    bound = bool(lookup(obj, "spec.volumeName"))
    return [
        name(obj),
        "Terminating" if "deletionTimestamp" in obj["metadata"] else lookup(obj, "status.phase"),
        lookup(obj, "spec.volumeName") or "",
        (lookup(obj, "status.capacity.storage") or "") if bound else "",
        _modes(lookup(obj, "status.accessModes")) if bound else "",
        lookup(obj, "spec.storageClassName") or "",
        lookup(obj, "spec.volumeAttributesClassName") or _UNSET,
        age(obj, now),
        lookup(obj, "spec.volumeMode") or _UNSET,
    ]


def network_policy(obj: Json, now: datetime) -> list[Any]:
    return [name(obj), format_label_selector(lookup(obj, "spec.podSelector")), age(obj, now)]


def disruption_budget(obj: Json, now: datetime) -> list[Any]:
    bounds = (lookup(obj, f"spec.{one}") for one in ("minAvailable", "maxUnavailable"))
    allowed = lookup(obj, "status.disruptionsAllowed") or 0
    return [
        name(obj),
        *("N/A" if one is None else str(one) for one in bounds),
        allowed,
        age(obj, now),
    ]


def role_binding(obj: Json, now: datetime) -> list[Any]:
    def subjects(kind: str) -> str:
        found = [one for one in obj.get("subjects") or () if one.get("kind") == kind]
        return ", ".join(
            f"{one.get('namespace', '')}/{one['name']}" if kind == "ServiceAccount" else one["name"]
            for one in found
        )

    role = f"{lookup(obj, 'roleRef.kind')}/{lookup(obj, 'roleRef.name')}"
    return [name(obj), role, age(obj, now), *map(subjects, ("User", "Group", "ServiceAccount"))]


def httproute(obj: Json, now: datetime) -> list[Any]:
    hosts = lookup(obj, "spec.hostnames")
    shown = "[" + ",".join(f'"{host}"' for host in hosts) + "]" if hosts else ""
    return [name(obj), shown, age(obj, now)]


def _condition_status(obj: Json, kind: str) -> str:
    found = (c for c in lookup(obj, "status.conditions") or () if c.get("type") == kind)
    return str(next((c.get("status", "") for c in found), ""))


def gateway(obj: Json, now: datetime) -> list[Any]:
    addresses = lookup(obj, "status.addresses")
    return [
        name(obj),
        lookup(obj, "spec.gatewayClassName") or "",
        addresses[0].get("value", "") if addresses else "",
        _condition_status(obj, "Programmed"),
        age(obj, now),
    ]


def scaledobject(obj: Json, now: datetime) -> list[Any]:
    return [
        name(obj),
        lookup(obj, "status.scaleTargetKind") or "",
        lookup(obj, "spec.scaleTargetRef.name") or "",
        lookup(obj, "spec.minReplicaCount"),
        lookup(obj, "spec.maxReplicaCount"),
        _condition_status(obj, "Ready"),
        _condition_status(obj, "Active"),
        age(obj, now),
    ]
