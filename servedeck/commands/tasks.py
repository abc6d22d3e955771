"""`servedeck tasks NAME list`, `get` and `submit`: the asynchronous requests of a serving."""

from __future__ import annotations

import argparse
import codecs
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from servedeck.async_queue.errors import NoSuchTaskError
from servedeck.async_queue.queue_api import QueueApi, Side, TaskQuery, TestRequest
from servedeck.async_queue.tasks import QueueStatus, ResponseView, Task, TaskState
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.commands.output import write_lines
from servedeck.commands.tasks_queue import read_query, with_queue
from servedeck.commands.tasks_text import (
    TaskTable,
    detail_json,
    detail_lines,
    list_json,
    queue_line,
    task_json,
)
from servedeck.commands.tasks_watch import TaskWatch
from servedeck.commands.wait import parse_timeout
from servedeck.serving.text import format_count, sanitize

PAGE = 500
"""Tasks that are read at once."""
PART = 1 << 20
"""Bytes of a body that are read at once."""


# -- list -----------------------------------------------------------------------------------------


def run_list(args: argparse.Namespace) -> int:
    """Print tasks; returns the exit code."""
    query = read_query(args.state or "", args.filter or "")
    if args.limit < 0:
        raise CommandError("--limit is a number of tasks, or 0 for all.", USAGE_ERROR)

    async def show(api: QueueApi, name: str) -> int:
        printer = ListPrinter(name, args.output, sys.stdout, show_headers=not args.no_headers)
        return await list_tasks(
            api, query, args.limit, printer, sys.stderr, oldest_first=args.oldest_first
        )

    return with_queue(args, show)


class ListPrinter:
    """Prints tasks page by page, so that none are held."""

    def __init__(self, name: str, output: str, out: TextIO, *, show_headers: bool = True) -> None:
        self.name = name
        self._is_json = output == "json"
        self._out = out
        self._table = TaskTable(wide=output == "wide")
        self._show_headers = show_headers
        self._end = ""
        self._has_items = False

    def begin(self, status: QueueStatus, err: TextIO) -> None:
        if not self._is_json:
            write_lines(err, f"servedeck: {queue_line(self.name, status)}")
            return
        whole = json.dumps(list_json(self.name, status), indent=2)
        head, _, self._end = whole.rpartition("[]")
        self._out.write(f"{head}[")

    def add(self, tasks: Sequence[Task], now: float) -> None:
        if not tasks:
            return
        if self._is_json:
            for task in tasks:
                text = json.dumps(task_json(task, now), indent=2).replace("\n", "\n    ")
                self._out.write(f"{',' if self._has_items else ''}\n    {text}")
                self._has_items = True
        else:
            header = self._show_headers and not self._has_items
            for line in self._table.lines(tasks, now, header=header):
                self._out.write(f"{line}\n")
        self._has_items = True
        self._out.flush()

    def end(self) -> bool:
        """Whether there was any."""
        if self._is_json:
            between = "\n  " if self._has_items else ""
            self._out.write(f"{between}]{self._end}\n")
        self._out.flush()
        return self._has_items


async def list_tasks(
    api: QueueApi,
    query: TaskQuery,
    limit: int,
    printer: ListPrinter,
    err: TextIO,
    *,
    oldest_first: bool,
) -> int:
    """Print the tasks that match, at most `limit` (0: all)."""
    # Before anything is printed: a gateway of an earlier version cannot be asked for tasks.
    status, after, left = await api.queue_status(), "", limit
    page = await api.list_tasks(query, limit=min(left or PAGE, PAGE), oldest_first=oldest_first)
    printer.begin(status, err)
    while True:
        printer.add(page.items, page.time or 0.0)
        left -= len(page.items)
        after = page.next
        if not after or (limit and left <= 0):
            break
        page = await api.list_tasks(
            query,
            after=after,
            limit=min(left if limit else PAGE, PAGE),
            oldest_first=oldest_first,
        )
    if not printer.end():
        write_lines(err, f"No tasks found in {printer.name}.")
    elif after:
        shown = format_count(limit, "task")
        write_lines(err, f"servedeck: {shown} shown, and there may be more; --limit 0 shows all.")
    return 0


# -- get ------------------------------------------------------------------------------------------


def run_get(args: argparse.Namespace) -> int:
    """Print a task, or one of its bodies; returns the exit code."""
    if args.side and args.output == "json":
        raise CommandError(f"--{args.side} prints the body as it is; leave out -o.", USAGE_ERROR)

    async def show(api: QueueApi, _: str) -> int:
        if args.side:
            await write_body(api, args.id, Side(args.side), sys.stdout)
        else:
            await print_task(api, args.id, args.output, sys.stdout)
        return 0

    return with_queue(args, show)


async def print_task(api: QueueApi, id: str, output: str, out: TextIO) -> None:
    task = await api.task_detail(id)
    attempts = await api.attempts(id)
    request = await api.request_head(id)
    response: ResponseView | None = None
    if task.state.is_final:
        try:
            response = await api.response_head(id)
        except NoSuchTaskError:
            response = None
    now = (await api.queue_status()).time or task.created
    if output == "json":
        out.write(json.dumps(detail_json(task, attempts, request, response, now), indent=2) + "\n")
    else:
        write_lines(out, *detail_lines(task, attempts, request, response, now))


async def write_body(api: QueueApi, id: str, side: Side, out: TextIO) -> None:
    """Write a body as it is, by parts; on a terminal as text without what controls it. Raises
    NoSuchTaskError if there is none."""
    if side is Side.RESPONSE:
        await api.response_head(id)  # says so if there is none
    is_terminal = out.isatty()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    first = 0
    out.flush()
    while True:
        part = await api.read_body(id, side, first, PART)
        first += len(part.data)
        is_last = not part.data or first >= part.size
        if is_terminal:
            out.write(sanitize(decoder.decode(part.data, is_last)))
        else:
            out.buffer.write(part.data)
            out.buffer.flush()
        if is_last:
            break
    if is_terminal:
        out.write("\n")
        out.flush()


# -- submit ---------------------------------------------------------------------------------------


def run_submit(args: argparse.Namespace) -> int:
    """Submit a request; returns the exit code."""
    headers = [_read_header(one) for one in args.header]
    seconds = parse_timeout(args.timeout)
    request = TestRequest(args.method.upper(), args.path, headers, read_body(args.data))

    async def submit(api: QueueApi, _: str) -> int:
        id = await api.submit(request)
        if not args.wait:
            text = json.dumps({"id": id}) if args.output == "json" else id
            write_lines(sys.stdout, text)
            return 0
        write_lines(sys.stderr, f"servedeck: submitted {id}")
        return await wait_for_response(api, id, seconds, sys.stdout, sys.stderr)

    return with_queue(args, submit, is_write=True)


async def wait_for_response(
    api: QueueApi, id: str, seconds: float, out: TextIO, err: TextIO
) -> int:
    """Print the response of a task when it has ended; 1 if it did not complete."""
    watch = TaskWatch(api, [id], out=None, err=err)
    if not await watch.run_for(seconds):
        write_lines(err, f"servedeck: task {id} has not ended yet; its result is kept.")
        return 1
    task = await api.task_detail(id)
    if task.status is not None:
        await write_body(api, id, Side.RESPONSE, out)
    if task.state is TaskState.COMPLETED:
        return 0
    why = task.message or "no reason given"
    write_lines(err, f"servedeck: task {id} is {task.state.value}: {why}")
    return 1


def _read_header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise CommandError(f"-H {text!r} is no header; write 'Name: value'.", USAGE_ERROR)
    return name.strip(), value.strip()


def read_body(text: str) -> bytes:
    """As curl's -d: the text itself, @FILE, or - for standard input."""
    if text in ("-", "@-"):
        return sys.stdin.buffer.read()
    if not text.startswith("@"):
        return os.fsencode(text)  # also bytes that are no text
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise CommandError(f"Cannot read {text[1:]}: {error.strerror}.", USAGE_ERROR) from error
