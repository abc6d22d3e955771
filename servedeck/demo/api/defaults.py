"""The API server's defaults for the kinds that servedeck and the demo's controllers write. Source:
kubernetes pkg/apis/*/v1/defaults.go."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from servedeck.demo.resources import (
    DAEMONSETS,
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    JOBS,
    NETWORK_POLICIES,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    REPLICA_SETS,
    REPLICATIONCONTROLLERS,
    ROLE_BINDINGS,
    SECRETS,
    SERVICES,
    STATEFULSETS,
    STORAGECLASSES,
    Resource,
)

Json = dict[str, Any]


def _set_missing(obj: Json, **values: Any) -> None:
    for name, value in values.items():
        if obj.get(name) is None:
            obj[name] = value


def _probe(probe: Json) -> None:
    figures = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1}
    figures["failureThreshold"] = 3
    for name, value in figures.items():  # 0 counts as missing
        probe[name] = probe.get(name) or value
    if "httpGet" in probe:
        _set_missing(probe["httpGet"], path="/", scheme="HTTP")
    if "grpc" in probe:
        _set_missing(probe["grpc"], service="")


def _pull_policy(image: str) -> str:
    if "@" in image:
        return "IfNotPresent"
    tag = image.rsplit("/", 1)[-1].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _container(container: Json) -> None:
    _set_missing(
        container,
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        imagePullPolicy=_pull_policy(container.get("image", "")),
    )
    for port in container.get("ports") or ():
        _set_missing(port, protocol="TCP")
    for variable in container.get("env") or ():
        field = (variable.get("valueFrom") or {}).get("fieldRef")
        if field is not None:
            _set_missing(field, apiVersion="v1")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(name) is not None:
            _probe(container[name])
    for action in (container.get("lifecycle") or {}).values():
        if isinstance(action, dict) and "httpGet" in action:
            _set_missing(action["httpGet"], path="/", scheme="HTTP")


def _pod_spec(spec: Json, *, pod: bool) -> None:
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        _container(container)
        if pod and (limits := container["resources"].get("limits")):
            # a limit without a request becomes the request (SetDefaults_Pod)
            container["resources"]["requests"] = limits | container["resources"].get("requests", {})
    _set_missing(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        securityContext={},
        schedulerName="default-scheduler",
    )
    if account := spec.get("serviceAccountName") or spec.get("serviceAccount"):
        _set_missing(spec, serviceAccountName=account, serviceAccount=account)
    for volume in spec.get("volumes") or ():
        _volume(volume)
    if pod:
        _set_missing(spec, enableServiceLinks=True)


def _volume(volume: Json) -> None:
    for name in ("configMap", "secret", "projected", "downwardAPI"):
        if volume.get(name) is not None:
            _set_missing(volume[name], defaultMode=420)
    if volume.get("hostPath") is not None:
        _set_missing(volume["hostPath"], type="")
    if set(volume) <= {"name"}:
        volume["emptyDir"] = {}


def _template(obj: Json) -> Json:
    spec: Json = obj.setdefault("spec", {})
    template = spec.setdefault("template", {})
    _pod_spec(template.setdefault("spec", {}), pod=False)
    return spec


def _deployment(obj: Json) -> None:
    spec = _template(obj)
    _set_missing(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = spec.setdefault("strategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        _set_missing(rolling, maxUnavailable="25%", maxSurge="25%")


def _replicaset(obj: Json) -> None:
    _set_missing(_template(obj), replicas=1)


def _replicationcontroller(obj: Json) -> None:
    spec = _template(obj)
    _set_missing(spec, replicas=1)
    labels = (spec["template"].get("metadata") or {}).get("labels")
    if labels:
        _set_missing(spec, selector=dict(labels))


def _statefulset(obj: Json) -> None:
    spec = _template(obj)
    _set_missing(spec, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    _set_missing(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)


def _daemonset(obj: Json) -> None:
    spec = _template(obj)
    _set_missing(spec, revisionHistoryLimit=10)
    strategy = spec.setdefault("updateStrategy", {})
    _set_missing(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        _set_missing(rolling, maxUnavailable=1, maxSurge=0)


def _job(obj: Json) -> None:
    _set_missing(_template(obj), parallelism=1, completions=1, backoffLimit=6, suspend=False)


def _pod(obj: Json) -> None:
    _pod_spec(obj.setdefault("spec", {}), pod=True)


def _service(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _set_missing(spec, type="ClusterIP", sessionAffinity="None")
    if spec["type"] != "ExternalName":
        _set_missing(spec, internalTrafficPolicy="Cluster")
    for port in spec.get("ports") or ():
        _set_missing(port, protocol="TCP")
        if port.get("targetPort") in (None, "") and "port" in port:
            port["targetPort"] = port["port"]


def _pvc(obj: Json) -> None:
    _set_missing(obj.setdefault("spec", {}), volumeMode="Filesystem")


def _secret(obj: Json) -> None:
    _set_missing(obj, type="Opaque")
    if plain := obj.pop("stringData", None):  # Convert_v1_Secret_To_core_Secret
        coded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        obj["data"] = (obj.get("data") or {}) | coded


def _storageclass(obj: Json) -> None:
    _set_missing(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def _autoscaler(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _set_missing(spec, minReplicas=1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    if spec.get("behavior") is not None:
        behavior = spec["behavior"]
        _scaling_rules(behavior, "scaleUp", ("Pods", 4), ("Percent", 100))
        _set_missing(behavior["scaleUp"], stabilizationWindowSeconds=0)
        _scaling_rules(behavior, "scaleDown", ("Percent", 100))


def _scaling_rules(behavior: Json, direction: str, *policies: tuple[str, int]) -> None:
    """Source: kubernetes pkg/apis/autoscaling/v2/defaults.go."""
    rules = behavior[direction] = behavior.get(direction) or {}
    _set_missing(rules, selectPolicy="Max")
    if not rules.get("policies"):
        rules["policies"] = [
            {"type": kind, "value": value, "periodSeconds": 15} for kind, value in policies
        ]


def _network_policy(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    for rule in [*(spec.get("ingress") or ()), *(spec.get("egress") or ())]:
        for port in rule.get("ports") or ():
            _set_missing(port, protocol="TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _role_binding(obj: Json) -> None:
    if obj.get("roleRef"):
        _set_missing(obj["roleRef"], apiGroup=ROLE_BINDINGS.group)
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            _set_missing(subject, apiGroup=ROLE_BINDINGS.group)


_DEFAULTS: dict[Resource, Callable[[Json], None]] = {
    DEPLOYMENTS: _deployment,
    REPLICA_SETS: _replicaset,
    REPLICATIONCONTROLLERS: _replicationcontroller,
    STATEFULSETS: _statefulset,
    DAEMONSETS: _daemonset,
    JOBS: _job,
    NETWORK_POLICIES: _network_policy,
    ROLE_BINDINGS: _role_binding,
    PODS: _pod,
    SERVICES: _service,
    PERSISTENTVOLUMECLAIMS: _pvc,
    SECRETS: _secret,
    STORAGECLASSES: _storageclass,
    HORIZONTAL_POD_AUTOSCALERS: _autoscaler,
}


def set_defaults(resource: Resource, obj: Json) -> None:
    """Sets the defaults of missing fields, in place."""
    if setter := _DEFAULTS.get(resource):
        setter(obj)
