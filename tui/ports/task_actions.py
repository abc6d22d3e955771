"""What the tab Async Queue can have done to tasks and to their queue. Dialogs ask where that is
needed; tests bring their own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from servedeck.async_queue.queue_api import QueueApi, TaskQuery
    from servedeck.async_queue.tasks import QueueStatus, Task, TaskAction
    from servedeck.fleet.views import NamespacedName


class TaskActions(Protocol):
    def disabled_reason(self) -> str:
        """Why nothing can be changed, in a sentence; "" if it can."""

    def start(
        self,
        action: TaskAction,
        tasks: Sequence[Task],
        *,
        asks: bool = False,
        not_listed: Collection[str] = (),
    ) -> None:
        """Do it to these tasks; with `asks` a question names them first in any case. `not_listed`
        are the ids of those that the list does not have: their state is not known."""

    def start_matching(self, action: TaskAction, query: TaskQuery, count: int | None) -> None:
        """Do it to all that match, `count` if that is known."""

    def retry_all_failed(self, failed: int | None) -> None: ...

    def purge_pending(self, pending: int | None) -> None: ...

    def pause_or_resume(self, status: QueueStatus) -> None: ...

    def change_concurrency(self, status: QueueStatus) -> None: ...

    def submit_test(self, task: Task | None) -> None:
        """Edit and submit a request, at first that of `task`, or an example."""

    def turn_on(self) -> None:
        """Turn the queue on, or update its gateway."""

    def change_limits(self) -> None:
        """Change the limits of a queue that is on."""


class TaskActionsFactory(Protocol):
    def __call__(
        self,
        key: NamespacedName,
        api: QueueApi,
        *,
        now: Callable[[], float],
        on_done: Callable[[str, str], bool],
    ) -> TaskActions:
        """Actions on the queue of a serving. `now` is the time that ages in a filter refer to, by
        the clock of the store; `on_done` shows what was done, a sentence in its style, where
        it was asked for; it returns False if that is closed."""
