"""The cells of each kind's row (kubernetes pkg/printers/internalversion/printers.go)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from servedeck.serving import units

Json = dict[str, Any]
NONE = "<none>"
UNKNOWN = "<unknown>"


def dig(obj: Any, path: str) -> Any:
    """The value at a dotted path, None where there is none."""
    for part in path.split("."):
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj


def name(obj: Json) -> str:
    return str(obj["metadata"]["name"])


def since(text: str | None, now: datetime) -> str:
    """The time since an API timestamp, as kubectl writes it."""
    if not text:
        return UNKNOWN
    return units.age((now - datetime.fromisoformat(text)).total_seconds())


def age(obj: Json, now: datetime) -> str:
    return since(dig(obj, "metadata.creationTimestamp"), now)


def _containers(obj: Json) -> list[str]:
    containers = dig(obj, "spec.template.spec.containers") or []
    return [
        ",".join(str(c.get("name", "")) for c in containers),
        ",".join(str(c.get("image", "")) for c in containers),
    ]


def label_selector(selector: Json | None) -> str:
    """A LabelSelector as text: `app=x,tier in (a,b)`; "<none>" when empty."""
    if not selector:
        return NONE
    parts = [f"{k}={v}" for k, v in sorted((selector.get("matchLabels") or {}).items())]
    for rule in selector.get("matchExpressions") or ():
        values = ",".join(sorted(rule.get("values") or ()))
        parts.append(
            {
                "In": f"{rule['key']} in ({values})",
                "NotIn": f"{rule['key']} notin ({values})",
                "Exists": f"{rule['key']}",
                "DoesNotExist": f"!{rule['key']}",
            }.get(rule.get("operator", ""), "")
        )
    return ",".join(parts) or NONE


def _pairs(labels: Json | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def plain(obj: Json, now: datetime) -> list[Any]:
    return [name(obj), age(obj, now)]


def created(obj: Json, now: datetime) -> list[Any]:
    return [name(obj), dig(obj, "metadata.creationTimestamp")]


def readiness_gates(pod: Json) -> str:
    gates = dig(pod, "spec.readinessGates") or []
    if not gates:
        return NONE
    status: dict[str, bool] = {}
    for condition in dig(pod, "status.conditions") or ():
        status.setdefault(condition["type"], condition.get("status") == "True")
    return f"{sum(status.get(g['conditionType'], False) for g in gates)}/{len(gates)}"


def deployment(obj: Json, now: datetime) -> list[Any]:
    status = obj.get("status") or {}
    return [
        name(obj),
        f"{status.get('readyReplicas', 0)}/{dig(obj, 'spec.replicas') or 0}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(obj, now),
        *_containers(obj),
        label_selector(dig(obj, "spec.selector")),
    ]


def replicaset(obj: Json, now: datetime) -> list[Any]:
    status, selector = obj.get("status") or {}, dig(obj, "spec.selector")
    if obj.get("kind") == "ReplicationController":
        selector = {"matchLabels": selector}
    return [
        name(obj),
        dig(obj, "spec.replicas") or 0,
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(obj, now),
        *_containers(obj),
        label_selector(selector),
    ]


def statefulset(obj: Json, now: datetime) -> list[Any]:
    ready = dig(obj, "status.readyReplicas") or 0
    desired = dig(obj, "spec.replicas") or 0
    return [name(obj), f"{ready}/{desired}", age(obj, now), *_containers(obj)]


def daemonset(obj: Json, now: datetime) -> list[Any]:
    status = obj.get("status") or {}
    return [
        name(obj),
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        _pairs(dig(obj, "spec.template.spec.nodeSelector")),
        age(obj, now),
        *_containers(obj),
        label_selector(dig(obj, "spec.selector")),
    ]


def job(obj: Json, now: datetime) -> list[Any]:
    status = obj.get("status") or {}
    conditions = {c["type"] for c in status.get("conditions") or () if c["status"] == "True"}
    state = next((t for t in ("Complete", "Failed", "Suspended") if t in conditions), "Running")
    begun, ended = status.get("startTime"), status.get("completionTime")
    lasted = since(begun, datetime.fromisoformat(ended) if ended else now) if begun else ""
    wanted = dig(obj, "spec.completions") or 1
    return [
        name(obj),
        state,
        f"{status.get('succeeded', 0)}/{wanted}",
        lasted,
        age(obj, now),
        *_containers(obj),
        label_selector(dig(obj, "spec.selector")),
    ]


def cronjob(obj: Json, now: datetime) -> list[Any]:
    last = dig(obj, "status.lastScheduleTime")
    return [
        name(obj),
        dig(obj, "spec.schedule"),
        dig(obj, "spec.timeZone") or NONE,
        bool(dig(obj, "spec.suspend")),
        len(dig(obj, "status.active") or ()),
        since(last, now) if last else NONE,
        age(obj, now),
    ]


def node(obj: Json, now: datetime) -> list[Any]:
    ready = next(
        (c for c in dig(obj, "status.conditions") or () if c["type"] == "Ready"), {"status": ""}
    )
    state = {"True": "Ready", "False": "NotReady"}.get(ready["status"], "Unknown")
    if ready["status"] not in ("True", "False", ""):
        state = "NotReady"
    if dig(obj, "spec.unschedulable"):
        state += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    labels = obj["metadata"].get("labels") or {}
    roles = ",".join(sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix)))
    addresses = {a["type"]: a["address"] for a in dig(obj, "status.addresses") or ()}
    info = dig(obj, "status.nodeInfo") or {}
    return [
        name(obj),
        state,
        roles or NONE,
        age(obj, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def namespace(obj: Json, now: datetime) -> list[Any]:
    return [name(obj), dig(obj, "status.phase") or "", age(obj, now)]


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
        _pairs(spec.get("selector")),
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
