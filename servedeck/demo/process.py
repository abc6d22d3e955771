"""The demo cluster as a child process.

The screen imports this module to start the child; only the child imports the cluster itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from servedeck.demo.errors import DemoError

if TYPE_CHECKING:
    from types import FrameType

_START_LIMIT_SECONDS = 30.0
_END_LIMIT_SECONDS = 5.0
_FORCED_EXIT_SECONDS = 1.0
"""From the end of the parent to that of a child whose event loop hangs."""
_PR_SET_PDEATHSIG = 1


class DemoProcess:
    """A demo cluster in a child process, which never outlives this process.

    The child starts with the object; `kubeconfig()` waits until the cluster serves requests.
    """

    def __init__(self, *, seed: int = 0, speed: float = 1.0) -> None:
        reader, self._writer = os.pipe()
        try:
            command = [sys.executable, "-P", "-m", "servedeck.demo", str(reader), str(os.getpid())]
            self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*command, str(seed), str(speed)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(reader,),
                start_new_session=True,
            )
        except OSError as error:
            os.close(self._writer)
            raise DemoError(f"The demo's process cannot start: {error}.") from error
        finally:
            os.close(reader)
        self._path: Path | None = None

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs, 0 after a regular exit, negative where it had to be killed."""
        return self._child.poll()

    def kubeconfig(self) -> Path:
        """Waits for the cluster; its kubeconfig file. DemoError where it does not start."""
        if self._path is None:
            assert self._child.stdout is not None and self._child.stderr is not None
            with _kill_after_start_limit(self._child):
                line = self._child.stdout.readline().decode().strip()
            if not line:
                output = self._child.stderr.read().decode(errors="replace").strip()
                self.end()
                reason = output.splitlines()[-1] if output else "it exited without a message"
                raise DemoError(f"The demo cluster did not start: {reason}")
            self._path = Path(line)
        return self._path

    def end(self) -> None:
        """Ends the child and removes its files; may be called twice."""
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1
        try:
            self._child.wait(_END_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        for stream in (self._child.stdout, self._child.stderr):
            if stream is not None:
                stream.close()
        if self._path is not None:
            shutil.rmtree(self._path.parent, ignore_errors=True)


@contextlib.contextmanager
def spawn(
    *, seed: int = 0, speed: float = 1.0, while_starting: Callable[[], object] = lambda: None
) -> Iterator[Path]:
    """A demo cluster in a child process; yields its kubeconfig. DemoError if it does not start.

    `while_starting` is called while the child starts, which takes about half a second.
    """
    process = DemoProcess(seed=seed, speed=speed)
    try:
        while_starting()
        yield process.kubeconfig()
    finally:
        process.end()


def run_child(arguments: list[str]) -> int:
    """The child's side of `DemoProcess`: the pipe, the parent's process id, seed and speed."""
    pipe, parent, seed = (int(text) for text in arguments[:3])
    return asyncio.run(_run(pipe, parent, seed, float(arguments[3])))


async def _run(pipe: int, parent: int, seed: int, speed: float) -> int:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    files: list[Path] = []
    _watch_pipe(pipe, parent, lambda: loop.call_soon_threadsafe(stop.set), files)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _watch_parent(parent, loop, stop)
    # a start leaves little garbage, and collecting it takes a tenth of the start
    gc.disable()
    from servedeck.demo.cluster import DemoCluster

    async with DemoCluster(seed=seed, speed=speed) as demo:
        files.append(demo.kubeconfig.parent)
        gc.collect()
        gc.freeze()
        gc.enable()
        sys.stdout.write(f"{demo.kubeconfig}\n")
        sys.stdout.flush()
        _redirect_output(demo.kubeconfig.parent / "log")
        await stop.wait()
    return 0


def _watch_parent(parent: int, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Asks Linux for a signal when the parent dies, in addition to the pipe. The kernel also sends
    it when only the thread that started the child ends, so the handler checks the parent."""

    def orphaned(number: int, frame: FrameType | None) -> None:
        if os.getppid() != parent:
            loop.call_soon_threadsafe(stop.set)

    signal.signal(signal.SIGHUP, orphaned)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGHUP)
    if os.getppid() != parent:
        stop.set()


def _watch_pipe(pipe: int, parent: int, end: Callable[[], object], files: list[Path]) -> None:
    """Calls `end` when the pipe's other end is closed; the parent never writes to it. Where the
    parent is dead and the event loop does not end either, removes the files and exits. It runs in
    a thread because the controllers can keep the event loop busy for many seconds."""

    def run() -> None:
        os.read(pipe, 1)
        with contextlib.suppress(RuntimeError):  # the loop is already closed
            end()
        time.sleep(_FORCED_EXIT_SECONDS)
        while os.getppid() == parent:  # a living parent waits for the child, then kills it
            time.sleep(_FORCED_EXIT_SECONDS)
        for path in files:
            shutil.rmtree(path, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=run, name="parent", daemon=True).start()


def _redirect_output(log: Path) -> None:
    """Sends output to a file: after the start nobody reads the pipes."""
    descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


@contextlib.contextmanager
def _kill_after_start_limit(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kills a child that takes too long to start, which ends the wait for its output."""
    timer = threading.Timer(_START_LIMIT_SECONDS, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
