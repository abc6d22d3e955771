"""Background work of screens and panes."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Protocol

from textual.dom import DOMNode
from textual.worker import Worker

from tui.internals.textual_private import get_worker_task

__all__ = ["ActionRunner", "Worker", "run_exclusive"]


class ActionRunner(Protocol):
    """A screen that runs the actions of the registry."""

    async def action_do(self, action_id: str, *arguments: str) -> None: ...


def run_exclusive(node: DOMNode, work: Coroutine[None, None, None], group: str) -> Worker[None]:
    """Run `work` as a worker of a screen or widget, in place of the previous one of the group."""
    worker = node.run_worker(
        work, name=group, group=group, exclusive=True, exit_on_error=False, description=group
    )
    if (task := get_worker_task(worker)) is not None:
        # Python warns about a coroutine that is canceled before it starts.
        task.add_done_callback(lambda _task: work.close())
    return worker
