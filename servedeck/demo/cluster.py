"""The demo cluster as a whole: API server, controllers and story in one process of its own.

What is heavy is imported when it is used: the screen imports this module to start the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import gc
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from servedeck.paths import expanded

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from servedeck.demo.api.server import ApiServer
    from servedeck.demo.clock import Clock
    from servedeck.demo.controllers import Controllers
    from servedeck.demo.scenario.scenario import Story
    from servedeck.demo.store.store import Store

_PREFIX = "servedeck-demo-"
_LOCKED_WITHIN = 3600.0
"""Seconds within which a directory has its lock, if it will ever have one."""
_START_LIMIT = 30.0
_END_LIMIT = 5.0
_FORCE_AFTER = 1.0
"""Seconds from the end of the parent to that of a demo whose event loop hangs."""
_SAVE_PERIOD = 0.5
"""Seconds between two looks whether there is something to save, which takes about 5 ms."""
_CATCH_UP = 3600.0
"""Seconds that a saved cluster lives through when it is taken up again; longer it slept."""
_NOTE = ("kube-system", "servedeck-demo")
"""ConfigMap in which a saved state keeps the demo's own time and seed."""
_PR_SET_PDEATHSIG = 1


class DemoError(RuntimeError):
    """The demo could not start; str() is one sentence that says why."""

    exit_code = 1


class OptionError(DemoError):
    """What was asked for makes no sense."""

    exit_code = 2


class ServeOptions(Protocol):
    """What `servedeck demo serve` was asked for."""

    port: int
    state: str | None
    seed: int
    speed: float


class DemoCluster:
    """A running demo cluster: `async with DemoCluster() as demo:`.

    `kubeconfig` is a file that only the user can read, in a directory that is removed at the end.
    `port` 0 takes a free one. `state`: a file that the cluster is taken up from, if it exists, and
    saved to as it changes; it is locked meanwhile. `live=False`: the clock stands still and nothing
    happens but what is done to it.
    Raises DemoError where it cannot start, and at the end where the state cannot be saved.
    """

    store: Store
    clock: Clock
    controllers: Controllers
    story: Story

    def __init__(
        self,
        *,
        seed: int = 0,
        speed: float = 1.0,
        port: int = 0,
        state: Path | None = None,
        live: bool = True,
    ) -> None:
        self._seed = seed
        self._speed = speed
        self._port = port
        self._state = state
        self._live = live
        self._saved = 0
        self._server: ApiServer | None = None
        self._saver: asyncio.Task[None] | None = None
        self._directory: _Directory | None = None
        self._lock: _StateLock | None = None
        self.url = ""

    @property
    def kubeconfig(self) -> Path:
        assert self._directory is not None, "the demo has not started"
        return self._directory.path / "kubeconfig"

    async def __aenter__(self) -> Self:
        if self._state is not None:
            self._lock = _StateLock(self._state)
        try:
            await self._start()
        except BaseException:
            self._unlock()
            raise
        return self

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()

    async def _start(self) -> None:
        from servedeck.demo.api import access
        from servedeck.demo.api.server import ApiServer
        from servedeck.demo.clock import Clock
        from servedeck.demo.controllers import Controllers
        from servedeck.demo.scenario.scenario import Story
        from servedeck.demo.store.store import Store
        from servedeck.demo.workloads.runtime import Runtime

        now = time.time()
        self.clock = Clock(Story.beginning(now), speed=self._speed)
        self.store = Store(self.clock, seed=self._seed)
        self.controllers = Controllers(self.store, self.clock, self._seed)
        self.story = Story(self.store, self.clock, self.controllers, self._seed)
        runtime = Runtime(self.controllers.kubelet, self.clock)
        users = [access.admin(), access.viewer(), access.namespace_admin("chat")]
        self._server = ApiServer(self.store, runtime, users, port=self._port)
        if self._state is not None and self._state.exists():
            self._take_up(self._state, now)
        else:
            self.story.open(now)
        if self._live:
            self.story.live()
            self.clock.run()
        try:
            self.url = await self._server.start()
        except OSError as error:
            self.clock.stop()
            raise DemoError(
                f"The demo cannot listen on port {self._port} ({error.strerror or error}); "
                "choose another with --port."
            ) from error
        self._directory = _Directory()
        # JSON is YAML too
        self._directory.write("kubeconfig", json.dumps(self._server.kubeconfig(), indent=2))
        if self._state is not None:
            self._saver = asyncio.create_task(self._save_often())

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.clock.stop()
        try:
            if self._saver is not None:
                self._saver.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._saver
            if self._server is not None:
                await self._server.stop()
            self.save()
        except OSError as failure:
            raise DemoError(self._unsaved(failure)) from failure
        finally:
            if self._directory is not None:
                self._directory.remove()
            self._unlock()

    def save(self) -> None:
        """Writes the state file, if there is one and something changed. OSError if it cannot."""
        if self._state is None or self.store.version == self._saved:
            return
        from servedeck.demo.resources import CONFIGMAPS

        note = {"time": str(self.clock.time()), "seed": str(self._seed)}
        meta = {"namespace": _NOTE[0], "name": _NOTE[1]}
        if self.store.find(CONFIGMAPS, *_NOTE) is None:
            self.store.create(CONFIGMAPS, {"metadata": meta, "data": note})
        else:
            self.store.update(CONFIGMAPS, {"metadata": meta, "data": note})
        self.store.dump(self._state)
        self._saved = self.store.version

    def _take_up(self, state: Path, now: float) -> None:
        from servedeck.demo.clock import Clock
        from servedeck.demo.resources import CONFIGMAPS

        try:
            self.store.load(state)
            note = self.store.find(CONFIGMAPS, *_NOTE) or {"data": {"time": now}}
            saved = float(note["data"]["time"])
        except (OSError, ValueError, KeyError) as error:
            raise DemoError(f"The demo's state cannot be read: {error}.") from error
        begin = Clock(max(saved, now - _CATCH_UP)).time()
        self.clock.run_until(begin)
        self.controllers.resync()
        self.clock.run_until(max(begin, now))

    async def _save_often(self) -> None:
        told = False
        while True:
            await asyncio.sleep(_SAVE_PERIOD)
            try:
                self.save()
                told = False
            except OSError as error:
                # told once: the folder may come back, the disk may be emptied
                if not told:
                    sys.stderr.write(f"servedeck: {self._unsaved(error)}\n")
                told = True

    def _unsaved(self, error: OSError) -> str:
        reason = error.strerror or error
        return f"The demo's state cannot be saved to {self._state}: {reason}."


class _StateLock:
    """Keeps a second demo from the same state file; the kernel frees it however the process ends.
    It is a file beside the state, which is replaced at every save. Raises DemoError."""

    def __init__(self, state: Path) -> None:
        place = state.resolve()
        self._path = place.with_name(f"{place.name}.lock")
        while True:
            try:
                self._file = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
            except OSError as error:
                reason = error.strerror or error
                raise DemoError(
                    f"The demo's state cannot be kept in {state}: {reason}; name another file."
                ) from error
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(self._file)
                raise DemoError(
                    f"Another demo keeps its state in {state}; end that one or name another file."
                ) from error
            if self._is_there():
                return
            os.close(self._file)  # whoever held it took it away between our two steps

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file), self._path.stat())
        except OSError:
            return False

    def release(self) -> None:
        if self._is_there():
            with contextlib.suppress(OSError):  # a lock file that stays is free all the same
                self._path.unlink()
        os.close(self._file)


class _Directory:
    """A directory for one demo's files. The lock on it says that the demo is alive, so that one
    whose process was killed before it could clean up is removed by the next that starts."""

    def __init__(self) -> None:
        _sweep()
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        # locked before it has its name: whoever finds the name finds it locked
        draft = self.path / "lock.new"
        self._lock = os.open(draft, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        draft.rename(self.path / "lock")

    def write(self, name: str, text: str) -> None:
        flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
        with os.fdopen(os.open(self.path / name, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _sweep() -> None:
    """Removes what demos left that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # another user's, or one that goes at this moment, is none of ours
        with contextlib.suppress(OSError):
            there = path.lstat()
            if there.st_uid != os.getuid() or not stat.S_ISDIR(there.st_mode):
                continue
            try:
                descriptor = os.open(path / "lock", os.O_RDWR)
            except FileNotFoundError:
                # killed before it had its lock, or it is about to have one
                if time.time() - there.st_mtime > _LOCKED_WITHIN:
                    shutil.rmtree(path, ignore_errors=True)
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)


# -- as a process of its own --------------------------------------------------------------------


class Process:
    """The demo as a child process that ends when this process does, however it ends.

    It starts at once; `kubeconfig()` waits until the cluster serves. `end()` stops it.
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
        """None while it runs; 0 when it ended by itself, negative when it had to be killed."""
        return self._child.poll()

    def kubeconfig(self) -> Path:
        """Waits for the cluster. DemoError when it does not come up."""
        if self._path is None:
            assert self._child.stdout is not None and self._child.stderr is not None
            with _alarm(self._child):
                line = self._child.stdout.readline().decode().strip()
            if not line:
                words = self._child.stderr.read().decode(errors="replace").strip()
                self.end()
                reason = words.splitlines()[-1] if words else "it ended without a word"
                raise DemoError(f"The demo cluster did not start: {reason}")
            self._path = Path(line)
        return self._path

    def end(self) -> None:
        """Ends the demo and removes what it wrote; may be called twice."""
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1
        try:
            self._child.wait(_END_LIMIT)
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
    *, seed: int = 0, speed: float = 1.0, meanwhile: Callable[[], object] = lambda: None
) -> Iterator[Path]:
    """A demo cluster in a child process; yields its kubeconfig. DemoError if it does not start.

    `meanwhile` is done while the child starts, which takes about half a second.
    """
    process = Process(seed=seed, speed=speed)
    try:
        meanwhile()
        yield process.kubeconfig()
    finally:
        process.end()


def child(arguments: list[str]) -> int:
    """The child's side of `Process`: pipe of the parent, its process id, seed, speed."""
    pipe, parent, seed = (int(text) for text in arguments[:3])
    return asyncio.run(_child(pipe, parent, seed, float(arguments[3])))


async def _child(pipe: int, parent: int, seed: int, speed: float) -> int:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    files: list[Path] = []
    _watch(pipe, parent, lambda: loop.call_soon_threadsafe(over.set), files)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    _end_with(parent, loop, over)
    # garbage of a start-up is little, and looking for it takes a tenth of it
    gc.disable()
    async with DemoCluster(seed=seed, speed=speed) as demo:
        files.append(demo.kubeconfig.parent)
        gc.collect()
        gc.freeze()
        gc.enable()
        sys.stdout.write(f"{demo.kubeconfig}\n")
        sys.stdout.flush()
        _quiet(demo.kubeconfig.parent / "log")
        await over.wait()
    return 0


def _end_with(parent: int, loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
    """On Linux, a signal at the parent's death besides the pipe. The kernel sends it at the end of
    the thread that started us, too, so the parent is looked for before it counts."""

    def orphaned(number: int, frame: FrameType | None) -> None:
        if os.getppid() != parent:
            loop.call_soon_threadsafe(over.set)

    signal.signal(signal.SIGHUP, orphaned)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGHUP)
    if os.getppid() != parent:
        over.set()


def _watch(pipe: int, parent: int, end: Callable[[], object], files: list[Path]) -> None:
    """Call `end` when nobody holds the pipe's other end, to which the parent never writes. Where
    the parent is dead and that does not help, remove the files and end the process. A thread does
    it: the controllers can keep the event loop busy for many seconds."""

    def run() -> None:
        os.read(pipe, 1)
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            end()
        time.sleep(_FORCE_AFTER)
        while os.getppid() == parent:  # which waits for us, and kills us when it no longer does
            time.sleep(_FORCE_AFTER)
        for path in files:
            shutil.rmtree(path, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=run, name="parent", daemon=True).start()


def _quiet(log: Path) -> None:
    """From now on warnings go into a file: nobody reads the pipes any longer."""
    descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


@contextlib.contextmanager
def _alarm(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kills the child when it takes too long, which ends the wait for its word."""
    timer = threading.Timer(_START_LIMIT, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


# -- servedeck demo serve -------------------------------------------------------------------------


def serve(args: ServeOptions) -> int:
    """`servedeck demo serve`: keeps a cluster until it is interrupted; its exit status."""
    try:
        return asyncio.run(_serve(args))
    except DemoError as error:
        sys.stderr.write(f"servedeck: {error}\n")
        return error.exit_code


def _state_file(text: str) -> Path:
    path = expanded(Path(text))
    if not path.parent.is_dir():
        raise OptionError(f"There is no directory {path.parent} for the state; make it first.")
    return path


async def _serve(args: ServeOptions) -> int:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, over.set)
    if not 0 < args.speed < float("inf"):
        raise OptionError(f"The speed must be above 0, not {args.speed:g}.")
    if not 0 <= args.port <= 65535:
        raise OptionError(f"The port must lie between 0 and 65535, not {args.port}.")
    state = _state_file(args.state) if args.state else None
    async with DemoCluster(seed=args.seed, speed=args.speed, port=args.port, state=state) as demo:
        sys.stdout.write(
            f"The demo cluster serves {demo.url} until you press Ctrl+C. In another terminal:\n"
            f"export KUBECONFIG={demo.kubeconfig}\n"
        )
        sys.stdout.flush()
        await over.wait()
    return 0
