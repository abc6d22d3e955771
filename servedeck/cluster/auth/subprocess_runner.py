"""Runs external programs without a terminal, and kills them with their children."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

from servedeck.cluster.http.errors import CredentialsError

MAX_OUTPUT_BYTES = 1 << 20
"""Maximum number of bytes kept of each stream."""
_DRAIN_TIMEOUT = 1.0
"""Seconds to read remaining output after the program has exited: its background children may keep
the pipes open."""
_running_process_groups: set[int] = set()
"""Process groups of the running programs."""


def kill_subprocesses() -> None:
    """Kill all running programs with their children, for an immediate exit. Thread-safe."""
    for group in tuple(_running_process_groups):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


async def run_subprocess(
    argv: Sequence[str], env: Mapping[str, str], max_seconds: float, label: str
) -> tuple[int, bytes, bytes]:
    """Run a program until it exits. Returns its exit code, standard output and standard error (1
    MiB of each).

    Raises CredentialsError if it cannot be started or runs longer than `max_seconds`; the message
    starts with `label`. The process group is killed on timeout and on cancellation.
    """
    # Not asyncio.create_subprocess_exec: if it is canceled before the pipes are connected, it kills
    # only the program itself and then waits for the pipes, which its children keep open. Popen does
    # not yield to the event loop between the start and the `try`.
    try:
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - forks without blocking
            argv,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # no controlling terminal, and a separate process group to kill
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CredentialsError(f"{label} cannot be started: {reason}.") from error
    _running_process_groups.add(process.pid)
    output, errors = bytearray(), bytearray()
    reading = asyncio.gather(
        _drain(process.stdout, output), _drain(process.stderr, errors), return_exceptions=True
    )
    try:
        async with asyncio.timeout(max_seconds):
            code = await asyncio.to_thread(process.wait)
        await asyncio.wait([reading], timeout=_DRAIN_TIMEOUT)
    except TimeoutError as error:
        raise CredentialsError(
            f"{label} did not finish within {max_seconds:.0f} s; run it by hand, "
            "it may wait for a login."
        ) from error
    else:
        return code, bytes(output), bytes(errors)
    finally:
        _running_process_groups.discard(process.pid)
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        reading.cancel()


async def _drain(pipe: IO[bytes] | None, buffer: bytearray) -> None:
    """Read until EOF, so that a full pipe does not block the program; keep the first MiB."""
    if pipe is None:
        return
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    with contextlib.closing(transport):
        while chunk := await reader.read(1 << 16):
            buffer += chunk[: MAX_OUTPUT_BYTES - len(buffer)]
