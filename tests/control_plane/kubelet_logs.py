"""The kubelet's endpoint for container logs: `/containerLogs/<namespace>/<pod>/<container>`.

Sources: kubernetes pkg/kubelet/server/server.go (`getContainerLogs`), pkg/kubelet/kubelet_pods.go
(`GetKubeletContainerLogs`, `validateContainerLogStatus`) and
pkg/kubelet/kuberuntime/kuberuntime_container.go (`GetContainerLogs`).
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple

from tests.control_plane.kubelet_log_files import InstanceLog, LogChunk, LogOptions, LogReader

DEFAULT_CONTAINER = "inference-server"
_IDLE_CHECK_SECONDS = 1.0
"""How often a stream without new lines looks whether its client is still there."""
_instance_numbers = itertools.count(1)


class LogError(NamedTuple):
    """An answer in place of a log."""

    status: int
    text: str


@dataclass
class _Cut:
    """The end of a response after a number of bytes of the log."""

    remaining: int
    is_clean: bool


class _ResponseEndedError(Exception):
    """The response ended early, as a test requested."""


class ContainerLog:
    """The log of one container of a Pod, its current and its previous instance, and what goes wrong
    with it on request. The container runs from the beginning. Threads may share it.

    Lines are bytes, or text that is encoded as UTF-8 (surrogates are the bytes they stand for).
    """

    def __init__(self, pod: str, name: str, zone: tzinfo = UTC) -> None:
        self._pod = pod
        self._name = name
        self._zone = zone
        self._changed = threading.Condition()
        self._current: InstanceLog | None = self._new_instance()
        self._previous: InstanceLog | None = None
        self._waiting_reason = ""
        self._errors: deque[LogError] = deque()
        self._cuts: deque[_Cut] = deque()
        self._generation = 0
        """Increased when all open responses are to end."""
        self._ends_cleanly = True
        self._readers: set[LogReader] = set()
        self.requests: list[Mapping[str, str]] = []
        """Query strings of the requests so far."""
        self.open_count = 0
        """Responses in progress."""

    def _new_instance(self) -> InstanceLog:
        return InstanceLog(f"containerd://{next(_instance_numbers):064x}", self._zone)

    # -- what the container does ---------------------------------------------------------------

    def write(
        self,
        *lines: str | bytes,
        at: int | Sequence[int] | None = None,
        previous: bool = False,
    ) -> None:
        """Append complete lines to the current or the previous instance. `at`: time of all, or of
        each, in nanoseconds of Unix time (None: now). A container that is not running starts."""
        texts = [_encode(line) for line in lines]
        if at is None:
            stamps: Sequence[int] = [time.time_ns() for _ in texts]
        else:
            stamps = [at] * len(texts) if isinstance(at, int) else at
        with self._changed:
            self._writable(previous).append(texts, stamps)
            self._changed.notify_all()

    def write_partial(self, text: str | bytes, *, at: int | None = None) -> None:
        """Append text that does not end with a newline: the part of a long line, or the last words
        of a container. What is written next continues the line."""
        with self._changed:
            instance = self._writable(False)
            instance.append_partial(_encode(text), time.time_ns() if at is None else at)
            self._changed.notify_all()

    def write_chunk(self, chunk: LogChunk) -> None:
        """Append lines that are encoded already, in UTC."""
        with self._changed:
            self._writable(False).append_chunk(chunk)
            self._changed.notify_all()

    def rotate(self) -> None:
        """Begin a new file. Running followers continue in it; other readers see only the new
        one."""
        with self._changed:
            self._writable(False).rotate()
            self._changed.notify_all()

    def finish(self) -> None:
        """The container exits and is not restarted: the log remains that of the current
        instance, and followers end after its last line."""
        with self._changed:
            if self._current:
                self._current.ended = True
            self._changed.notify_all()

    def crash(self) -> None:
        """The container exits and waits for its restart: its log is now the previous one, which the
        kubelet also returns as the current one. Of earlier instances nothing remains."""
        with self._changed:
            self._end_current()
            self._waiting_reason = "CrashLoopBackOff"
            self._changed.notify_all()

    def restart(self) -> None:
        """The container exits, unless it has, and the next instance starts."""
        with self._changed:
            self._end_current()
            self._current, self._waiting_reason = self._new_instance(), ""
            self._changed.notify_all()

    def wait_to_start(self, reason: str) -> None:
        """The container has never run; `reason` as in the status of the container."""
        with self._changed:
            self._current, self._previous, self._waiting_reason = None, None, reason

    def remove_previous(self) -> None:
        """The container runtime has removed the previous instance, with its log; the status still
        names it."""
        with self._changed:
            if self._previous:
                self._previous.is_removed = True

    @property
    def unread_chunks(self) -> int:
        """Chunks of the current file that a response in progress has not sent yet; of several
        responses, the one that has sent least. All if there is none."""
        with self._changed:
            total = len(self._current.file.chunks) if self._current else 0
            return max((reader.unread_chunks for reader in self._readers), default=total)

    @property
    def line_count(self) -> int:
        """Complete lines that the current instance has written."""
        with self._changed:
            return self._current.line_count if self._current else 0

    def _end_current(self) -> None:
        if self._current:
            self._current.ended = True
            self._previous, self._current = self._current, None

    def _writable(self, previous: bool) -> InstanceLog:
        if previous:
            if self._previous is None:
                self._previous = self._new_instance()
                self._previous.ended = True
            return self._previous
        if self._current is None or self._current.ended:
            self._end_current()
            self._current, self._waiting_reason = self._new_instance(), ""
        return self._current

    # -- what goes wrong -----------------------------------------------------------------------

    def fail(self, status: int, text: str, *, times: int = 1) -> None:
        """Answer the next requests with an error."""
        with self._changed:
            self._errors.extend([LogError(status, text)] * times)

    def cut_after(self, byte_count: int, *, clean: bool = False) -> None:
        """End the response that sends this many more bytes of the log, in the middle of a line
        perhaps: abruptly, or `clean`, as if it were complete. Several calls act one after another;
        responses that are open at the same time count together."""
        with self._changed:
            self._cuts.append(_Cut(byte_count, clean))
            self._changed.notify_all()

    @property
    def pending_cuts(self) -> int:
        """Cuts of `cut_after` that no response has met yet."""
        with self._changed:
            return len(self._cuts)

    def cancel_cuts(self) -> int:
        """Forget the cuts that no response has met; returns how many."""
        with self._changed:
            count = len(self._cuts)
            self._cuts.clear()
            return count

    def cut_all(self, *, clean: bool = False) -> None:
        """End all responses in progress now."""
        with self._changed:
            self._generation += 1
            self._ends_cleanly = clean
            self._changed.notify_all()

    # -- the endpoint --------------------------------------------------------------------------

    def serve(self, handler: BaseHTTPRequestHandler, query: Mapping[str, str]) -> None:
        """Answer one request."""
        with self._changed:
            self.requests.append(query)
            answer = self._errors.popleft() if self._errors else self._open(query)
            generation = self._generation
        if isinstance(answer, LogError):
            send_error(handler, answer)
            return
        instance, options = answer
        handler.send_response(200)
        handler.send_header("Content-Type", "text/plain")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        with self._changed:
            self.open_count += 1
        try:
            if instance.is_removed:
                # The status 200 has been sent before the runtime is asked, so that the error
                # becomes the body (kubelet_pods.go, "Do a zero-byte write to stdout").
                text = f"unable to retrieve container logs for {instance.container_id}"
                _send_chunk(handler, text.encode())
            else:
                self._send_log(handler, instance, options, generation)
            handler.wfile.write(b"0\r\n\r\n")
        except (OSError, _ResponseEndedError):
            # The client has disconnected, or the response is to end without its last chunk.
            handler.close_connection = True
            with contextlib.suppress(OSError):
                handler.connection.shutdown(socket.SHUT_RDWR)
        finally:
            with self._changed:
                self.open_count -= 1

    def _open(self, query: Mapping[str, str]) -> tuple[InstanceLog, LogOptions] | LogError:
        try:
            options = LogOptions.parse(query)
        except ValueError:
            return LogError(400, '{"message": "Unable to decode query."}')
        instance = self._select_instance(options.previous)
        return instance if isinstance(instance, LogError) else (instance, options)

    def _select_instance(self, previous: bool) -> InstanceLog | LogError:
        """`validateContainerLogStatus`: which instance a request gets, or why none."""
        where = f'"{self._name}" in pod "{self._pod}"'
        if previous:
            return self._previous or LogError(
                400, f"previous terminated container {where} not found"
            )
        if instance := self._current or self._previous:
            return instance
        reason = {
            "ErrImagePull": "image can't be pulled",
            "ImagePullBackOff": "trying and failing to pull image",
        }.get(self._waiting_reason, self._waiting_reason)
        return LogError(400, f"container {where} is waiting to start: {reason}")

    def _send_log(
        self,
        handler: BaseHTTPRequestHandler,
        instance: InstanceLog,
        options: LogOptions,
        generation: int,
    ) -> None:
        with self._changed:
            reader = LogReader(instance, options)
            self._readers.add(reader)
        try:
            self._send_lines(handler, instance, options, reader, generation)
        finally:
            with self._changed:
                self._readers.discard(reader)

    def _send_lines(
        self,
        handler: BaseHTTPRequestHandler,
        instance: InstanceLog,
        options: LogOptions,
        reader: LogReader,
        generation: int,
    ) -> None:
        while True:
            with self._changed:
                data = reader.read()
                is_over = not options.follow or instance.ended or reader.is_done
                if generation != self._generation:
                    if self._ends_cleanly:
                        return
                    raise _ResponseEndedError
                cut = self._take_cut(len(data))
                if not data and not is_over and cut is None:
                    self._changed.wait(_IDLE_CHECK_SECONDS)
            if cut is not None:
                _send_chunk(handler, data[: cut.remaining])
                if cut.is_clean:
                    return
                raise _ResponseEndedError
            if data:
                _send_chunk(handler, data)
            elif is_over:
                return
            elif select.select([handler.connection], [], [], 0)[0]:
                raise _ResponseEndedError  # a client sends nothing but the end of its connection

    def _take_cut(self, byte_count: int) -> _Cut | None:
        """The cut that falls into the next bytes, which is then done."""
        if not self._cuts:
            return None
        if self._cuts[0].remaining <= byte_count:
            return self._cuts.popleft()
        self._cuts[0].remaining -= byte_count
        return None


class KubeletLogs:
    """The logs of all containers. `zone`: the time zone of the nodes."""

    def __init__(self, zone: tzinfo = UTC) -> None:
        self.zone = zone
        self._lock = threading.Lock()
        self._containers: dict[tuple[str, str, str], ContainerLog] = {}

    def container(
        self, namespace: str, pod: str, container: str = DEFAULT_CONTAINER
    ) -> ContainerLog:
        """The log of a container; of one that was not named before, an empty one."""
        key = namespace, pod, container
        with self._lock:
            if key not in self._containers:
                self._containers[key] = ContainerLog(pod, container, self.zone)
            return self._containers[key]

    def cut_all(self, *, clean: bool = True) -> None:
        """End all responses in progress, `clean` as if they were complete."""
        with self._lock:
            containers = list(self._containers.values())
        for container in containers:
            container.cut_all(clean=clean)


def send_error(handler: BaseHTTPRequestHandler, error: LogError) -> None:
    """An answer in plain text; the API server makes a Status of it."""
    data = error.text.encode()
    handler.send_response(error.status)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def _send_chunk(handler: BaseHTTPRequestHandler, data: bytes) -> None:
    if data:
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))


def _encode(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
