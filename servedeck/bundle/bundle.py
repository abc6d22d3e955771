"""Makes the incident bundle of a serving, for the command line and for a screen."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from servedeck.atomic_file import NewFile
from servedeck.bundle.archive import ArchiveEntry, ArchiveWriter, safe_part
from servedeck.bundle.description_files import (
    description_files,
    read_description,
    redact_description,
)
from servedeck.bundle.index import IndexContent, build_index
from servedeck.bundle.index_texts import describe_limits, describe_redaction, describe_warnings
from servedeck.bundle.log_files import LogSpool, StoredLog, read_log_stream
from servedeck.bundle.node_text import format_node, read_node_pods
from servedeck.bundle.objects import (
    ServingObjects,
    StoredObject,
    read_objects,
    redacted_yaml,
)
from servedeck.bundle.options import BundleOptions, LogStream, log_streams
from servedeck.bundle.reader import PARALLEL_REQUESTS, ClusterReader, Problem
from servedeck.bundle.redaction import Redactor
from servedeck.cluster.http.connection import Connection
from servedeck.detail.description import Description, ServingViews
from servedeck.fleet.views import ServingView
from servedeck.serving.spec.mapping.json_values import JsonObject
from servedeck.serving.status.timeline import TimelineEntry
from servedeck.serving.text import format_count

READ_SHARE = 0.9
OBJECT_SHARE = 0.5
"""Shares of the time limit until which anything, and objects, are read. The rest is for writing
what was read."""

OBJECT_SIZE_SHARE = 0.5
"""Share of the size limit that objects take at most, so that there is room for logs."""

MIN_LOG_BYTES = 16 << 10
"""Bytes that the logs of failing Pods leave for each of the others."""
MIN_ADDED_BYTES = 1 << 10
"""Bytes below which the end of a log is not worth its place in the archive."""
_INDEX_ROW_BYTES = 300
_INDEX_BYTES = 64 << 10
_MIN_INDEX_ROWS = 10


@dataclass(frozen=True, slots=True)
class BundleSource:
    """The serving of a bundle, and how it is read."""

    connection: Connection
    fleet: ServingViews
    view: ServingView
    timeline: Sequence[TimelineEntry]
    """What servedeck recorded of it."""
    now: datetime
    """The API server's time."""


@dataclass(frozen=True, slots=True)
class BundleProgress:
    """How far a bundle is."""

    step: str
    """What is done, "Reading logs"."""
    done: int
    total: int
    """Number of parts of the step; 0 if it is not known."""


@dataclass(frozen=True, slots=True)
class BundleResult:
    """What is in a bundle."""

    files: tuple[ArchiveEntry, ...]
    problems: tuple[Problem, ...]
    """What is missing, and why."""
    redacted_count: int
    """How many values were redacted."""
    lost: str
    """Why the API server could not be reached any more, one sentence; "" if it could."""


OnProgress = Callable[[BundleProgress], None]


def directory_name(view: ServingView, now: datetime) -> str:
    """Name of the directory in the archive, and of the archive without its suffix."""
    time = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{safe_part(view.key.namespace)}-{safe_part(view.key.name)}-{time}"


async def save_bundle(
    source: BundleSource,
    path: Path,
    options: BundleOptions,
    on_progress: OnProgress = lambda _progress: None,
    *,
    overwrite: bool = False,
) -> BundleResult:
    """Make a bundle in a file that only its owner can read. The file appears when the bundle is
    complete; there is none if the task is canceled or fails. Raises OSError if it cannot be
    written, FileExistsError if it exists and is not to be overwritten."""
    opening = asyncio.ensure_future(asyncio.to_thread(NewFile, path, overwrite=overwrite))
    try:
        file = await asyncio.shield(opening)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            (await opening).discard()
        raise
    try:
        result = await make_bundle(source, file.file, options, on_progress, file.directory)
        await asyncio.to_thread(file.commit)
    except BaseException:
        file.discard()
        raise
    return result


async def make_bundle(
    source: BundleSource,
    output: BinaryIO,
    options: BundleOptions,
    on_progress: OnProgress = lambda _progress: None,
    directory: Path | None = None,
) -> BundleResult:
    """Write a bundle to `output`, which stays open. `on_progress` is called on the event loop and
    must not block; `directory` is where long logs are kept until they are written, None for that of
    the system. Raises OSError; what the cluster does not give is a problem of the result."""
    archive = ArchiveWriter(
        output, directory_name(source.view, source.now), options.max_bytes, source.now
    )
    try:
        return await _Bundle(source, archive, options, on_progress, directory).make()
    except BaseException:
        archive.cancel()
        raise


class _Bundle:
    def __init__(
        self,
        source: BundleSource,
        archive: ArchiveWriter,
        options: BundleOptions,
        on_progress: OnProgress,
        directory: Path | None,
    ) -> None:
        self._source = source
        self._view = source.view
        self._archive = archive
        self._options = options
        self._on_progress = on_progress
        self._directory = directory
        self._reader = ClusterReader(source.connection)
        self._redactor = Redactor(_public_names(source.view))
        self._streams = log_streams(source.view.pods)

    async def make(self) -> BundleResult:
        start = asyncio.get_running_loop().time()
        reader, source = self._reader, self._source
        reader.deadline = start + self._options.timeout * OBJECT_SHARE
        rows = len(self._view.pods) * 2 + len(self._streams) * 2 + 500
        reserved = min(_INDEX_BYTES + rows * _INDEX_ROW_BYTES, self._options.max_bytes // 4)
        self._archive.reserve(reserved)
        if not self._view.pods_known:
            reader.add_problem("Pods and their logs", self._view.no_pods_text)
        self._report("Reading objects")
        objects = await read_objects(reader, self._view, self._redactor)
        self._report("Reading Events")
        description = await read_description(
            reader, self._view, source.fleet, source.timeline, source.now
        )
        description = await asyncio.to_thread(redact_description, description, self._redactor)
        files = await asyncio.to_thread(description_files, description, self._redactor, source.now)
        for path, text in files.items():
            await self._add_text(path, text)
        self._report("Reading nodes")
        await self._add_nodes(objects)
        await self._add_objects(objects)
        reader.deadline = start + self._options.timeout * READ_SHARE
        await self._add_logs()
        self._archive.reserve(-reserved)
        await self._add_index(description, objects)
        await asyncio.to_thread(self._archive.close)
        return BundleResult(
            tuple(self._archive.entries),
            tuple(reader.problems),
            self._redactor.count,
            reader.lost,
        )

    def _report(self, step: str, done: int = 0, total: int = 0) -> None:
        self._on_progress(BundleProgress(step, done, total))

    async def _add_text(self, path: str, text: str) -> None:
        """Add a file; the first lines of a text are left out where it does not fit."""
        data = text.encode("utf-8", "replace")
        if len(data) > self._archive.remaining:
            if path.endswith(".json"):
                self._reader.add_problem(path, "Left out: size limit.")
                return
            self._reader.add_problem(path, "Its first lines are left out: size limit.")
            data = data[len(data) - self._archive.remaining :]
            data = data[data.find(b"\n") + 1 :]
        await asyncio.to_thread(self._archive.add, path, data)

    # -- objects --------------------------------------------------------------------------------

    async def _add_objects(self, objects: ServingObjects) -> None:
        room = int(self._archive.remaining * OBJECT_SIZE_SHARE)
        for done, stored in enumerate(objects.stored):
            self._report("Writing objects", done, len(objects.stored))
            path = f"objects/{stored.kind}-{safe_part(stored.name)}.yaml"
            try:
                text = await asyncio.to_thread(redacted_yaml, stored, self._redactor)
            except RecursionError:
                self._reader.add_problem(path, "It is nested too deep to be written.")
                continue
            data = text.encode("utf-8", "replace")
            if len(data) > min(room, self._archive.remaining):
                self._reader.add_problem(path, "Left out: size limit.")
                continue
            await asyncio.to_thread(self._archive.add, path, data)
            room -= len(data)

    async def _add_nodes(self, objects: ServingObjects) -> None:
        lines: list[str] = []
        for stored in objects.of_kind("Node"):
            pods = await read_node_pods(self._reader, stored.name)
            lines += await asyncio.to_thread(self._node_lines, stored, pods)
        text = "\n".join(lines) or "No node is known.\n"
        await self._add_text("nodes.txt", text)

    def _node_lines(self, stored: StoredObject, pods: Sequence[JsonObject] | None) -> list[str]:
        node, _count = self._redactor.object(stored.value)
        return [*format_node(node, pods), ""]

    # -- logs -----------------------------------------------------------------------------------

    async def _add_logs(self) -> None:
        """Read the logs, a few at a time, and write them in their order: the first ones, of failing
        Pods, take what they need and leave a small part for each of the others."""
        waiting = deque(enumerate(self._streams))
        running: deque[tuple[int, asyncio.Task[StoredLog]]] = deque()
        silent_nodes: set[str] = set()
        forbidden = False
        try:
            while waiting or running:
                while waiting and len(running) < PARALLEL_REQUESTS:
                    number, stream = waiting.popleft()
                    if forbidden or stream.pod.node in silent_nodes:
                        reason = "Not requested: " + (
                            "logs may not be read."
                            if forbidden
                            else f"node {stream.pod.node} does not return logs."
                        )
                        self._reader.add_problem(f"Log of {stream.title}", reason)
                        continue
                    running.append((number, asyncio.create_task(self._read_log(number, stream))))
                if not running:
                    continue
                number, task = running.popleft()
                self._report("Reading logs", number, len(self._streams))
                log = await task
                await self._add_log(number, log)
                forbidden = forbidden or log.is_forbidden
                if log.node_is_silent:
                    silent_nodes.add(log.stream.pod.node)
        finally:
            for _number, task in running:
                task.cancel()
            await asyncio.gather(*(task for _number, task in running), return_exceptions=True)

    async def _read_log(self, number: int, stream: LogStream) -> StoredLog:
        counts = self._options.tail_bytes is None
        spool = LogSpool(self._log_limit(number), self._directory, counts=counts)
        return await read_log_stream(self._reader, stream, self._options, self._redactor, spool)

    def _log_limit(self, number: int) -> int:
        """Bytes that the log of that number may have now."""
        following = len(self._streams) - number - 1
        remaining = self._archive.remaining
        limit = max(remaining - following * MIN_LOG_BYTES, remaining // (following + 1))
        return min(limit, self._options.tail_bytes or limit)

    async def _add_log(self, number: int, log: StoredLog) -> None:
        what = f"Log of {log.stream.title}"
        reason = log.problem
        try:
            if not log.line_count:
                reason = reason or "It has no lines."
            elif (limit := self._log_limit(number)) < MIN_ADDED_BYTES:
                reason = "Left out: size limit."
            else:
                await asyncio.to_thread(self._write_log, log, limit)
        finally:
            log.spool.close()
        if reason:
            self._reader.add_problem(what, reason)
        if (dropped := log.spool.dropped_lines) and self._options.tail_bytes is None:
            count = format_count(dropped, "older line")
            self._reader.add_problem(what, f"{count} left out: size limit.")

    def _write_log(self, log: StoredLog, limit: int) -> None:
        stream = log.stream
        suffix = ".previous.log" if stream.previous else ".log"
        path = f"logs/{safe_part(stream.pod.name)}/{safe_part(stream.container.name)}{suffix}"
        content, size = log.spool.finish(limit)
        self._archive.add_stream(path, content, size)

    # -- index ----------------------------------------------------------------------------------

    async def _add_index(self, description: Description, objects: ServingObjects) -> None:
        reader, redactor = self._reader, self._redactor
        problems = await asyncio.to_thread(self._redacted_problems)
        errors = [f"{one.what}: {one.reason}" for one in problems] or ["Nothing is missing."]
        await self._add_text("errors.txt", "\n".join(errors) + "\n")
        content = IndexContent(
            description,
            reader.connection.context_name,
            self._source.now,
            describe_limits(self._options),
            self._archive.entries,
            problems,
            list(describe_warnings(reader.lost, objects.unread_secrets)),
            list(describe_redaction(redactor.count, objects.read_secrets)),
        )
        rows = 2_000
        while True:
            page = await asyncio.to_thread(build_index, content, rows)
            page = await asyncio.to_thread(redactor.mask_known, page)
            data = page.encode("utf-8", "replace")
            if len(data) <= self._archive.remaining or rows < _MIN_INDEX_ROWS:
                break
            rows //= 2
        with contextlib.suppress(ValueError):  # the rest of the bundle is worth more
            await asyncio.to_thread(self._archive.add, "index.html", data)

    def _redacted_problems(self) -> list[Problem]:
        text = self._redactor.text
        return [
            Problem(text(one.what, names=False), text(one.reason)) for one in self._reader.problems
        ]


def _public_names(view: ServingView) -> Iterator[str]:
    """Names that stay readable even if a Secret contains them."""
    yield from (view.key.namespace, view.key.name, view.key.kind)
    for pod in view.pods:
        yield from (pod.name, pod.node, *(container.name for container in pod.containers))
