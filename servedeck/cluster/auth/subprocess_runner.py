"""Running a program that is not ours, so that it can neither wait for a terminal nor outlive us."""

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
"""Bytes of each stream that are kept."""
_DRAIN_TIMEOUT = 1.0
"""Seconds for which output is read on after the program has ended. What it leaves running in the
background may hold the pipes open for ever."""
_running_process_groups: set[int] = set()
"""Groups of the programs that run now."""


def kill_subprocesses() -> None:
    """Kill every program that runs, with its children, since this process ends at once. From any
    thread."""
    for group in tuple(_running_process_groups):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


async def run_subprocess(
    argv: Sequence[str], env: Mapping[str, str], max_seconds: float, label: str
) -> tuple[int, bytes, bytes]:
    """Run a program to its end: exit code, standard output and standard error (1 MiB of each).

    Raises CredentialsError where it cannot be started or takes longer than `limit` seconds; `said`
    names the program in the sentence. It and its children are killed then, and when the caller is
    cancelled.
    """
    # Not asyncio's: a cancellation before it has connected the pipes ends the program alone, and
    # then waits for the pipes, which its children hold. Here no turn of the loop lies between the
    # start and the guard.
    try:
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - forks at once, as asyncio does
            argv,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # no controlling terminal, and one group to kill
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
    """Take all that is written, of which the first MiB is kept: a full pipe would block it."""
    if pipe is None:
        return
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    with contextlib.closing(transport):
        while chunk := await reader.read(1 << 16):
            buffer += chunk[: MAX_OUTPUT_BYTES - len(buffer)]
