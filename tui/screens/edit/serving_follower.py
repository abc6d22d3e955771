"""Follows the serving that a form edits: it is read again as soon as somebody changes it.

The list has the Deployment. Its other objects are watched here, each by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine

from servedeck.cluster.http.errors import ClusterError
from servedeck.detail.detail_service import ObjectWatch
from servedeck.detail.object_watch import ObjectQuery
from servedeck.fleet.views import NamespacedName
from servedeck.serving.conventions import DESCRIPTION_ANNOTATION, OBJECTIVES_ANNOTATION
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.objects.records import Deployment
from servedeck.serving.spec.mapping.json_values import as_int, as_mapping, as_str
from servedeck.serving.text import sanitize
from tui.ports.change_service import ChangeService
from tui.ports.serving_source import ServingViews
from tui.screens.edit.related_objects import RelatedObjectsWatch


class ServingFollower:
    """The serving as it was read last."""

    def __init__(
        self,
        key: NamespacedName,
        read: ImportedServing,
        change_service: ChangeService,
        *,
        get_deployment: Callable[[], Deployment | None],
        watch_objects: Callable[[ObjectQuery, Callable[[], None]], ObjectWatch | None],
        start_worker: Callable[[Coroutine[None, None, None]], object],
        on_read: Callable[[ImportedServing], object],
        on_error: Callable[[str], object],
    ) -> None:
        """`get_deployment` returns the Deployment of the list; `watch_objects` starts to watch, and
        calls its second argument after changes; `on_read` is called with a newer serving, which it
        gives to `advance`; `on_error` with a sentence."""
        self.read = read
        self._key = key
        self._change_service = change_service
        self._get_deployment = get_deployment
        self._start_worker = start_worker
        self._on_read = on_read
        self._on_error = on_error
        self._watches = RelatedObjectsWatch(key, watch_objects, self.read_if_changed)
        self._is_reading = False
        self._seen_metadata: tuple[object, ...] = ()
        """Labels, description and objectives of the list when they were compared last."""

    def start(self) -> None:
        """Start to watch the objects besides the Deployment."""
        self._watches.watch(self.read)

    @property
    def is_watching(self) -> bool:
        """Whether the objects besides the Deployment are watched."""
        return self._watches.is_open

    @property
    def is_current(self) -> bool:
        """Whether the serving is as the list and the watches have it, and all of them are
        complete."""
        return (
            not self._is_reading
            and self._get_deployment() is not None
            and self._watches.is_complete
        )

    async def close(self) -> None:
        """Watch nothing any more."""
        await self._watches.close()

    def read_if_changed(self) -> None:
        """Read the serving if the list has a newer one."""
        deployment = self._get_deployment()
        if self._is_reading or deployment is None:
            return
        metadata = deployment.metadata
        is_newer = metadata.uid != _uid(self.read) or metadata.generation > _generation(self.read)
        annotations = metadata.annotations
        seen = (metadata.labels, annotations.description, annotations.objectives)
        if seen != self._seen_metadata:  # they do not change the generation
            is_newer = is_newer or not has_metadata(deployment, self.read)
        self._seen_metadata = seen
        if is_newer or self._watches.has_changed(self.read):
            self._is_reading = True
            self._start_worker(self._read_again())

    async def _read_again(self) -> None:
        try:
            read = await self._change_service.import_serving(self._key)
        except ClusterError as error:
            self._seen_metadata = ()
            self._watches.forget_seen()
            self._on_error(f"The serving changed and cannot be read: {error}")
        else:
            self._on_read(read)
        finally:
            self._is_reading = False

    def advance(self, read: ImportedServing) -> ImportedServing | None:
        """Make it the serving as it was read last; returns the one before it, None if `read` is an
        older one."""
        before = self.read
        if _uid(read) == _uid(before):
            is_older = _generation(read) < _generation(before)
        else:
            deployment = self._get_deployment()
            is_older = deployment is not None and deployment.metadata.uid == _uid(before)
        if is_older:
            return None
        self.read = read
        self._watches.watch(read)
        return before


def has_metadata(deployment: Deployment, read: ImportedServing) -> bool:
    """Whether the Deployment of the list has the labels, the description and the objectives of one
    that was read."""
    metadata = as_mapping(read.objects.deployment, "metadata")
    labels = {
        sanitize(key): sanitize(str(value)) for key, value in as_mapping(metadata, "labels").items()
    }
    texts = as_mapping(metadata, "annotations")
    description, objectives = (
        sanitize(as_str(texts.get(name)) or "")
        for name in (DESCRIPTION_ANNOTATION, OBJECTIVES_ANNOTATION)
    )
    listed, annotations = deployment.metadata, deployment.metadata.annotations
    found = (listed.labels, annotations.description, annotations.objectives)
    return found == (labels, description, objectives)


def is_replaced(before: ImportedServing, now: ImportedServing) -> bool:
    """Whether the Deployment was deleted and created again under the same name."""
    return _uid(before) != _uid(now)


def _uid(read: ImportedServing) -> object:
    return as_mapping(read.objects.deployment, "metadata").get("uid")


def _generation(read: ImportedServing) -> int:
    return as_int(as_mapping(read.objects.deployment, "metadata").get("generation")) or 0


def listed_version(fleet: ServingViews, key: NamespacedName) -> str:
    """The resourceVersion of the Deployment in the list, "" for none."""
    now = fleet.deployment(key)
    return now.metadata.resource_version if now is not None else ""


def listed_autoscaler(fleet: ServingViews, key: NamespacedName) -> str:
    """The autoscaler of the serving in the list, "" for none."""
    view = fleet.view(key)
    return view.autoscaler if view is not None else ""
