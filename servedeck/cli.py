"""The `servedeck` command: the one place that knows every room.

Each command imports what it needs when it runs, so that `--help` needs nothing and the screen
stands before the Kubernetes client is loaded.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from servedeck import __version__, terminal

if TYPE_CHECKING:
    from servedeck.changes.draft import Draft
    from servedeck.cluster.auth.kubeconfig import ConnectionOptions
    from servedeck.config import Settings
    from servedeck.serving.spec.spec import ServingSpec

USAGE_ERROR = 2
INTERRUPTED = 130
BROKEN_PIPE = 141
"""What a shell reports for a program that SIGPIPE or SIGINT ended."""


class CommandError(Exception):
    """The command cannot go on; str() is one sentence."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    terminal.open_closed_descriptors()
    args = _parse_arguments(argv)
    # A terminal that cannot show a character must not end the command.
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="replace")
    try:
        _prepare_process(args.log_file)
        run: Callable[[argparse.Namespace], int] = args.run
        code = run(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough. Python flushes once more at its end: into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        # CommandError, ClusterError and SettingsError say in one sentence what is wrong.
        if not isinstance(told := getattr(error, "exit_code", None), int):
            raise
        _write_lines(sys.stderr, *f"servedeck: {error}".split("\n"))
        return told


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; names may stand before and after flags, as kubectl takes them."""
    parser = _build_parser()
    args, rest = parser.parse_known_args(argv)
    if rest and hasattr(args, "names") and not any(word.startswith("-") for word in rest):
        args.names = [*args.names, *rest]
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return args


# -- the grammar ------------------------------------------------------------------------------


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="servedeck",
        description="Shows, explains and repairs the AI model servings of a Kubernetes cluster.",
        epilog="Without a command, opens the dashboard."
        " `servedeck COMMAND --help` describes a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"servedeck {__version__}")
    _add_common_flags(parser, None)
    parser.set_defaults(run=_run_dashboard)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_get_command(commands)
    _add_change_commands(commands)
    _add_demo_command(commands)
    return parser


def _add_common_flags(parser: argparse.ArgumentParser, default: Any = argparse.SUPPRESS) -> None:
    """Flags that stand before or after the command; after it their absence says nothing."""

    def add(*names: str, **more: Any) -> None:
        parser.add_argument(*names, default=default, **more)

    add("--context", metavar="NAME", help="context of the kubeconfig; default: its current one")
    add("-n", "--namespace", metavar="NS", help="only this namespace")
    add("-A", "--all-namespaces", action="store_true", help="all namespaces")
    add("--kubeconfig", metavar="FILE", type=Path, help="instead of KUBECONFIG")
    add("--readonly", action="store_true", help="refuse every change")
    add("--demo", action="store_true", help="use the built-in demo cluster")
    add("--log-file", metavar="FILE", type=Path, help="write a log to this file; default: none")


def _add_get_command(commands: Any) -> None:
    get = commands.add_parser(
        "get",
        help="print the servings, once or for each change",
        description="Prints what the list shows. The JSON is described in docs/get.md.",
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
    get.set_defaults(run=_run_get)


def _add_change_commands(commands: Any) -> None:
    create = commands.add_parser(
        "create",
        help="open the create form",
        description="Opens the screen with the create form, empty or filled from a file.",
        allow_abbrev=False,
    )
    create.add_argument("-f", "--filename", metavar="FILE", help="fill the form from this file")
    _add_common_flags(create)
    create.set_defaults(run=_run_create)
    apply = commands.add_parser(
        "apply",
        help="create or change the servings of a file",
        description="Applies the servings of a file; docs/spec.md describes it. A field that"
        " another manager has set since is a conflict, which is an error unless"
        " --force-conflicts is given.",
        allow_abbrev=False,
    )
    apply.add_argument(
        "-f", "--filename", metavar="FILE", required=True, help="- for standard input"
    )
    apply.add_argument("--dry-run", action="store_true", help="only show what would change")
    apply.add_argument(
        "--force-conflicts", action="store_true", help="overwrite fields that others set"
    )
    _add_common_flags(apply)
    apply.set_defaults(run=_run_apply)
    export = commands.add_parser(
        "export",
        help="print a serving as a file for apply",
        description="Prints a serving as YAML that `servedeck apply` takes.",
        allow_abbrev=False,
    )
    export.add_argument("name", metavar="NAME")
    _add_common_flags(export)
    export.set_defaults(run=_run_export)


def _add_demo_command(commands: Any) -> None:
    demo = commands.add_parser(
        "demo", help="a demo cluster for kubectl and others", allow_abbrev=False
    )
    actions = demo.add_subparsers(title="commands", metavar="COMMAND", required=True)
    serve = actions.add_parser(
        "serve", help="run the demo cluster until Ctrl+C", allow_abbrev=False
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
    serve.set_defaults(run=_run_demo_serve)


# -- what the flags mean ----------------------------------------------------------------------


def _prepare_process(log_file: Path | None) -> None:
    """What every command needs: a home directory, and a log or none."""
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


def _load_settings(args: argparse.Namespace) -> Settings:
    from servedeck import config

    return config.load_settings(
        {
            "context": args.context,
            "namespace": args.namespace,
            "all_namespaces": True if args.all_namespaces else None,
            "readonly": True if args.readonly else None,
        }
    )


def _require_single_namespace(settings: Settings) -> None:
    """Refuses a name where no single namespace is meant."""
    if settings.all_namespaces:
        raise CommandError(
            "A serving cannot be named across all namespaces; give its namespace with -n.",
            USAGE_ERROR,
        )


@contextmanager
def _connection_options(
    args: argparse.Namespace,
    settings: Settings,
    while_starting: Callable[[], object] = lambda: None,
) -> Iterator[ConnectionOptions]:
    """What to show, in the demo's cluster while it is asked for. `meanwhile` is done while that
    one starts."""
    from servedeck.cluster.auth.kubeconfig import ConnectionOptions

    files = (args.kubeconfig,) if args.kubeconfig is not None else None
    target = ConnectionOptions(
        kubeconfig=files,
        context=settings.context or None,
        namespace=None if settings.all_namespaces else settings.namespace or None,
        all_namespaces=settings.all_namespaces,
        readonly=settings.readonly,
    )
    if not args.demo:
        yield target
        return
    from servedeck.demo.errors import DemoError
    from servedeck.demo.process import spawn

    # The demo has contexts of its own, and its servings are spread over several namespaces.
    target = replace(target, context=args.context, all_namespaces=not target.namespace)
    try:
        with spawn(meanwhile=while_starting) as file:
            yield replace(target, kubeconfig=(file,))
    except DemoError as error:
        raise CommandError(str(error)) from error


# -- the commands -----------------------------------------------------------------------------


def _run_dashboard(args: argparse.Namespace, initial_draft: Draft | None = None) -> int:
    if reason := terminal.unsupported_reason():
        command = "get servings" if initial_draft is None else "apply"
        raise CommandError(f"{reason}; use `servedeck {command}` instead.")
    # What is imported and built until the first frame stays; looking for garbage in it takes a
    # quarter of that time. The app turns the collector on again when the frame stands.
    gc.disable()
    settings = _load_settings(args)
    with _connection_options(
        args, settings, lambda: importlib.import_module("tui.start")
    ) as target:
        from servedeck.cluster.auth import kubeconfig
        from tui.start import run

        # Errors that the operator must fix first are printed before the screen opens.
        kubeconfig.load_kubeconfig(target).get_context(target.context)
        # Drafts of a demo are of no use after it, so they go with its files.
        drafts = target.kubeconfig[0].parent / "drafts" if args.demo and target.kubeconfig else None
        return run(
            target,
            settings,
            default_all_namespaces=True,
            initial_draft=initial_draft,
            drafts_dir=drafts,
        )


def _run_get(args: argparse.Namespace) -> int:
    import asyncio

    from servedeck.commands import get
    from servedeck.fleet.query import QueryError, parse_label_selector
    from servedeck.fleet.session import ClusterSession

    settings = _load_settings(args)
    if args.names:
        _require_single_namespace(settings)
    try:
        selector = parse_label_selector(args.selector) if args.selector is not None else None
    except QueryError as error:
        raise CommandError(str(error), USAGE_ERROR) from error
    options = get.GetOptions(
        names=tuple(dict.fromkeys(args.names)),
        format=args.output,
        selector=selector,
        watch=args.watch,
        show_headers=not args.no_headers,
    )

    async def run(target: ConnectionOptions) -> int:
        live = ClusterSession(target, settings, namespace_fallback=False, tune_gc=args.watch)
        return await get.run_get(live, options)

    with _connection_options(args, settings) as target:
        return asyncio.run(run(target))


def _run_create(args: argparse.Namespace) -> int:
    from servedeck.changes.draft import Draft

    if args.filename is None:
        return _run_dashboard(args, Draft())
    specs = _read_servings(args.filename)
    if len(specs) != 1:
        raise CommandError(
            f"{args.filename} contains {len(specs)} servings and the form takes one; keep one, or "
            f"`servedeck apply` them all.",
            USAGE_ERROR,
        )
    return _run_dashboard(args, Draft.from_spec(specs[0]))


def _run_apply(args: argparse.Namespace) -> int:
    import asyncio

    from servedeck.cluster.http.connection import Connection
    from servedeck.commands import apply

    if args.all_namespaces:
        raise CommandError(
            "A serving cannot be applied across all namespaces; give its namespace with -n or in"
            " the file.",
            USAGE_ERROR,
        )
    settings = _load_settings(args)
    specs = _read_servings(args.filename)

    async def run(target: ConnectionOptions) -> int:
        connection = await Connection.open(target)
        try:
            named = [
                spec
                if spec.namespace
                else spec.replace(namespace=connection.namespace or "default")
                for spec in specs
            ]
            good = await apply.apply_all(
                connection,
                named,
                await apply.load_platform(connection, settings),
                dry_run=args.dry_run,
                stdout=lambda line: _write_lines(sys.stdout, line),
                stderr=lambda line: _write_lines(sys.stderr, line),
                force=args.force_conflicts,
            )
            return 0 if good else 1
        finally:
            await connection.close()

    with _connection_options(args, settings) as target:
        return asyncio.run(run(target))


def _run_export(args: argparse.Namespace) -> int:
    import asyncio

    from servedeck.cluster.http.connection import Connection
    from servedeck.commands import apply

    settings = _load_settings(args)
    _require_single_namespace(settings)

    async def run(target: ConnectionOptions) -> int:
        connection = await Connection.open(target)
        try:
            namespace = connection.namespace or "default"
            exported = await apply.export_serving(connection, namespace, args.name)
        finally:
            await connection.close()
        sys.stdout.write(exported.yaml)
        _write_lines(sys.stderr, *(f"note: {leftover}" for leftover in exported.unmanaged_fields))
        return 0

    with _connection_options(args, settings) as target:
        return asyncio.run(run(target))


def _write_lines(stream: TextIO | None, *lines: str) -> None:
    """Write lines, of which others may have written a part: nothing in them steers a terminal."""
    from servedeck.serving.text import one_line, sanitize

    if stream is None:
        return  # it was closed before the start
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip(" ")))
        stream.write(f"{indent}{one_line(sanitize(line))}\n")
    stream.flush()


def _read_servings(filename: str) -> list[ServingSpec]:
    """The servings of a file, or of standard input for "-"."""
    from servedeck.serving.spec.document import DocumentError, all_from_yaml

    place = "standard input" if filename == "-" else filename
    try:
        text = sys.stdin.read() if filename == "-" else Path(filename).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CommandError(f"Cannot read {place}: {why}; name another file.") from error
    try:
        return all_from_yaml(text)
    except DocumentError as error:
        raise CommandError(f"{place}: {error}") from error


def _run_demo_serve(args: argparse.Namespace) -> int:
    from servedeck.demo.serve import serve

    return serve(args)
