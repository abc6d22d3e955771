"""The cells of the kinds beside workloads: network, configuration, storage, Events
(kubernetes pkg/printers/internalversion/printers.go)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from servedeck.demo.api.tables.workload_printers import NONE, UNKNOWN, age, dig, name, pairs, since

Json = dict[str, Any]


def service(obj: Json, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    ports = ",".join(
        f"{p.get('port')}{':' + str(p['nodePort']) if p.get('nodePort') else ''}"
        f"/{p.get('protocol', 'TCP')}"
        for p in spec.get("ports") or ()
    )
    outside = dig(obj, "status.loadBalancer.ingress") or []
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
        pairs(spec.get("selector")),
    ]


def _some(items: list[str], limit: int = 3) -> str:
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
    return [name(obj), _some(found), age(obj, now)]


def endpointslice(obj: Json, now: datetime) -> list[Any]:
    ports = [str(p.get("port", "")) for p in obj.get("ports") or ()]
    addresses = [a for e in obj.get("endpoints") or () for a in e.get("addresses") or ()]
    return [
        name(obj),
        obj.get("addressType"),
        _some(ports) if ports else "<unset>",
        _some(addresses) if addresses else "<unset>",
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
        since(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        target,
        about.get("fieldPath", ""),
        origin,
        (obj.get("message") or obj.get("note") or "").strip(),
        since(first, now),
        str(count),
        name(obj),
    ]


def configmap(obj: Json, now: datetime) -> list[Any]:
    count = len(obj.get("data") or ()) + len(obj.get("binaryData") or ())
    return [name(obj), count, age(obj, now)]


def secret(obj: Json, now: datetime) -> list[Any]:
    return [name(obj), obj.get("type", "Opaque"), len(obj.get("data") or ()), age(obj, now)]


def quota(obj: Json, now: datetime) -> list[Any]:
    hard, used = dig(obj, "status.hard") or {}, dig(obj, "status.used") or {}
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


def claim(obj: Json, now: datetime) -> list[Any]:
    bound = bool(dig(obj, "spec.volumeName"))
    return [
        name(obj),
        "Terminating" if "deletionTimestamp" in obj["metadata"] else dig(obj, "status.phase"),
        dig(obj, "spec.volumeName") or "",
        (dig(obj, "status.capacity.storage") or "") if bound else "",
        _modes(dig(obj, "status.accessModes")) if bound else "",
        dig(obj, "spec.storageClassName") or "",
        dig(obj, "spec.volumeAttributesClassName") or _UNSET,
        age(obj, now),
        dig(obj, "spec.volumeMode") or _UNSET,
    ]


def volume(obj: Json, now: datetime) -> list[Any]:
    ref = dig(obj, "spec.claimRef")
    return [
        name(obj),
        dig(obj, "spec.capacity.storage") or "",
        _modes(dig(obj, "spec.accessModes")),
        dig(obj, "spec.persistentVolumeReclaimPolicy") or "",
        "Terminating" if "deletionTimestamp" in obj["metadata"] else dig(obj, "status.phase"),
        f"{ref.get('namespace')}/{ref.get('name')}" if ref else "",
        dig(obj, "spec.storageClassName") or "",
        dig(obj, "spec.volumeAttributesClassName") or _UNSET,
        dig(obj, "status.reason") or "",
        age(obj, now),
        dig(obj, "spec.volumeMode") or _UNSET,
    ]


def storageclass(obj: Json, now: datetime) -> list[Any]:
    mark = "storageclass.kubernetes.io/is-default-class"
    default = (obj["metadata"].get("annotations") or {}).get(mark) == "true"
    return [
        name(obj) + (" (default)" if default else ""),
        obj.get("provisioner"),
        obj.get("reclaimPolicy", "Delete"),
        obj.get("volumeBindingMode", "Immediate"),
        str(bool(obj.get("allowVolumeExpansion"))).lower(),
        age(obj, now),
    ]


def ingress(obj: Json, now: datetime) -> list[Any]:
    hosts = [rule["host"] for rule in dig(obj, "spec.rules") or () if rule.get("host")]
    addresses = [
        i.get("ip") or i.get("hostname", "") for i in dig(obj, "status.loadBalancer.ingress") or ()
    ]
    return [
        name(obj),
        dig(obj, "spec.ingressClassName") or NONE,
        _some(hosts) if hosts else "*",
        ",".join(addresses),
        "80, 443" if dig(obj, "spec.tls") else "80",
        age(obj, now),
    ]


def ingressclass(obj: Json, now: datetime) -> list[Any]:
    parameters = dig(obj, "spec.parameters") or {}
    kind = parameters.get("kind", "")
    kind += f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
    shown = f"{kind}/{parameters.get('name', '')}" if parameters else NONE
    return [name(obj), dig(obj, "spec.controller") or "", shown, age(obj, now)]


def autoscaler(obj: Json, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    ref = spec.get("scaleTargetRef") or {}
    current = status.get("currentMetrics") or []
    targets = []
    for index, metric in enumerate(spec.get("metrics") or ()):
        now_metric = current[index] if index < len(current) else {}
        targets.append(_metric(metric, now_metric))
    minimum = spec.get("minReplicas")
    return [
        name(obj),
        f"{ref.get('kind')}/{ref.get('name')}",
        ", ".join(targets[:2]) + (f" + {len(targets) - 2} more..." if len(targets) > 2 else "")
        or NONE,
        str(minimum) if minimum is not None else _UNSET,
        spec.get("maxReplicas"),
        status.get("currentReplicas", 0),
        age(obj, now),
    ]


def _metric(metric: Json, now_metric: Json) -> str:
    kind = str(metric.get("type", ""))
    key = kind[:1].lower() + kind[1:]
    target = dig(metric, f"{key}.target") or {}
    found = dig(now_metric, f"{key}.current") or {}
    if kind == "Resource" and "averageUtilization" in target:
        used = found.get("averageUtilization")
        shown = f"{used}%" if used is not None else UNKNOWN
        return f"{dig(metric, 'resource.name')}: {shown}/{target['averageUtilization']}%"
    average = "averageValue" in target
    field = "averageValue" if average else "value"
    return f"{found.get(field, UNKNOWN)}/{target.get(field)}{' (avg)' if average else ''}"


def lease(obj: Json, now: datetime) -> list[Any]:
    return [name(obj), dig(obj, "spec.holderIdentity") or "", age(obj, now)]


def httproute(obj: Json, now: datetime) -> list[Any]:
    hosts = dig(obj, "spec.hostnames")
    shown = "[" + ",".join(f'"{host}"' for host in hosts) + "]" if hosts else ""
    return [name(obj), shown, age(obj, now)]


def _condition(obj: Json, kind: str) -> str:
    found = (c for c in dig(obj, "status.conditions") or () if c.get("type") == kind)
    return str(next((c.get("status", "") for c in found), ""))


def gateway(obj: Json, now: datetime) -> list[Any]:
    addresses = dig(obj, "status.addresses")
    return [
        name(obj),
        dig(obj, "spec.gatewayClassName") or "",
        addresses[0].get("value", "") if addresses else "",
        _condition(obj, "Programmed"),
        age(obj, now),
    ]


def scaledobject(obj: Json, now: datetime) -> list[Any]:
    return [
        name(obj),
        dig(obj, "status.scaleTargetKind") or "",
        dig(obj, "spec.scaleTargetRef.name") or "",
        dig(obj, "spec.minReplicaCount"),
        dig(obj, "spec.maxReplicaCount"),
        _condition(obj, "Ready"),
        _condition(obj, "Active"),
        age(obj, now),
    ]
