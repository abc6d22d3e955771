"""A real Valkey or Redis for tests: started on a free port in a folder of its own, killed,
stopped, and cut from its power."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.control_plane.processes import ProcessSpawner, ReservedPort, terminate
from tests.waiting import WAIT_SECONDS, wait_until_sync

NAMES = ("valkey-server", "redis-server")
MIN_VERSION = 7
_SHIM = Path(__file__).with_name("fsync_shim.c")
_MANIFEST = Path(__file__).parents[2] / "deploy" / "valkey" / "valkey.yaml"


@cache
def find_server() -> tuple[str, str]:
    """Path of a server that has functions, or "" and why there is none. The environment variable
    SERVEDECK_VALKEY names one; "none" is for a run without."""
    wish = os.environ.get("SERVEDECK_VALKEY", "")
    if wish == "none":
        return "", "no Valkey (SERVEDECK_VALKEY is none)"
    for name in (wish,) if wish else NAMES:
        path = shutil.which(name)
        if path is None:
            continue
        run = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
        version = re.search(r"v=(\d+)\.", run.stdout)
        if version and int(version[1]) >= MIN_VERSION:
            return path, ""
    return "", f"no {wish or ' or '.join(NAMES)} of version {MIN_VERSION} or newer"


def require_valkey() -> str:
    """Path of the server; skips the test without one, or fails it where SERVEDECK_REQUIRE_SERVERS
    is 1."""
    path, reason = find_server()
    if path:
        return path
    if os.environ.get("SERVEDECK_REQUIRE_SERVERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def build_shim(folder: Path) -> Path:
    """fsync_shim.c, compiled; skips the test without a C compiler."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or os.uname().sysname != "Linux":
        pytest.skip("no C compiler for the power cut")
    library = folder / "fsync_shim.so"
    subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", "-o", library, _SHIM, "-ldl"],
        check=True,
        capture_output=True,
    )
    return library


class ValkeyServer:
    """Runs until `close`. With `shim`, from build_shim(), its power can be cut. Its append-only
    file is repaired before each start as that of deploy/valkey is, unless it `repairs` nothing."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        fsync: str = "always",
        shim: Path | None = None,
        port: int | None = None,
        repairs: bool = True,
    ) -> None:
        self._path = require_valkey()
        self._folder = folder
        self._notes = folder / "synced"
        self._notes.mkdir(parents=True)
        self._fsync, self._shim = fsync, shim
        self.options: Sequence[str] = options
        self._repairs = repairs
        self._spawner = ProcessSpawner()
        self._reserved = ReservedPort()
        self.port = port or self._reserved.number
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"valkey://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def start(self, *, wait: bool = True) -> None:
        """Returns when it answers; without `wait`, at once."""
        if self._repairs and (self._folder / "appendonlydir").exists():
            self.repair()
        argv = [
            *(self._path, "--port", str(self.port), "--bind", "127.0.0.1"),
            *("--dir", str(self._folder), "--save", "", "--daemonize", "no"),
            *("--appendonly", "yes", "--appendfsync", self._fsync),
            *("--enable-debug-command", "yes"),
            *self.options,
        ]
        env = dict(os.environ)
        if self._shim is not None:
            env |= {"LD_PRELOAD": str(self._shim), "FSYNC_NOTES": str(self._notes)}
        self._process = self._spawner.start(argv, self._folder / "log", env)
        if wait:
            wait_until_sync(self._answers, f"an answer of the server; it said: {self.log[-2000:]}")

    def repair(self) -> str:
        """Run the script of deploy/valkey; returns what it says."""
        wrapper = self._folder / "bin" / "valkey-check-aof"
        if not wrapper.exists():
            # It comes with the server, and is of the same name.
            tool = self._path.removesuffix("-server") + "-check-aof"
            assert Path(tool).exists(), f"{tool} is missing beside the server"
            wrapper.parent.mkdir()
            wrapper.write_text(f'#!/bin/sh\nexec "{tool}" "$@"\n')
            wrapper.chmod(0o755)
        config = next(yaml.safe_load_all(_MANIFEST.read_text(encoding="utf-8")))
        env = os.environ | {
            "DATA": str(self._folder),
            "PATH": f"{wrapper.parent}:{os.environ['PATH']}",
        }
        run = subprocess.run(
            ["sh", "-c", config["data"]["repair.sh"]],
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        return run.stdout + run.stderr

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log[-2000:]
        reply = self.ask("PING")
        # one that asks for a password is ready too
        return reply.startswith(("+PONG", "-NOAUTH"))

    def ask(self, *command: str) -> str:
        """The beginning of the raw answer to a command, on a connection of its own."""
        parts = [f"${len(part.encode())}\r\n{part}\r\n" for part in command]
        with socket.create_connection(("127.0.0.1", self.port), WAIT_SECONDS) as connection:
            connection.sendall(f"*{len(parts)}\r\n{''.join(parts)}".encode())
            return connection.recv(1 << 20).decode(errors="replace")

    def kill(self) -> None:
        assert self._process is not None
        terminate(self._process, signal.SIGKILL)

    def restart(self) -> None:
        """kill -9, and a new start with the append-only file."""
        self.kill()
        self.start()

    def cut_power(self) -> int:
        """kill -9, and drop what no fsync covers; returns how many bytes that were."""
        assert self._shim is not None
        self.kill()
        dropped = 0
        for file in self._folder.glob("appendonlydir/*.incr.aof"):
            note = self._notes / file.name
            kept = int(note.read_text()) if note.exists() else 0
            dropped += file.stat().st_size - kept
            os.truncate(file, kept)
        return dropped

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """It holds its connections, and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        if self._process is not None:
            terminate(self._process, signal.SIGKILL)
        self._spawner.close()
        self._reserved.close()
        shutil.rmtree(self._folder, ignore_errors=True)
