"""Containers of a serving that write numbered lines at a constant rate, and a node that ends them
as a kubelet does when their Pods are deleted."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from tests.control_plane import pod_statuses
from tests.control_plane.control_plane import ControlPlane, RequestError
from tests.control_plane.kubelet_logs import ContainerLog
from tests.control_plane.numbered_lines import Instance, NumberedLines

_WRITE_SECONDS = 0.02
_POLL_SECONDS = 0.2
_LAST_WORDS_SECONDS = 0.5
"""How long a container of a deleted Pod still writes."""
_REMOVAL_SECONDS = 4.0
"""How long the Pod then remains while the API server is available. A kubelet removes it after it
has reported that the containers ended, and with it their logs."""
_SERVER_ERRORS = (OSError, http.client.HTTPException, RequestError)


class _Container:
    """The container of one Pod."""

    def __init__(self, pod: dict[str, Any], log: ContainerLog, chunk_lines: int) -> None:
        self.name: str = pod["metadata"]["name"]
        self.log = log
        self.instance = 0
        self.counts: dict[Instance, int] = {}
        self.is_running = True
        self.deleted_at: float | None = None
        """When the deletion of the Pod was noticed (monotonic clock)."""
        self.ended_at: float | None = None
        """When the API server was told that the container ended."""
        self._chunk_lines = chunk_lines
        self._lines = NumberedLines(self.name, 0, chunk_lines)

    def write(self) -> int:
        """Write the next lines; returns how many."""
        chunk = self._lines.next_chunk(time.time_ns())
        self.log.write_chunk(chunk)
        self.counts[self._lines.key] = self._lines.count
        return chunk.count

    def restart(self) -> None:
        self.log.restart()
        self.instance += 1
        self._lines = NumberedLines(self.name, self.instance, self._chunk_lines)


class ServingWriter:
    """Writes `rate` lines a second from all Pods of a serving together; use as a context manager.

    The Deployment is one with `keep=True`. Pods that start join by themselves. The container of a
    deleted Pod writes its last lines, ends, and the Pod is removed.
    """

    def __init__(
        self,
        plane: ControlPlane,
        namespace: str,
        serving: str,
        rate: float,
        *,
        chunk_lines: int = 100,
    ) -> None:
        self._plane = plane
        self._namespace = namespace
        self._serving = serving
        self._rate = rate
        self._chunk_lines = chunk_lines
        self._lock = threading.Lock()
        self._containers: dict[str, _Container] = {}
        """UID of the Pod -> its container."""
        self._stopped = threading.Event()
        self._paused = threading.Event()
        self._threads = [
            threading.Thread(target=self._guard, args=(target,), daemon=True)
            for target in (self._write_lines, self._follow_pods)
        ]
        self._failure: BaseException | None = None

    def __enter__(self) -> ServingWriter:
        self._update_pods()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def stop_writing(self) -> None:
        """No line is written after this returns; Pods are still ended and removed."""
        self._paused.set()
        with self._lock:
            pass

    @property
    def written(self) -> dict[Instance, int]:
        """Lines of each container instance so far."""
        with self._lock:
            return {
                instance: count
                for container in self._containers.values()
                for instance, count in container.counts.items()
            }

    @property
    def line_count(self) -> int:
        return sum(self.written.values())

    @property
    def running_pods(self) -> list[str]:
        """Names of the Pods whose container writes."""
        with self._lock:
            return [each.name for each in self._containers.values() if each.is_running]

    @property
    def ending_pods(self) -> list[str]:
        """Names of the Pods that are deleted but not removed yet."""
        with self._lock:
            return [each.name for each in self._containers.values() if each.deleted_at is not None]

    def container_log(self, pod: str) -> ContainerLog:
        """The log of a Pod of the serving."""
        kubelet = self._plane.kubelet
        assert kubelet
        return kubelet.log(self._namespace, pod)

    def restart_container(self, pod: str, exit_code: int = 137, reason: str = "OOMKilled") -> None:
        """The container of a Pod ends and the next instance starts; the status follows."""
        with self._lock:
            (container,) = (
                each
                for each in self._containers.values()
                if each.name == pod and each.deleted_at is None
            )
            container.restart()
        status = pod_statuses.pod_status(
            "Running",
            pod_statuses.container_status(
                pod_statuses.running_state(),
                ready=True,
                restarts=container.instance,
                last=pod_statuses.terminated_state(exit_code, reason, ago=0),
            ),
            ready=True,
        )
        self._set_status(pod, status)

    def _set_status(self, pod: str, status: dict[str, Any]) -> None:
        meta = {"namespace": self._namespace, "name": pod}
        self._plane.set_pod_status({"metadata": meta}, status)

    def _guard(self, target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException as error:
            self._failure = error

    def _write_lines(self) -> None:
        started, count, turn = time.monotonic(), 0, 0
        while not self._stopped.is_set():
            with self._lock:
                running = [each for each in self._containers.values() if each.is_running]
                due = int(self._rate * (time.monotonic() - started))
                if not running or self._paused.is_set():
                    count = due  # what is not written now is not made up for
                while count < due:
                    turn += 1  # they take turns from one round to the next
                    count += running[turn % len(running)].write()
            self._stopped.wait(_WRITE_SECONDS)

    def _follow_pods(self) -> None:
        while not self._stopped.wait(_POLL_SECONDS):
            try:
                self._update_pods()
                self._end_deleted_pods()
            except _SERVER_ERRORS:
                # The API server is down: containers run on, and no Pod is removed soon after.
                with self._lock:
                    for each in self._containers.values():
                        if each.ended_at is not None:
                            each.ended_at = time.monotonic()

    def _update_pods(self) -> None:
        path = f"/api/v1/namespaces/{self._namespace}/pods"
        query = f"labelSelector=servedeck.dev/serving%3D{self._serving}"
        for pod in self._plane.request("GET", f"{path}?{query}")["items"]:
            meta = pod["metadata"]
            with self._lock:
                known = self._containers.get(meta["uid"])
                if known is None and pod["status"].get("phase") == "Running":
                    log = self.container_log(meta["name"])
                    known = _Container(pod, log, self._chunk_lines)
                    self._containers[meta["uid"]] = known
                if known and "deletionTimestamp" in meta and known.deleted_at is None:
                    known.deleted_at = time.monotonic()

    def _end_deleted_pods(self) -> None:
        with self._lock:
            deleted = [each for each in self._containers.values() if each.deleted_at is not None]
        for each in deleted:
            assert each.deleted_at is not None
            now = time.monotonic()
            if each.is_running and now - each.deleted_at >= _LAST_WORDS_SECONDS:
                with self._lock:
                    if not self._paused.is_set():
                        each.write()
                    each.is_running = False
                    each.log.finish()
            if not each.is_running and each.ended_at is None:
                state = pod_statuses.terminated_state(0, "Completed", ago=0)
                ended = pod_statuses.container_status(state, restarts=each.instance)
                self._set_status(each.name, pod_statuses.pod_status("Succeeded", ended))
                each.ended_at = now
            if each.ended_at is not None and now - each.ended_at >= _REMOVAL_SECONDS:
                self._remove(each.name)
                with self._lock:
                    each.deleted_at = None

    def _remove(self, pod: str) -> None:
        path = f"/api/v1/namespaces/{self._namespace}/pods/{pod}?gracePeriodSeconds=0"
        try:
            self._plane.request("DELETE", path)
        except RequestError as error:
            if error.status != 404:
                raise
