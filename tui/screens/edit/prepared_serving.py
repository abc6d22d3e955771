"""The serving of a page, read before its form is opened: the form then waits for no answer of the
API server."""

from __future__ import annotations

from collections.abc import Callable, Coroutine

from servedeck.detail.detail_service import ObjectWatch
from servedeck.detail.object_watch import ObjectQuery
from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.objects.records import Deployment
from tui.ports.change_service import ChangeService
from tui.screens.edit.serving_follower import ServingFollower


class PreparedServing:
    """A serving that is kept up to date by the list and by watches of its Services and routes."""

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
    ) -> None:
        """As for a `ServingFollower`; `on_read` is also called with the first one, `read`."""
        self.key = key
        self._follower = ServingFollower(
            key,
            read,
            change_service,
            get_deployment=get_deployment,
            watch_objects=watch_objects,
            start_worker=start_worker,
            on_read=self._advance,
            on_error=lambda _: self._note_failure(),
        )
        self._on_read = on_read
        self._has_failed = False

    def start(self) -> None:
        """Start to watch."""
        self._follower.start()
        self._on_read(self._follower.read)

    async def close(self) -> None:
        """Watch nothing any more."""
        await self._follower.close()

    def read_if_changed(self) -> None:
        """Read the serving if the list has a newer one."""
        if not self._has_failed:
            self._follower.read_if_changed()

    def _advance(self, read: ImportedServing) -> None:
        if self._follower.advance(read) is not None:
            self._on_read(read)
            self.read_if_changed()

    def _note_failure(self) -> None:
        self._has_failed = True

    def take(self) -> ImportedServing | None:
        """The serving as it is now; None if that is not known without a request."""
        self.read_if_changed()
        is_current = self._follower.is_current and not self._has_failed
        return self._follower.read if is_current else None
