"""The target of an autoscaler: a Deployment, whose replicas its scale subresource sets."""

from __future__ import annotations

from servedeck.demo.api import status
from servedeck.demo.api.managed_fields import FieldManager, track_update
from servedeck.demo.api.schema import schema_of
from servedeck.demo.controllers.base import condition_is_true, is_active_pod
from servedeck.demo.label_selector import matches_selector
from servedeck.demo.resources import DEPLOYMENTS, PODS
from servedeck.demo.store.objects import Json, Key
from servedeck.demo.store.store import ObjectStore

CONTROLLER_MANAGER = "kube-controller-manager"
KEDA_MANAGER = "keda"


class ScaleTarget:
    """The Deployment of this name, as it is now."""

    def __init__(self, store: ObjectStore, namespace: str, name: str) -> None:
        """StatusError 404 where there is none."""
        self._store = store
        self._key: Key = namespace, name
        self._object = store.get(DEPLOYMENTS, namespace, name)

    @property
    def wanted(self) -> int:
        """spec.replicas."""
        return int(self._object["spec"].get("replicas", 1))

    @property
    def created(self) -> int:
        """status.replicas."""
        return int((self._object.get("status") or {}).get("replicas", 0))

    def pods(self) -> list[Json]:
        """Its Pods that are neither finished nor being deleted."""
        selector = self._object["spec"].get("selector")
        return [
            pod
            for pod in self._store.list(PODS, self._key[0])
            if is_active_pod(pod) and matches_selector(selector, pod["metadata"].get("labels"))
        ]

    def ready_pods(self) -> list[Json]:
        return [pod for pod in self.pods() if condition_is_true(pod, "Ready")]

    def set_replicas(self, replicas: int, manager: str) -> None:
        """As a client with this name that updates the Scale."""
        old = self._object
        new = {**old, "spec": {**old["spec"], "replicas": replicas}}
        writer = FieldManager(manager, "Update", DEPLOYMENTS.api_version, "scale")
        tracked = track_update(schema_of(DEPLOYMENTS), old, new, writer, self._store.timestamp())
        self._object = self._store.update(DEPLOYMENTS, tracked, "scale")


def find_target(store: ObjectStore, namespace: str, reference: Json) -> ScaleTarget:
    """The target of a scaleTargetRef. StatusError 404 where it does not exist, or is no
    Deployment: nothing else in the demo has replicas that somebody acts on."""
    if reference.get("kind", "Deployment") != "Deployment":
        name = str(reference.get("name", ""))
        raise status.not_found("apps", f"{str(reference['kind']).lower()}s", name)
    return ScaleTarget(store, namespace, str(reference.get("name", "")))
