"""What the tests of `servedeck tasks` share: a queue in memory, and what a command printed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, cast

from servedeck.async_queue.queue_api import QueueApi, TaskQuery
from servedeck.async_queue.tasks import (
    TaskAction,
)
from servedeck.commands.tasks import (
    ListPrinter,
    list_tasks,
)
from servedeck.commands.tasks_change import ChangeOptions, ChangeRunner
from servedeck.commands.tasks_watch import TaskWatch
from tests.async_queue.fake_queue import FakeQueue, FakeQueueApi
from tests.commands.test_async_queue import Prompt

ALL = TaskQuery()
HOSTILE = "\x1b[31m[red]evil\r\n\x07\u202e"


class Output(io.StringIO):
    """Text, and bytes that were written beside it; a terminal if it is one."""

    def __init__(self, *, is_terminal: bool = False) -> None:
        super().__init__()
        self._is_terminal = is_terminal
        self.buffer = io.BytesIO()

    def isatty(self) -> bool:
        return self._is_terminal

    def clear(self) -> None:
        self.seek(0)
        self.truncate()

    @property
    def lines(self) -> list[str]:
        return self.getvalue().splitlines()


class Rig:
    """A queue in memory, and what a command printed."""

    def __init__(self) -> None:
        self.queue = FakeQueue()
        self.fake = FakeQueueApi(self.queue)
        self.api = cast(QueueApi, self.fake)
        self.out, self.err = Output(), Output()

    async def list(
        self,
        query: TaskQuery = ALL,
        limit: int = 100,
        output: str = "text",
        *,
        oldest_first: bool = False,
        show_headers: bool = True,
    ) -> None:
        printer = ListPrinter("chat/llama", output, self.out, show_headers=show_headers)
        code = await list_tasks(
            self.api, query, limit, printer, self.err, oldest_first=oldest_first
        )
        assert code == 0

    def watch(self, ids: Sequence[str] = (), **options: Any) -> TaskWatch:
        return TaskWatch(self.api, ids, out=self.out, err=self.err, **options)

    async def change(
        self,
        action: TaskAction,
        targets: Sequence[str] | TaskQuery,
        *answers: str,
        **options: bool,
    ) -> int:
        self.prompt = Prompt(*answers)
        runner = ChangeRunner(
            self.api, ChangeOptions(action, targets, **options), self.prompt, self.out, self.err
        )
        return await runner.run()
