"""The Deployment of a serving and its ReplicaSets, or its workload of another kind, watched while a
part of the page needs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from servedeck.cluster.resources import REPLICA_SET, Resource
from servedeck.detail.workloads import workload_resource
from servedeck.fleet.views import NamespacedName
from servedeck.serving.label_selector import format_label_selector
from servedeck.serving.spec.mapping.json_values import as_mapping

if TYPE_CHECKING:
    from servedeck.detail.detail_service import DetailService, ObjectWatch
    from servedeck.detail.object_watch import LiveObject
    from servedeck.serving.objects.records import Deployment


class DeploymentWatch:
    """Open until `close`. The ReplicaSets are found by the Deployment's own selector, and belong to
    it if it is their controller: selectors of two Deployments may overlap."""

    def __init__(
        self,
        detail_service: DetailService,
        key: NamespacedName,
        on_change: Callable[[], None],
        *,
        known: Deployment | None = None,
    ) -> None:
        """Start to watch. `on_change` is called on the event loop after changes. `known` is the
        Deployment as the list has it, which is shown until it is read."""
        self._detail_service = detail_service
        self._key = key
        self._on_change = on_change
        self._selector = ""
        """Selector of the ReplicaSets that are watched; "" before."""
        self._replicasets: ObjectWatch | None = None
        self._deployment = self._decode(known) if known is not None else None
        self._closing: list[ObjectWatch] = []
        self._deployments = self._watch(workload_resource(key), self._update, name=key.name)
        self._watch_replicasets()

    def _watch(
        self,
        resource: Resource,
        on_change: Callable[[], None],
        *,
        name: str = "",
        label_selector: str = "",
    ) -> ObjectWatch | None:
        # Imported late: it loads the client, for which the first frame does not wait.
        from servedeck.detail.object_watch import ObjectQuery

        query = ObjectQuery(resource, self._key.namespace, name, label_selector)
        return self._detail_service.watch_objects(query, on_change)

    def _decode(self, known: Deployment) -> LiveObject | None:
        from servedeck.detail.object_watch import decompress_object

        return decompress_object(workload_resource(self._key), known.compressed_json)

    @property
    def is_settled(self) -> bool:
        """Whether both are listed, or it is known that they cannot be."""
        if self._deployments is None or not self._deployments.is_settled:
            return False
        if self._replicaset_selector() not in ("", self._selector):
            # The Deployment is listed a moment before `_update` starts to watch its ReplicaSets.
            return False
        return self._replicasets is None or self._replicasets.is_settled

    @property
    def missing_permission(self) -> str:
        """The missing verb and resource in one sentence; "" if there is none."""
        sentences = (
            one.missing_permission for one in (self._deployments, self._replicasets) if one
        )
        return next(filter(None, sentences), "")

    @property
    def deployment(self) -> LiveObject | None:
        """The Deployment as it is, or was last; None while it is unknown."""
        found = self._deployments.newest if self._deployments is not None else None
        if found is not None and not self._is_known(found):
            self._deployment = found
        return self._deployment

    def _is_known(self, found: LiveObject) -> bool:
        """Whether it is the version that was shown before it was read: the same instance, so that
        nothing is built again."""
        known = self._deployment
        return (
            known is not None
            and known.metadata.uid == found.metadata.uid
            and known.metadata.resource_version == found.metadata.resource_version != ""
        )

    @property
    def replicasets(self) -> list[LiveObject]:
        """The ReplicaSets of the Deployment, by name."""
        deployment = self.deployment
        if deployment is None or self._replicasets is None:
            return []
        return [
            one
            for one in self._replicasets.objects
            for owner in one.metadata.owner_references
            if owner.controller and owner.uid == deployment.metadata.uid
        ]

    async def close(self) -> None:
        """Stop both watches; what they have read stays."""
        for watch in (self._deployments, self._replicasets, *self._closing):
            if watch is not None:
                await watch.close()

    def _update(self) -> None:
        self._watch_replicasets()
        self._on_change()

    def _watch_replicasets(self) -> None:
        """Start to watch the ReplicaSets as soon as the selector is known."""
        selector = self._replicaset_selector()
        if selector and selector != self._selector:
            if self._replicasets is not None:
                # Only a Deployment that was made again has another selector: it is immutable.
                self._closing.append(self._replicasets)
            self._selector = selector
            self._replicasets = self._watch(REPLICA_SET, self._on_change, label_selector=selector)

    def _replicaset_selector(self) -> str:
        """The label selector of the Deployment; "" while it is unknown, and for other kinds."""
        if (deployment := self.deployment) is None or not self._key.is_deployment:
            return ""
        return format_label_selector(as_mapping(deployment.value, "spec", "selector"))
