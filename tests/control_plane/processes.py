"""Server processes on loopback that terminate with the test run, however it ends."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_PARENT_DEATH_WRAPPER = """
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent has gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


def find_binary(name: str) -> str | None:
    """Path of a server binary, by envtest's convention: TEST_ASSET_<NAME>, KUBEBUILDER_ASSETS or
    the PATH."""
    override = os.environ.get("TEST_ASSET_" + name.upper().replace("-", "_"))
    if override:
        return override
    candidate = Path(os.environ.get("KUBEBUILDER_ASSETS") or "/usr/local/kubebuilder/bin") / name
    return str(candidate) if candidate.exists() else shutil.which(name)


class ReservedPort:
    """A loopback port for a server that cannot choose a free one itself. Nothing listens on
    it, and no other test run chooses it until `close`.

    It is below the ephemeral port range: it stays free while a server restarts, and no client
    connects to itself.
    """

    def __init__(self) -> None:
        while True:
            self.number = random.randrange(15000, 32000)
            self._reservation = _reserve_port(self.number)
            if self._reservation is not None:
                with socket.socket() as probe, contextlib.suppress(OSError):
                    probe.bind(("127.0.0.1", self.number))
                    return
                self.close()

    def close(self) -> None:
        if self._reservation is not None:
            self._reservation.close()


def _reserve_port(port: int) -> socket.socket | None:
    """A name that one process at a time can bind, released by the system when the process ends;
    None if another process has it."""
    name = f"servedeck-test-port-{port}"
    if sys.platform != "linux":
        return socket.socket()  # no such names there; the caller retries the server start
    held = socket.socket(socket.AF_UNIX)
    try:
        held.bind("\0" + name)
    except OSError:
        held.close()
        return None
    return held


class ProcessSpawner:
    """Starts processes that the system kills when this one ends (Linux only; elsewhere the
    caller ends them).

    The kernel's parent-death signal follows the *thread* that forked, so a single thread, which
    runs as long as the spawner exists, starts them all.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spawner")

    def start(
        self, argv: list[str], log: Path, env: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start `argv` with its output appended to `log`, in a separate session."""
        return self._thread.submit(self._start, argv, log, env).result()

    def _start(
        self, argv: list[str], log: Path, env: dict[str, str] | None
    ) -> subprocess.Popen[bytes]:
        wrapped = [sys.executable, "-I", "-S", "-c", _PARENT_DEATH_WRAPPER, str(os.getpid()), *argv]
        with log.open("ab") as output:
            return subprocess.Popen(
                wrapped,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )

    def close(self) -> None:
        self._thread.shutdown()


def terminate(
    process: subprocess.Popen[bytes], signal_number: signal.Signals, kill_after: float = 5
) -> None:
    """Send a signal and wait for the exit; SIGKILL after `kill_after` seconds."""
    if process.poll() is None:
        process.send_signal(signal_number)
        try:
            process.wait(kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
