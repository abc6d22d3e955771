"""`servedeck tasks NAME watch`: the changes of tasks as they happen, without a hole."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TextIO

from servedeck.async_queue.errors import NoSuchTaskError, UnreachableError
from servedeck.async_queue.queue_api import (
    FeedChanges,
    FeedMessage,
    FeedReset,
    QueueApi,
    QueueChanged,
    StoreLost,
    TaskQuery,
)
from servedeck.async_queue.task_window import Order, feed_order
from servedeck.async_queue.tasks import MAX_READ, FeedEvent, TaskState
from servedeck.cluster.watch.backoff import Backoff, ReflectorConfig
from servedeck.commands.output import write_lines
from servedeck.commands.tasks_queue import with_queue
from servedeck.commands.tasks_text import event_json, format_moment
from servedeck.commands.wait import parse_timeout

_RETRIES = ReflectorConfig(retry_delay=(0.5, 10.0))

Sleep = Callable[[float], Awaitable[None]]


class TaskWatch:
    """Prints the changes of all tasks, or of some until they have ended. After a connection that
    was lost it goes on where it was."""

    def __init__(
        self,
        api: QueueApi,
        ids: Sequence[str],
        *,
        out: TextIO | None,
        err: TextIO,
        as_json: bool = False,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`ids`: those of the only tasks; all if empty. `out`: None prints no changes."""
        self._api = api
        self._ids = tuple(dict.fromkeys(ids))
        self._left = set(self._ids)
        """Those that have not ended."""
        self._states: dict[str, tuple[TaskState | None, int]] = {}
        """State and attempt of each of the tasks, as it was printed last."""
        self._out, self._err = out, err
        self._as_json = as_json
        self._sleep = sleep
        self._cursor = ""
        self._read_until: Order = ()
        """End of the feed after the tasks were read: what was read has some of the events before
        it, and which ones the feed does not say."""
        self._waiting: list[FeedEvent] = []
        """Events of the tasks from before it, until all of them have come."""
        self._problem = ""
        """What was reported last."""

    def is_over(self) -> bool:
        """Whether all of the tasks have ended."""
        return bool(self._ids) and not self._left

    @property
    def all_completed(self) -> bool:
        """Whether all of the tasks have completed."""
        return all(self._states.get(id, (None, 0))[0] is TaskState.COMPLETED for id in self._ids)

    async def run_for(self, seconds: float) -> bool:
        """Run for so long (0: without a limit); whether it is over."""
        try:
            async with asyncio.timeout(seconds or None):
                await self.run()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Until all of the tasks have ended; without an end if none are named. Raises
        NoSuchTaskError for one that is not stored, and AsyncQueueError but for what passes."""
        backoff = Backoff(_RETRIES, random.Random(), asyncio.get_running_loop().time)  # noqa: S311
        self._cursor = await self._read_tasks(is_first=True)
        while not self.is_over():
            try:
                async with aclosing(self._api.follow(self._cursor)) as messages:  # type: ignore[type-var]
                    async for message in messages:
                        backoff.reset()
                        await self._take(message)
                        if self.is_over():
                            return
            except UnreachableError as error:
                self._report(f"{error} Retrying.")
            await self._sleep(backoff.next_delay())

    async def _take(self, message: FeedMessage) -> None:
        if isinstance(message, StoreLost):
            self._report(message.message)
            return
        self._problem = ""
        if isinstance(message, FeedChanges):
            self._waiting += [
                one for one in message.events if not self._ids or one.id in self._states
            ]
            self._cursor = message.cursor
            if feed_order(message.cursor) >= self._read_until:
                self._print_waiting()
            if self._out is not None:
                self._out.flush()
        elif isinstance(message, FeedReset):
            if not self._ids:
                self._report("Changes were lost, as they are no longer kept.")
                self._cursor = message.cursor
            else:
                self._waiting.clear()
                await self._read_tasks()
                self._cursor = message.cursor
        else:
            assert isinstance(message, QueueChanged)

    async def _read_tasks(self, *, is_first: bool = False) -> str:
        """Print the states of the tasks that differ from what is known; the cursor of the feed from
        before they were read."""
        if not self._ids:
            return (await self._api.list_tasks(TaskQuery(), limit=1)).feed
        cursor = ""
        for first in range(0, len(self._ids), MAX_READ):
            ids = self._ids[first : first + MAX_READ]
            page = await self._api.read_tasks(ids)
            cursor = cursor or page.feed
            found = {one.id: one for one in page.items}
            for id in ids:
                task = found.get(id)
                if task is None and is_first:
                    raise NoSuchTaskError(f"There is no task {id}.")
                known = self._states.get(id, (None, 0))
                state, attempt = (task.state, task.attempt) if task else (None, known[1])
                if is_first or (state, attempt) != known:
                    self._print(
                        FeedEvent(
                            cursor="", id=id, state=state, attempt=attempt, time=page.time or 0.0
                        )
                    )
        end = (await self._api.list_tasks(TaskQuery(), limit=1)).feed
        self._read_until = feed_order(end)
        return cursor

    def _print_waiting(self) -> None:
        """Print events, of each task those after the one that made it what was read."""
        known: dict[str, int] = {}
        for number, event in enumerate(self._waiting):
            is_before_end = feed_order(event.cursor) <= self._read_until
            if is_before_end and self._states.get(event.id) == (event.state, event.attempt):
                known[event.id] = number
        for number, event in enumerate(self._waiting):
            if number > known.get(event.id, -1):
                self._print(event)
        self._waiting.clear()
        self._read_until = ()

    def _print(self, event: FeedEvent) -> None:
        if self._ids:
            before = self._states.get(event.id, (None, 0))[0]
            # A completed task that was deleted later did complete.
            state = event.state or (before if before and before.is_final else None)
            self._states[event.id] = (state, event.attempt)
            if state is None or state.is_final:
                self._left.discard(event.id)
            else:
                self._left.add(event.id)
        if self._out is None:
            return
        if self._as_json:
            self._out.write(json.dumps(event_json(event), separators=(",", ":")) + "\n")
            return
        state_text = event.state.value if event.state else "deleted"
        attempt = f"attempt {event.attempt}" if event.attempt else ""
        write_lines(self._out, f"{format_moment(event.time)} {event.id} {state_text} {attempt}")

    def _report(self, problem: str) -> None:
        """Report once why nothing is printed; the watch goes on."""
        if problem != self._problem:
            write_lines(self._err, f"servedeck: {problem}")
        self._problem = problem


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    seconds = parse_timeout(args.timeout)

    async def watch(api: QueueApi, _: str) -> int:
        command = TaskWatch(
            api, args.ids, out=sys.stdout, err=sys.stderr, as_json=args.output == "json"
        )
        if not await command.run_for(seconds) and args.ids:
            write_lines(sys.stderr, f"servedeck: the tasks have not ended within {args.timeout}.")
            return 1
        return 0 if command.all_completed else 1

    return with_queue(args, watch)
