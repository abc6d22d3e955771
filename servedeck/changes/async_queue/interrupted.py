"""What a command that is interrupted says of an async queue that it had closed or emptied."""

from __future__ import annotations

from servedeck.changes.async_queue.state import gateway_refs
from servedeck.cluster.write_log import note_effect
from servedeck.serving.text import format_count


class QueueNotes:
    """Of one queue. Each is noted before the request, as "may be", since its response may not come
    any more."""

    def __init__(self, namespace: str, serving: str) -> None:
        self._target = f"{namespace}/{serving}"
        self._queue = f"the async queue of {self._target}"
        refs = gateway_refs(namespace, serving)
        self._gateway = next(str(one) for one in refs if one.kind == "Deployment")

    def closed(self, *, is_certain: bool) -> None:
        """It accepts no task, until it is opened or its gateway is deleted."""
        text = (
            f"The async queue of {self._target} {'is' if is_certain else 'may be'} closed, so that "
            f"it accepts no task: servedeck async-queue on {self._target} opens it."
        )
        note_effect(f"closed {self._target}", text, unless_deleted=self._gateway)

    def opened(self) -> None:
        note_effect(f"closed {self._target}", "")

    def cancelled(self, count: int | None) -> None:
        """So many tasks were cancelled; None while it is not known."""
        text = f"Tasks of {self._queue} may be cancelled."
        if count is not None:
            text = f"Cancelled: {format_count(count, 'task')} of {self._queue}." if count else ""
        note_effect(f"cancelled {self._target}", text)

    def forgotten(self, *, is_certain: bool) -> None:
        """What is stored of tasks that ended is deleted."""
        text = (
            f"What was stored of ended tasks of {self._queue} {'is' if is_certain else 'may be'} "
            "deleted."
        )
        note_effect(f"forgotten {self._target}", text)

    def kept(self) -> None:
        """Nothing of what is stored is deleted."""
        note_effect(f"forgotten {self._target}", "")

    def done(self) -> None:
        """All that was to be done is done: nothing is noted any more."""
        self.opened()
        self.cancelled(0)
        self.kept()
