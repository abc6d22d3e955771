"""Endpoints and EndpointSlices of Services.

Source: kubernetes pkg/controller/endpoint, pkg/controller/endpointslice.
"""

from __future__ import annotations

from servedeck.demo.controllers.base import (
    ControllerContext,
    WorkQueue,
    condition_is_true,
    owner_reference,
)
from servedeck.demo.resources import ENDPOINTS, ENDPOINTSLICES, PODS, SERVICES, Resource
from servedeck.demo.store.changes import StoreChange
from servedeck.demo.store.objects import Json, Key, key_of

_DELAY_SECONDS = 0.1


class EndpointsController:
    def __init__(self, context: ControllerContext) -> None:
        self._store = context.store
        self._clock = context.clock
        self._queue = WorkQueue(context.clock, self._sync)
        context.store.subscribe(self._service_changed, SERVICES)
        context.store.subscribe(self._pod_changed, PODS)

    def resync(self) -> None:
        for service in self._store.list(SERVICES):
            self._queue.add(key_of(service))

    def _service_changed(self, change: StoreChange) -> None:
        if change.type == "DELETED":
            key = key_of(change.object)
            if self._store.find(ENDPOINTS, *key) is not None:
                self._store.delete(ENDPOINTS, *key)
        else:
            self._queue.add(key_of(change.object))

    def _pod_changed(self, change: StoreChange) -> None:
        pod, old = change.object, change.old
        if (
            change.type == "MODIFIED"
            and old is not None
            and _endpoint_fields(pod) == _endpoint_fields(old)
        ):
            return
        labels = pod["metadata"].get("labels") or {}
        for service in self._store.list(SERVICES, pod["metadata"]["namespace"]):
            selector = (service.get("spec") or {}).get("selector") or {}
            if selector and selector.items() <= labels.items():
                self._queue.add(key_of(service), _DELAY_SECONDS)

    def _sync(self, key: Key) -> None:
        service = self._store.find(SERVICES, *key)
        selector = ((service or {}).get("spec") or {}).get("selector") or {}
        if service is None or not selector or "deletionTimestamp" in service["metadata"]:
            return
        pods = [
            pod
            for pod in self._store.list(PODS, key[0])
            if selector.items() <= (pod["metadata"].get("labels") or {}).items()
            and (pod.get("status") or {}).get("podIP")
            and pod["status"].get("phase") not in ("Succeeded", "Failed")
        ]
        self._write(ENDPOINTS, key, self._endpoints(service, pods))
        self._write(ENDPOINTSLICES, (key[0], f"{key[1]}-demo"), self._endpointslice(service, pods))

    def _endpoints(self, service: Json, pods: list[Json]) -> Json:
        live = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        ready = [_endpoint_address(pod) for pod in live if condition_is_true(pod, "Ready")]
        waiting = [_endpoint_address(pod) for pod in live if not condition_is_true(pod, "Ready")]
        subset: Json = {}
        if ready:
            subset["addresses"] = ready
        if waiting:
            subset["notReadyAddresses"] = waiting
        if subset:
            subset["ports"] = _endpoint_ports(service, live)
        return {
            "metadata": _endpoints_metadata(service, service["metadata"]["name"], {}),
            "subsets": [subset] if subset else [],
        }

    def _endpointslice(self, service: Json, pods: list[Json]) -> Json:
        name = service["metadata"]["name"]
        labels = {
            "kubernetes.io/service-name": name,
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        }
        meta = _endpoints_metadata(service, f"{name}-demo", labels)
        meta["ownerReferences"] = [owner_reference(SERVICES, service)]
        endpoints = []
        for pod in pods:
            terminating = "deletionTimestamp" in pod["metadata"]
            serving = condition_is_true(pod, "Ready")
            endpoints.append(
                {
                    "addresses": [pod["status"]["podIP"]],
                    "conditions": {
                        "ready": serving and not terminating,
                        "serving": serving,
                        "terminating": terminating,
                    },
                    "nodeName": pod["spec"].get("nodeName"),
                    "targetRef": _target_ref(pod),
                }
            )
        return {
            "metadata": meta,
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": _endpoint_ports(service, pods),
        }

    def _write(self, resource: Resource, key: Key, new: Json) -> None:
        if self._store.find(resource, *key) is None:
            self._store.create(resource, new)
            return

        def write(obj: Json) -> None:
            obj.update({name: value for name, value in new.items() if name != "metadata"})
            obj["metadata"]["labels"] = new["metadata"].get("labels") or {}

        self._store.mutate(resource, *key, write)


def _endpoint_fields(pod: Json) -> tuple[object, ...]:
    """The fields of a Pod on which endpoints depend."""
    status = pod.get("status") or {}
    return (
        status.get("podIP"),
        status.get("phase"),
        condition_is_true(pod, "Ready"),
        "deletionTimestamp" in pod["metadata"],
        pod["metadata"].get("labels"),
    )


def _endpoint_address(pod: Json) -> Json:
    return {
        "ip": pod["status"]["podIP"],
        "nodeName": pod["spec"].get("nodeName"),
        "targetRef": _target_ref(pod),
    }


def _target_ref(pod: Json) -> Json:
    meta = pod["metadata"]
    return {
        "kind": "Pod",
        "namespace": meta["namespace"],
        "name": meta["name"],
        "uid": meta["uid"],
    }


def _endpoints_metadata(service: Json, name: str, labels: dict[str, str]) -> Json:
    own = service["metadata"].get("labels") or {}
    return {
        "name": name,
        "namespace": service["metadata"]["namespace"],
        "labels": {**own, **labels},
    }


def _endpoint_ports(service: Json, pods: list[Json]) -> list[Json]:
    found = []
    for port in service["spec"].get("ports") or ():
        target = port.get("targetPort", port["port"])
        number = (
            target
            if isinstance(target, int)
            else _find_container_port(target, pods) or port["port"]
        )
        entry: Json = {"port": number, "protocol": port.get("protocol", "TCP")}
        if port.get("name"):
            entry["name"] = port["name"]
        found.append(entry)
    return found


def _find_container_port(name: str, pods: list[Json]) -> int | None:
    for pod in pods:
        for container in pod["spec"].get("containers") or ():
            for port in container.get("ports") or ():
                if port.get("name") == name:
                    return int(port["containerPort"])
    return None
