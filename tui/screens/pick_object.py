"""The picker of the objects that a serving consists of, which is up to date while it is open."""

from __future__ import annotations

from servedeck.cluster.resources import SECRET, Resource
from servedeck.detail.detail_service import ObjectWatch
from servedeck.detail.object_watch import ObjectQuery
from servedeck.detail.serving_object_refs import (
    ServingObjectRef,
    list_object_refs,
    object_queries,
)
from servedeck.detail.workloads import as_deployment, workload_resource
from servedeck.fleet.views import NamespacedName
from servedeck.serving.spec.mapping.json_values import JsonObject
from tui.ports.serving_source import SourceChanges
from tui.screens.pick import Choice, PickScreen


class ObjectPicker(PickScreen):
    """Its result is the title of the object, "Pod/llama-6b8f-9qk2x"; None for none."""

    def __init__(self, key: NamespacedName, selected_title: str) -> None:
        super().__init__(f"Objects of {key}", [], selected_title)
        self._key = key
        self._selected_title = selected_title
        self._is_selected = False
        """Whether the cursor was put on the object that is shown."""
        self._deployment_watch: ObjectWatch | None = None
        self._watches: dict[ObjectQuery, ObjectWatch] = {}

    def on_mount(self) -> None:
        self._deployment_watch = self._open(
            ObjectQuery(workload_resource(self._key), self._key.namespace, self._key.name)
        )
        self._update()
        super().on_mount()  # draws the choices, and puts the cursor on the one that is shown

    async def on_unmount(self) -> None:
        for watch in (self._deployment_watch, *self._watches.values()):
            if watch is not None:
                await watch.close()

    def on_changes(self, changes: SourceChanges) -> None:
        if self._key in changes.keys:
            self._update()

    def _open(self, query: ObjectQuery) -> ObjectWatch | None:
        return self.app_context.detail_service.watch_objects(query, self._update)

    def _update(self) -> None:
        """List the objects that are known now."""
        newest = self._deployment_watch.newest if self._deployment_watch is not None else None
        deployment = as_deployment(newest.value) if newest is not None else None
        self._open_watches(deployment)
        found = {query.resource: watch.objects for query, watch in self._watches.items()}
        view = self.app_context.source.fleet.view(self._key)
        refs = list_object_refs(self._key, view, deployment, found)
        choices = [_choice(ref) for ref in refs]
        # InferencePools are of two API groups.
        notes: dict[str, Choice] = {}
        for query, watch in self._watches.items():
            if reason := watch.missing_permission:
                notes.setdefault(query.resource.kind, _note(query.resource, reason))
        choices += notes.values()
        if not self._is_settled:
            choices.append(Choice("loading", "Loading…", disabled_reason="Not all are listed yet."))
        self.set_choices(choices)
        if not self._is_selected and any(one.key == self._selected_title for one in choices):
            self._is_selected = True
            if self.is_mounted:
                self.table.select(self._selected_title)

    def _open_watches(self, deployment: JsonObject | None) -> None:
        """Watch what is not watched yet: the selector of the ReplicaSets is known later."""
        for query in object_queries(self._key, deployment):
            if query not in self._watches and (watch := self._open(query)) is not None:
                self._watches[query] = watch

    @property
    def _is_settled(self) -> bool:
        watches = (self._deployment_watch, *self._watches.values())
        return all(watch is not None and watch.is_settled for watch in watches)


def _choice(ref: ServingObjectRef) -> Choice:
    reason = "Secrets are not shown." if ref.kind == SECRET.kind else ""
    return Choice(ref.title, ref.title, ref.detail, ref.name, reason)


def _note(resource: Resource, reason: str) -> Choice:
    """What is said of a kind that may not be listed."""
    return Choice(f"missing {resource.kind}", resource.kind, disabled_reason=reason)
