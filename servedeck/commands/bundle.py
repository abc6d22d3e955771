"""`servedeck bundle NAME`: one archive with everything about a serving, for a ticket."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from servedeck.bundle.bundle import (
    BundleProgress,
    BundleResult,
    BundleSource,
    directory_name,
    make_bundle,
    save_bundle,
)
from servedeck.bundle.options import MIN_SIZE, BundleOptions, describe_estimate
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.errors import ClusterError
from servedeck.commands.arguments import connection_options, load_settings, split_serving_name
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.commands.output import write_lines
from servedeck.commands.session import (
    find_serving,
    wait_for_crash_logs,
    wait_until_loaded,
    write_warnings,
)
from servedeck.fleet.history import ServingHistory
from servedeck.fleet.session import ClusterSession
from servedeck.fleet.views import ServingView
from servedeck.logs.container_end import read_container_end
from servedeck.paths import expand_home
from servedeck.serving.duration import parse_duration
from servedeck.serving.quantity import parse_quantity
from servedeck.serving.text import format_count, format_size, truncate

STANDARD_OUTPUT = "-"
SUFFIX = ".tar.gz"
_MAX_PROBLEMS = 5
"""Missing parts that are named on standard error; the index names all."""
_PROGRESS_WIDTH = 79
_MAX_TAIL_DIGITS = 18
"""Digits of the largest number of lines: the API server reads an int64."""


async def run_bundle(
    session: ClusterSession,
    name: str,
    options: BundleOptions,
    *,
    output: str = "",
    kind: str = "",
    overwrite: bool = False,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Save the bundle of a serving; `name` and `kind` as in `servedeck describe`. `output` is a
    file or a directory, "-" for standard output, "" for the current directory. Returns the exit
    code. Raises ClusterError if the serving cannot be read, and CommandError if the file cannot be
    written."""
    out, err = out or sys.stdout, err or sys.stderr
    try:
        session.limit_crash_logs(lambda view: view.key.name == name)
        await session.start()
        await wait_until_loaded(session, err)
        write_warnings(session, err)
        view = find_serving(session, name, kind)
        write_lines(err, f"servedeck: {describe_estimate(view, options)}")
        await wait_for_crash_logs(session, (view,), err)
        view, now = session.fleet.view(view.key) or view, session.server_now()
        history = ServingHistory()
        history.record((view.key,), session.fleet, now)
        connection = session.connection
        if connection is None:
            raise ClusterError("The connection to the API server was lost; try again.")
        source = BundleSource(
            connection, session.fleet, view, history.timeline.entries(view.uid), now
        )
        progress = _ProgressLine(err)
        path = None
        try:
            if output == STANDARD_OUTPUT:
                result = await make_bundle(source, _binary(out), options, progress.show)
            else:
                path = await asyncio.to_thread(output_path, output, view, now)
                result = await save_bundle(
                    source, path, options, progress.show, overwrite=overwrite
                )
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            raise _write_error(path, error) from error
        finally:
            progress.clear()
    finally:
        await session.close()
    _write_result(result, path, out, err)
    return 1 if result.lost else 0


def output_path(output: str, view: ServingView, now: datetime) -> Path:
    """The file of the bundle."""
    path = expand_home(Path(output or "."))
    return path / f"{directory_name(view, now)}{SUFFIX}" if path.is_dir() else path


def _binary(out: TextIO) -> BinaryIO:
    return out.buffer


def _write_error(path: Path | None, error: OSError) -> CommandError:
    if isinstance(error, FileExistsError):
        return CommandError(
            f"{path} exists already; name another file with -o, or overwrite it with --force."
        )
    where = "standard output" if path is None else path
    reason = error.strerror or str(error)
    return CommandError(f"Cannot write {where}: {reason}; name another file with -o.")


def _write_result(result: BundleResult, path: Path | None, out: TextIO, err: TextIO) -> None:
    size = sum(entry.size for entry in result.files)
    files = format_count(len(result.files), "file")
    redacted = format_count(result.redacted_count, "value")
    write_lines(err, f"servedeck: {files}, {format_size(size)} unpacked; {redacted} redacted.")
    for what, reason in result.problems[:_MAX_PROBLEMS]:
        write_lines(err, f"servedeck: missing: {what}: {reason}")
    if (more := len(result.problems) - _MAX_PROBLEMS) > 0:
        write_lines(err, f"servedeck: {more} more missing parts; errors.txt has all.")
    if result.lost:
        write_lines(
            err,
            "servedeck: The API server was lost; the bundle has what was read until then.",
        )
    if path is not None:
        out.write(f"{path}\n")
        out.flush()


class _ProgressLine:
    """How far the bundle is, in one line of a terminal that is written over."""

    def __init__(self, err: TextIO) -> None:
        self._err = err if err.isatty() else None
        self._last = ""

    def show(self, progress: BundleProgress) -> None:
        text = progress.step
        if progress.total:
            text += f" {progress.done + 1}/{progress.total}"
        text = truncate(text, _PROGRESS_WIDTH)
        if self._err is not None and text != self._last:
            self._last = text
            self._err.write(f"\r\x1b[K{text}")
            self._err.flush()

    def clear(self) -> None:
        if self._err is not None and self._last:
            self._err.write("\r\x1b[K")
            self._err.flush()


# -- arguments ------------------------------------------------------------------------------------


def parse_options(args: argparse.Namespace) -> BundleOptions:
    """The limits of the command line. Raises CommandError."""
    max_bytes = _parse_size("--max-size", args.max_size)
    if max_bytes < MIN_SIZE:
        raise CommandError(
            f"--max-size {args.max_size} is too small; give at least 1Mi.", USAGE_ERROR
        )
    tail_lines, tail_bytes = _parse_tail(args.tail)
    return BundleOptions(
        max_bytes=max_bytes,
        timeout=_parse_duration("--timeout", args.timeout),
        tail_lines=tail_lines,
        tail_bytes=tail_bytes,
        since=_parse_duration("--since", args.since) if args.since else None,
    )


def _parse_tail(text: str) -> tuple[int | None, int | None]:
    """Lines and bytes of each log, None for all."""
    if text == "-1":
        return None, None
    if text.isdecimal() and len(text) > _MAX_TAIL_DIGITS:
        raise CommandError("--tail is too large a number; give -1 for all.", USAGE_ERROR)
    if text.isdecimal() and int(text):
        return int(text), None
    size = _parse_size("--tail", text)
    if size < 1:
        raise CommandError("--tail must be at least 1, or -1 for all.", USAGE_ERROR)
    return None, size


def _parse_size(flag: str, text: str) -> int:
    try:
        return int(parse_quantity(text, "10Mi or 1Gi"))
    except ValueError as error:
        raise CommandError(f"{flag}: {error}.", USAGE_ERROR) from error


def _parse_duration(flag: str, text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise CommandError(f"{flag}: {error}.", USAGE_ERROR) from error


def check_output(output: str, *, overwrite: bool) -> None:
    """Raises CommandError where it is known before anything is read that the bundle cannot be
    written."""
    if output == STANDARD_OUTPUT:
        if sys.stdout.isatty():
            raise CommandError(
                "Standard output is a terminal; redirect it, or name a file with -o.", USAGE_ERROR
            )
        return
    path = expand_home(Path(output or "."))
    try:
        if path.is_dir() or overwrite:
            return
        if path.exists():
            raise FileExistsError
        has_directory = path.parent.is_dir()
    except OSError as error:  # a name that is too long, a directory that may not be read
        raise _write_error(path, error) from error
    if not has_directory:
        raise CommandError(
            f"Cannot write {output}: there is no directory {path.parent}; name another file with"
            " -o."
        )


@contextlib.contextmanager
def cancel_on_signals(task: asyncio.Future[Any]) -> Iterator[list[int]]:
    """Cancel the task when the process is asked to end, so that no partial file stays; yields the
    list of the signals that came."""
    received: list[int] = []

    def cancel(number: int) -> None:
        received.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    # Under nohup, SIGHUP stays ignored.
    numbers = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    for number in numbers:
        loop.add_signal_handler(number, cancel, number)
    try:
        yield received
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    args.namespace, name = split_serving_name(args.name, args.namespace)
    options = parse_options(args)
    check_output(args.output, overwrite=args.force)
    settings = load_settings(args)

    async def bundle(target: ConnectionOptions) -> int:
        session = ClusterSession(target, settings, read_last_lines=read_container_end)
        task = asyncio.ensure_future(
            run_bundle(
                session, name, options, output=args.output, kind=args.kind, overwrite=args.force
            )
        )
        with cancel_on_signals(task) as received:
            try:
                return await task
            except asyncio.CancelledError:
                if not received:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                    raise
                return 128 + received[0]

    with connection_options(args, settings) as target:
        try:
            return asyncio.run(bundle(target))
        except ClusterError as error:
            raise CommandError(str(error)) from error
