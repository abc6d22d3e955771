"""The parser of the `servedeck` command. Each command is imported when it runs, so that `--help`
loads nothing and the first frame is drawn before the connection's modules are loaded.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from servedeck import __version__, terminal
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.commands.output import write_lines

INTERRUPTED = 130
BROKEN_PIPE = 141
"""Exit codes that a shell reports after SIGPIPE and SIGINT."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    terminal.open_closed_descriptors()
    args = _parse_arguments(argv)
    # A character that the terminal cannot show must not fail the command.
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="replace")
    try:
        _prepare_process(args.log_file)
        code = _find_command(args.run)(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader closed the pipe. Python flushes once more at exit: discard that.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        # CommandError, ClusterError and SettingsError are one sentence each.
        exit_code = getattr(error, "exit_code", None)
        if not isinstance(exit_code, int):
            raise
        write_lines(sys.stderr, *f"servedeck: {error}".split("\n"))
        return exit_code


def _find_command(name: str) -> Callable[[argparse.Namespace], int]:
    """The function at "module:function"; imports its module."""
    module, _, function = name.partition(":")
    command: Callable[[argparse.Namespace], int] = getattr(
        importlib.import_module(module), function
    )
    return command


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; names may come before and after flags, as in kubectl."""
    parser = _build_parser()
    args, rest = parser.parse_known_args(argv)
    if rest and hasattr(args, "names") and not any(word.startswith("-") for word in rest):
        args.names = [*args.names, *rest]
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return args


# -- parser -----------------------------------------------------------------------------------


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="servedeck",
        description="Shows the model servings of a Kubernetes cluster, explains why they fail, and"
        " changes them.",
        epilog="Without a command, opens the dashboard."
        " `servedeck COMMAND --help` describes a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"servedeck {__version__}")
    _add_common_flags(parser, None)
    parser.set_defaults(run="tui.command_line:run_dashboard")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_open_command(commands)
    _add_describe_command(commands)
    _add_get_command(commands)
    _add_change_commands(commands)
    _add_operation_commands(commands)
    _add_demo_command(commands)
    return parser


def _add_common_flags(
    parser: argparse.ArgumentParser,
    default: Any = argparse.SUPPRESS,
    *,
    single_namespace: bool = False,
) -> None:
    """Flags that may come before or after the command; after it an absent flag sets nothing. A
    command for a single namespace rejects --all-namespaces, so its help does not offer it."""

    def add(*names: str, **more: Any) -> None:
        parser.add_argument(*names, default=default, **more)

    add("--context", metavar="NAME", help="context of the kubeconfig; default: its current one")
    add("-n", "--namespace", metavar="NS", help="only this namespace")
    all_help = argparse.SUPPRESS if single_namespace else "all namespaces"
    add("-A", "--all-namespaces", action="store_true", help=all_help)
    add("--kubeconfig", metavar="FILE", type=Path, help="kubeconfig file; default: KUBECONFIG")
    add("--readonly", action="store_true", help="reject every change")
    add("--demo", action="store_true", help="use the built-in demo cluster")
    add("--log-file", metavar="FILE", type=Path, help="write a log to this file; default: none")


def _add_open_command(commands: Any) -> None:
    open_ = commands.add_parser(
        "open",
        help="open the page of a serving",
        description="Opens the page of a serving, on one of its tabs.",
        allow_abbrev=False,
    )
    open_.add_argument("name", metavar="NAME", help="NAME or NAMESPACE/NAME")
    open_.add_argument(
        "--tab",
        metavar="TAB",
        default="",
        help="overview, logs, events, rollouts or yaml; default: overview",
    )
    open_.add_argument(
        "--kind", metavar="KIND", default="", help="StatefulSet, LeaderWorkerSet, ...; see get"
    )
    _add_common_flags(open_, single_namespace=True)
    open_.set_defaults(run="tui.command_line:run_open")


def _add_describe_command(commands: Any) -> None:
    describe = commands.add_parser(
        "describe",
        help="print everything about a serving",
        description="Prints what the page of a serving shows: status, Pods, settings, rollouts,"
        " timeline and Events. Values that look secret are masked.",
        allow_abbrev=False,
    )
    describe.add_argument("name", metavar="NAME", help="NAME or NAMESPACE/NAME")
    describe.add_argument(
        "--kind", metavar="KIND", default="", help="StatefulSet, LeaderWorkerSet, ...; see get"
    )
    describe.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="default: %(default)s"
    )
    _add_common_flags(describe)
    describe.set_defaults(run="servedeck.commands.describe:run")


def _add_get_command(commands: Any) -> None:
    get = commands.add_parser(
        "get",
        help="print the servings, once or at each change (--watch)",
        description="Prints the servings and their status, as the dashboard shows them.",
        allow_abbrev=False,
    )
    get.add_argument("resource", choices=("servings", "serving"), metavar="servings")
    get.add_argument(
        "names", nargs="*", default=[], metavar="NAME", help="only these; default: all"
    )
    _add_common_flags(get)
    get.add_argument(
        "-o",
        "--output",
        choices=("table", "wide", "json", "name"),
        default="table",
        help="default: %(default)s",
    )
    get.add_argument("-l", "--selector", metavar="LABELS", help="k=v, k!=v, k, !k, k in (a, b)")
    get.add_argument(
        "-w", "--watch", action="store_true", help="keep watching: a line for each change"
    )
    get.add_argument("--no-headers", action="store_true", help="omit the header")
    get.set_defaults(run="servedeck.commands.get:run")


def _add_change_commands(commands: Any) -> None:
    create = commands.add_parser(
        "create",
        help="open the create form",
        description="Opens the screen with the create form, empty or filled from a file.",
        allow_abbrev=False,
    )
    create.add_argument("-f", "--filename", metavar="FILE", help="fill the form from this file")
    _add_common_flags(create)
    create.set_defaults(run="tui.command_line:run_create")
    apply = commands.add_parser(
        "apply",
        help="create or change the servings in a file",
        description="Applies the servings in a file; docs/spec.md describes it. A change to a"
        " field that another manager has set is a conflict, which is an error unless"
        " --force-conflicts is given.",
        allow_abbrev=False,
    )
    apply.add_argument(
        "-f", "--filename", metavar="FILE", required=True, help="the file; - reads standard input"
    )
    apply.add_argument("--dry-run", action="store_true", help="only show what would change")
    apply.add_argument(
        "--force-conflicts",
        action="store_true",
        help="overwrite fields that other managers set, and change Services that others may use",
    )
    _add_common_flags(apply, single_namespace=True)
    apply.set_defaults(run="servedeck.commands.apply:run")
    export = commands.add_parser(
        "export",
        help="print a serving as a file for apply",
        description="Prints a serving as YAML that `servedeck apply` accepts.",
        allow_abbrev=False,
    )
    export.add_argument("name", metavar="NAME")
    _add_common_flags(export, single_namespace=True)
    export.set_defaults(run="servedeck.commands.export:run")


def _add_operation_commands(commands: Any) -> None:
    def add(name: str, help_text: str, description: str) -> Any:
        parser = commands.add_parser(
            name, help=help_text, description=description, allow_abbrev=False
        )
        parser.add_argument("names", nargs="+", metavar="NAME", help="NAME or NAMESPACE/NAME")
        parser.add_argument("--dry-run", action="store_true", help="only show what would happen")
        parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
        parser.add_argument(
            "-o", "--output", choices=("text", "json"), default="text", help="default: %(default)s"
        )
        _add_common_flags(parser, single_namespace=True)
        parser.set_defaults(run="servedeck.commands.operations:run", operation=name)
        return parser

    scale = add(
        "scale",
        "change the number of replicas",
        "Changes the number of replicas. Asks before it scales to 0.",
    )
    scale.add_argument(
        "--replicas", metavar="N", type=int, required=True, help="number of replicas"
    )
    add(
        "restart",
        "replace the Pods of a serving",
        "Replaces the Pods by the strategy of the Deployment, as `kubectl rollout restart` does.",
    )
    add(
        "stop",
        "scale to 0, and note the number of replicas",
        "Scales to 0, and notes the number of replicas for `servedeck start`.",
    )
    start = add(
        "start",
        "scale back to what a serving had before its stop",
        "Scales a serving with 0 replicas back to the number that it had before.",
    )
    start.add_argument(
        "--replicas",
        metavar="N",
        type=int,
        help="number of replicas; default: that before the stop",
    )
    add(
        "pause",
        "hold back changes of the Pod template",
        "Pauses rollouts: changes of the Pod template replace no Pods until `servedeck resume`.",
    )
    add(
        "resume",
        "roll out what was changed while paused",
        "Resumes the rollouts of a paused serving. Asks if Pods are replaced.",
    )
    rollback = add(
        "rollback",
        "go back to an earlier Pod template",
        "Makes the Pod template of an earlier revision the current one, as `kubectl rollout undo`"
        " does, and shows the difference before.",
    )
    rollback.add_argument(
        "--to-revision",
        metavar="N",
        type=int,
        default=0,
        help="number of the revision; default: the one before the current one",
    )
    delete = add(
        "delete",
        "delete a serving",
        "Deletes the Deployment, and the Service and route that servedeck made for it. Other"
        " objects, such as PersistentVolumeClaims, stay.",
    )
    delete.add_argument(
        "--confirm-name",
        metavar="NAME",
        action="append",
        default=[],
        dest="confirm_names",
        help="confirm the deletion of this serving, in a production context, too; once for each",
    )


def _add_demo_command(commands: Any) -> None:
    demo = commands.add_parser(
        "demo", help="run a demo cluster for kubectl and other tools", allow_abbrev=False
    )
    actions = demo.add_subparsers(title="commands", metavar="COMMAND", required=True)
    serve = actions.add_parser(
        "serve", help="run the demo cluster until ctrl+c", allow_abbrev=False
    )
    serve.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; default: a free one")
    serve.add_argument("--state", metavar="FILE", help="save the state of the cluster in this file")
    serve.add_argument("--seed", type=int, default=0, help="random seed")
    serve.add_argument("--speed", type=float, default=1.0, help="clock speed factor; default: 1")
    serve.add_argument(
        "--log-file",
        metavar="FILE",
        type=Path,
        default=argparse.SUPPRESS,
        help="write a log to this file",
    )
    serve.set_defaults(run="servedeck.demo.serve:serve")


# -- setup ------------------------------------------------------------------------------------


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
