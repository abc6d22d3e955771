"""From a serving to the form with the limits of its async queue, and undoing a change of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from servedeck.changes.operations.operation import Outcome
from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName
from servedeck.serving.async_limits import value_of
from tui.async_queue.change_reason import (
    production_text,
    refresh_permissions,
    turn_on_disabled_reason,
)
from tui.ports.app_context import LimitsUndo, Undoable

if TYPE_CHECKING:
    from servedeck.changes.async_queue.plan import AsyncQueueResult
    from servedeck.serving.async_limits import AsyncQueueSettings
    from tui.ports.async_queue_service import AsyncQueueService, LimitValues
    from tui.screens.base import ActionScreen

PERMISSION_TIMEOUT = 2.0
"""Seconds to wait for the permissions; after that the dry run reports what is missing."""


def open_limits(
    screen: ActionScreen[Any],
    key: NamespacedName,
    on_done: Callable[[str, str], object],
    *,
    focused: str = "",
) -> None:
    """Show the limits of a queue that is on, with the cursor on the one that `focused` names, and
    change them after the plan is confirmed. `on_done` takes a message and its style name."""
    screen.start_worker(
        _open_limits(screen, key, on_done, focused),
        "async queue limits",
        busy_label="Reading the limits of the async queue",
    )


async def _open_limits(
    screen: ActionScreen[Any],
    key: NamespacedName,
    on_done: Callable[[str, str], object],
    focused: str,
) -> None:
    from tui.screens.async_queue_limits_editor import LimitsEditor

    app = screen.app_context
    if (service := await _permitted_service(screen, key)) is None:
        return
    try:
        current = await service.read_limits(key)
    except ClusterError as error:
        screen.show_message(f"The limits of {key} cannot be read: {error}", "error", 20)
        return
    if current is None:
        screen.show_message("The async queue is off, so that it has no limits.", "warning")
        return
    undo: list[LimitsUndo] = []

    def planned(changes: LimitValues, seen: AsyncQueueSettings) -> None:
        undo[:] = [_undo_of(key, changes, seen)]

    def closed(result: Any) -> None:
        if result is not None:
            _finish(screen, result, on_done, undo[0] if undo else None)

    editor = LimitsEditor(
        key,
        current,
        service,
        focused=focused,
        context=app.source.context,
        warning=production_text(app),
        on_planned=planned,
    )
    screen.app.push_screen(editor, closed)


async def _permitted_service(
    screen: ActionScreen[Any], key: NamespacedName
) -> AsyncQueueService | None:
    """None, with a message, if the limits cannot be changed."""
    service = screen.app_context.async_queue_service
    with suppress(TimeoutError):
        async with asyncio.timeout(PERMISSION_TIMEOUT):
            await refresh_permissions(screen.app_context, key)
    if reason := turn_on_disabled_reason(screen.app_context, key):
        screen.show_message(reason, "warning")
        return None
    return service


def _undo_of(key: NamespacedName, changes: LimitValues, seen: AsyncQueueSettings) -> LimitsUndo:
    before = tuple((name, value_of(seen, name)) for name, _ in changes)
    return LimitsUndo(key, before, replace(seen, **dict(changes)))


def _finish(
    screen: ActionScreen[Any],
    result: AsyncQueueResult,
    on_done: Callable[[str, str], object],
    undo: LimitsUndo | None,
) -> None:
    """Say what was done, and keep what undoes it."""
    app = screen.app_context
    if result.outcome is not Outcome.DONE:
        on_done(result.message, "error")
        return
    app.undoable = Undoable()
    text = result.message
    if undo is not None:
        app.undoable = Undoable(app.source.context, limits=undo)
        text = f"{text} {app.key_display_for('serving.undo')} undoes it."
    on_done(text, "ready")


# -- undo ---------------------------------------------------------------------------------------


def undo_limits(screen: ActionScreen[Any]) -> None:
    """Show the plan that puts back the last change of limits, and do it if that is confirmed."""
    screen.start_worker(_undo(screen), "async queue limits", busy_label="Reading the limits")


async def _undo(screen: ActionScreen[Any]) -> None:
    from tui.screens.async_queue_on import AsyncQueueLimitsPlan

    app = screen.app_context
    undo = app.undoable.limits
    if undo is None or (service := await _permitted_service(screen, undo.key)) is None:
        return

    def closed(result: AsyncQueueResult | None) -> None:
        if result is not None:
            back = _undo_of(undo.key, undo.changes, undo.seen)
            _finish(screen, result, screen.show_message, back)

    dialog = AsyncQueueLimitsPlan(
        undo.key,
        service,
        changes=undo.changes,
        seen=undo.seen,
        context=app.source.context,
        warning=production_text(app),
    )
    screen.app.push_screen(dialog, closed)
