"""The progress of a serving that was just created or changed, below the list."""

from __future__ import annotations

from collections.abc import Callable

from servedeck.fleet.rollout_progress import is_rollout_complete
from servedeck.fleet.views import NamespacedName, ServingView
from widgets.rollout_progress import RolloutProgressView

PROGRESS_HIDE_DELAY = 20.0
"""Seconds that the progress of a complete serving stays to be read."""


class NewServingProgress(RolloutProgressView):
    """Follows a serving until it is complete, deleted or hidden."""

    def __init__(
        self,
        find_view: Callable[[NamespacedName], ServingView | None],
        *,
        on_appeared: Callable[[NamespacedName], None],
    ) -> None:
        """`on_appeared` is called once, as soon as `find_view` knows the new serving."""
        super().__init__()
        self._find_view = find_view
        self._on_appeared = on_appeared
        self._pending_key: NamespacedName | None = None
        """The new serving, until the list has it."""
        self._hiding_key: NamespacedName | None = None
        """The complete serving whose progress is about to be hidden."""

    def start(self, key: NamespacedName, *, is_new: bool = False) -> None:
        """Show the progress of a serving, which was just created or changed."""
        self._pending_key = key if is_new else None
        self.follow(key)
        self.update_progress()

    def update_progress(self) -> None:
        """Update the progress; called with every change of the list."""
        key = self.key
        if key is None:
            return
        view = self._find_view(key)
        if view is not None and self._pending_key == key:
            self._pending_key = None
            self._on_appeared(key)
        if view is None and self._pending_key is None:
            self.follow(None)  # deleted
            return
        self.set_view(view)
        if view is not None and is_rollout_complete(view) and self._hiding_key != key:
            self._hiding_key = key
            self.set_timer(PROGRESS_HIDE_DELAY, lambda: self._hide_completed(key))

    def hide(self) -> bool:
        """Hide the progress; False where none was shown."""
        shown = self.key is not None
        self.follow(None)
        return shown

    def _hide_completed(self, key: NamespacedName) -> None:
        """Hide the progress where the serving is still complete."""
        self._hiding_key = None
        view = self._find_view(key)
        if self.key == key and view is not None and is_rollout_complete(view):
            self.follow(None)
