"""The objects that a serving consists of, by kind and name: which watches find them, and which of
the objects found are the serving's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from servedeck.cluster import resources
from servedeck.cluster.resources import Resource
from servedeck.detail.object_watch import LiveObject, ObjectQuery
from servedeck.detail.workloads import ORDINAL
from servedeck.fleet.views import NamespacedName, PodView, ServingView
from servedeck.serving.label_selector import format_label_selector, selects_labels
from servedeck.serving.objects.backends import route_backends
from servedeck.serving.objects.pod_references import pod_references
from servedeck.serving.objects.records import REVISION_ANNOTATION
from servedeck.serving.objects.workload_records import GROUP_LABEL
from servedeck.serving.spec.mapping.inference_pools import (
    INFERENCE_POOL_KIND,
    picker_text,
    pool_backends,
    pool_key,
    pools_of,
)
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_mapping,
    as_str,
)
from servedeck.serving.text import format_count

_ROUTES = (
    resources.HTTP_ROUTE,
    resources.VIRTUAL_SERVICE,
    resources.OPENSHIFT_ROUTE,
    resources.INGRESS,
)
_AUTOSCALERS = (resources.SCALED_OBJECT, resources.HORIZONTAL_POD_AUTOSCALER)


class ServingObjectRef(NamedTuple):
    """An object of a serving."""

    kind: str
    name: str
    detail: str = ""
    """A few words about it, "CrashLoopBackOff"."""

    @property
    def title(self) -> str:
        """As kubectl names an object: "Pod/llama-6b8f-9qk2x"."""
        return f"{self.kind}/{self.name}"


def object_queries(key: NamespacedName, deployment: JsonObject | None) -> list[ObjectQuery]:
    """What must be watched to find the objects of a serving that neither its view nor its workload
    names. `deployment` is the workload in the shape of a Deployment; ReplicaSets are only sought by
    the selector of a Deployment."""
    queries = [
        ObjectQuery(resource, key.namespace)
        for resource in (resources.SERVICE, *resources.POOL_RESOURCES, *_ROUTES, *_AUTOSCALERS)
    ]
    if key.kind == "LeaderWorkerSet":
        selector = f"{GROUP_LABEL}={key.name}"
        queries.append(ObjectQuery(resources.STATEFUL_SET, key.namespace, label_selector=selector))
    if not key.is_deployment:
        return queries
    if selector := format_label_selector(as_mapping(deployment, "spec", "selector")):
        queries.append(ObjectQuery(resources.REPLICA_SET, key.namespace, label_selector=selector))
    return queries


def list_object_refs(
    key: NamespacedName,
    view: ServingView | None,
    deployment: JsonObject | None,
    found: Mapping[Resource, Sequence[LiveObject]],
) -> list[ServingObjectRef]:
    """The objects of a serving: its workload, Services, InferencePools of v1, routes, autoscalers,
    ReplicaSets with the newest revision first, Pods, and what the Pods name.

    `deployment` is None if it may not be read; `found` are the objects of `object_queries`, of
    which only those are parsed that may be the serving's: parsing those of a namespace with 500
    servings takes 0.1 s.
    """
    refs = [ServingObjectRef(key.kind, key.name)]
    labels = as_mapping(deployment, "spec", "template", "metadata", "labels")
    services = [
        one.value
        for one in found.get(resources.SERVICE, ())
        if one.metadata.name == key.name or _selects_pods(one, labels)
    ]
    names = {_name(one) for one in services} | {key.name}
    refs += [
        ServingObjectRef("Service", _name(one), as_str(as_mapping(one, "spec").get("type")))
        for one in services
    ]
    listed = (one.value for group in resources.POOL_RESOURCES for one in found.get(group, ()))
    pools = pools_of(deployment or {}, listed)
    # A reference is a kind and a name: those of the older API group cannot be opened by it.
    refs += [
        ServingObjectRef(INFERENCE_POOL_KIND, _name(one), picker_text(one))
        for one in pools
        if pool_key(one).group == resources.INFERENCE_POOL.group
    ]
    backend_names = names | {_name(one) for one in pools}
    for resource in _ROUTES:
        refs += [
            ServingObjectRef(resource.kind, one.metadata.name)
            for one in found.get(resource, ())
            if _may_name(one, backend_names)
            and (
                any(
                    backend.namespace == key.namespace and backend.service in names
                    for backend in route_backends(one.value)
                )
                or pool_backends([one.value], pools)
            )
        ]
    for resource in _AUTOSCALERS:
        refs += [
            ServingObjectRef(resource.kind, one.metadata.name)
            for one in found.get(resource, ())
            if _may_name(one, (key.name,)) and scales(one.value, key)
        ]
    refs += [
        ServingObjectRef("StatefulSet", one.metadata.name)
        for one in found.get(resources.STATEFUL_SET, ())
    ]
    refs += _replica_set_refs(found.get(resources.REPLICA_SET, ()), deployment)
    if view is not None:
        pods = [ServingObjectRef("Pod", pod.name, pod.status) for pod in view.pods]
        refs = pods + refs[1:] if key.kind == "Pod" else refs + pods
    refs += _template_refs(deployment, view.pods if view is not None else ())
    return refs


def _template_refs(
    deployment: JsonObject | None, pods: Sequence[PodView]
) -> Iterator[ServingObjectRef]:
    named = pod_references(as_mapping(deployment, "spec", "template", "spec"))
    for name in named.persistent_volume_claims:
        if name.endswith(ORDINAL):
            for pod in pods:
                ordinal = pod.name.rpartition("-")[2]
                yield ServingObjectRef("PersistentVolumeClaim", name.replace(ORDINAL, ordinal))
        else:
            yield ServingObjectRef("PersistentVolumeClaim", name)
    for name in named.config_maps:
        yield ServingObjectRef("ConfigMap", name)
    for name in named.secrets:
        yield ServingObjectRef("Secret", name)


def _replica_set_refs(
    found: Sequence[LiveObject], deployment: JsonObject | None
) -> list[ServingObjectRef]:
    uid = as_str(as_mapping(deployment, "metadata").get("uid"))
    revisions: list[tuple[int, ServingObjectRef]] = []
    for one in found:
        if not any(owner.uid == uid for owner in one.metadata.owner_references):
            continue
        annotations = as_mapping(one.value, "metadata", "annotations")
        revision = as_int(annotations.get(REVISION_ANNOTATION)) or 0
        replicas = as_int(as_mapping(one.value, "spec").get("replicas")) or 0
        detail = f"revision {revision}, {format_count(replicas, 'replica')}"
        revisions.append((revision, ServingObjectRef("ReplicaSet", one.metadata.name, detail)))
    return [ref for _revision, ref in sorted(revisions, key=lambda one: -one[0])]


def _name(obj: Mapping[str, Any]) -> str:
    return as_str(as_mapping(obj, "metadata").get("name"))


class _ServiceSpec(msgspec.Struct):
    selector: dict[str, str] | None = None
    type: str | None = None


class _Service(msgspec.Struct):
    spec: _ServiceSpec | None = None


_SERVICES = msgspec.json.Decoder(_Service)


def _selects_pods(service: LiveObject, labels: Mapping[str, Any]) -> bool:
    try:
        spec = _SERVICES.decode(service.json_text).spec
    except (msgspec.DecodeError, UnicodeError):
        return False
    if spec is None or spec.type == "ExternalName":  # its selector has no effect
        return False
    return selects_labels(spec.selector, labels)


def _may_name(one: LiveObject, names: Iterable[str]) -> bool:
    """Whether an object has one of these names of objects, of which no character is escaped in
    JSON."""
    return any(name in one.json_text for name in names)


def scales(autoscaler: JsonObject, key: NamespacedName) -> bool:
    """Whether a ScaledObject or an HPA scales a workload."""
    target = as_mapping(autoscaler, "spec", "scaleTargetRef")
    kind = as_str(target.get("kind")) or "Deployment"
    return (kind, as_str(target.get("name"))) == (key.kind, key.name)
