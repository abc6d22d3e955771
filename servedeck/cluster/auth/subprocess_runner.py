"""Runs external programs without a terminal, and kills them with their children."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from servedeck.cluster.http.errors import CredentialsError

MAX_OUTPUT_BYTES = 1 << 20
"""Maximum number of bytes kept of each stream: the first of standard output, the last of standard
error."""
_FLOOD_BYTES = 64 << 20
"""Bytes of one stream after which a program is ended: it would write until the timeout."""
_TAIL_BYTES = 4096
"""Bytes of standard error that are reported while the program runs."""
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
    argv: Sequence[str],
    env: Mapping[str, str],
    max_seconds: float,
    label: str,
    on_stderr: Callable[[bytes], None] = lambda _tail: None,
) -> tuple[int, bytes, bytes]:
    """Run a program until it exits. Returns its exit code, standard output and standard error (1
    MiB of each). `on_stderr` is called with the end of its standard error whenever it writes there.

    Raises CredentialsError if it cannot be started, runs longer than `max_seconds` or writes
    without end; the message starts with `label`. The process group is then killed, as on
    cancellation.
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

    def keep_output(chunk: bytes) -> None:
        output.extend(chunk[: MAX_OUTPUT_BYTES - len(output)])

    def keep_errors(chunk: bytes) -> None:
        errors.extend(chunk)
        del errors[:-MAX_OUTPUT_BYTES]
        on_stderr(bytes(errors[-_TAIL_BYTES:]))

    flooded = False

    def end_flood() -> None:
        nonlocal flooded
        flooded = True
        _kill_group(process)

    reading = asyncio.gather(
        _drain(process.stdout, keep_output, end_flood),
        _drain(process.stderr, keep_errors, end_flood),
        return_exceptions=True,
    )
    # Nobody waits for it after a cancellation, which asyncio would report on the terminal.
    reading.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    try:
        async with asyncio.timeout(max_seconds):
            code = await asyncio.to_thread(process.wait)
        await asyncio.wait([reading], timeout=_DRAIN_TIMEOUT)
        if flooded:
            raise CredentialsError(
                f"{label} wrote more than {_FLOOD_BYTES >> 20} MiB and was ended; run it by hand to"
                " see its output."
            )
    except TimeoutError as error:
        raise CredentialsError(
            f"{label} did not finish within {max_seconds:.0f} s; run it by hand, "
            "it may wait for a login."
        ) from error
    else:
        return code, bytes(output), bytes(errors)
    finally:
        _running_process_groups.discard(process.pid)
        _kill_group(process)
        reading.cancel()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the program, if it still runs, with its children."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


async def _drain(
    pipe: IO[bytes] | None, keep: Callable[[bytes], None], on_flood: Callable[[], None]
) -> None:
    """Read until EOF, so that a full pipe does not block the program."""
    if pipe is None:
        return
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    with contextlib.closing(transport):
        total = 0
        while chunk := await reader.read(1 << 16):
            keep(chunk)
            total += len(chunk)
            if total > _FLOOD_BYTES:
                on_flood()
                return
