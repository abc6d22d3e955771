"""The `servedeck` command. Each of its commands is imported when it runs, so that `--help`
loads nothing and the first frame is drawn before the connection's modules are loaded.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from servedeck.cli_parser import build_parser
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.commands.output import write_lines
from servedeck.standard_streams import (
    discard,
    output_problem,
    prepare_standard_streams,
)

INTERRUPTED = 130
BROKEN_PIPE = 141
"""Exit codes that a shell reports after SIGPIPE and SIGINT."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    prepare_standard_streams()
    _disable_core_dumps()
    try:
        args = _parse_arguments(argv)
        _prepare_process(args.log_file)
        code = _find_command(args.run)(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader closed the pipe
        discard(sys.stdout)
        return BROKEN_PIPE
    except OSError as error:
        if not (problem := output_problem(error)):
            raise
        discard(sys.stdout)
        _write_error(problem)
        return 1
    except Exception as error:
        # CommandError, ClusterError and SettingsError are one sentence each.
        exit_code = getattr(error, "exit_code", None)
        if not isinstance(exit_code, int):
            raise
        _write_error(str(error))
        return exit_code


def _write_error(message: str) -> None:
    try:
        write_lines(sys.stderr, *f"servedeck: {message}".split("\n"))
    except OSError:  # it can be said nowhere else
        discard(sys.stderr)


def _find_command(name: str) -> Callable[[argparse.Namespace], int]:
    """The function at "module:function"; imports its module."""
    module, _, function = name.partition(":")
    command: Callable[[argparse.Namespace], int] = getattr(
        importlib.import_module(module), function
    )
    return command


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; names and the like may come before and after flags, as in kubectl."""
    parser = build_parser()
    try:
        args, rest = parser.parse_known_args(argv)
    except SystemExit:  # with the help
        sys.stdout.flush()
        raise
    many = next((one for one in ("names", "assignments", "ids") if hasattr(args, one)), "")
    if rest and many and not any(word.startswith("-") for word in rest):
        setattr(args, many, [*getattr(args, many), *rest])
    elif rest:
        from servedeck.serving.text import one_line, sanitize

        parser.error(f"unrecognized arguments: {one_line(sanitize(' '.join(rest)))}")
    return args


# -- setup ------------------------------------------------------------------------------------


def _disable_core_dumps() -> None:
    """A core file would have the credentials and Secrets in memory. Programs that are started here
    inherit it; whoever needs a core file can raise the soft limit again (prlimit)."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _prepare_process(log_file: Path | None) -> None:
    """Set up what every command needs: a home directory, and the log."""
    from servedeck import logging_setup, paths

    if not paths.has_home_directory():
        raise CommandError(
            "Neither HOME nor the user database names a home directory; set HOME.", USAGE_ERROR
        )
    if log_file is None:
        logging_setup.disable_logging()
        return
    try:
        logging_setup.log_to_file(paths.expand_home(log_file))
    except OSError as error:
        raise CommandError(
            f"Cannot write the log {log_file}: {error.strerror}; choose another file.", USAGE_ERROR
        ) from error
