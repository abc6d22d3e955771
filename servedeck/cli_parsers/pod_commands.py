"""The parsers of the commands that read from Pods: logs, port-forward and bundle."""

from __future__ import annotations

import argparse
from typing import Any

from servedeck.cli_parsers.common_flags import add_common_flags


def _line_count(text: str) -> int:
    """A number of lines. Raises argparse.ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is not a number of lines; write 0, 100, ..."
        )
    return int(text)


def add_logs_command(commands: Any) -> None:
    logs = commands.add_parser(
        "logs",
        help="print the logs of a serving's Pods, merged by time",
        description="Prints the logs of the Pods of a serving, merged by time: of the inference"
        " server, unless another container is named. With -f it goes on with new lines, new Pods"
        " and restarted containers until ctrl+c; a lost connection is resumed without a gap. Each"
        " line begins with the name of its Pod, unless --pod names a single one, and of its"
        " container, if several are chosen: POD/CONTAINER TEXT.",
        epilog="What happens to Pods and containers is written to standard error. Exit codes: 0"
        " everything was printed, 1 a log cannot be read, 2 wrong usage.",
        allow_abbrev=False,
    )
    logs.add_argument("name", metavar="NAME", help="NAME or NAMESPACE/NAME")
    logs.add_argument("-f", "--follow", action="store_true", help="keep printing new lines")
    begin = logs.add_mutually_exclusive_group()
    begin.add_argument(
        "--tail",
        metavar="N",
        type=_line_count,
        default=200,
        help="last lines of each container; default: %(default)s",
    )
    begin.add_argument("--since", metavar="TIME", help="lines of the last 30s, 5m, 1h, ...")
    begin.add_argument("--all", action="store_true", help="the whole log of each container")
    logs.add_argument(
        "-p", "--previous", action="store_true", help="also the instance before the last restart"
    )
    logs.add_argument(
        "--pod", metavar="POD", action="append", help="only this Pod; may be repeated"
    )
    chosen = logs.add_mutually_exclusive_group()
    chosen.add_argument(
        "-c",
        "--container",
        metavar="NAME",
        action="append",
        help="this container; may be repeated; default: the inference server",
    )
    chosen.add_argument(
        "--all-containers", action="store_true", help="all containers, init containers too"
    )
    logs.add_argument(
        "--grep",
        metavar="REGEX",
        help="only lines with a match, and what continues them; lower case finds both cases",
    )
    logs.add_argument(
        "--level",
        choices=("debug", "info", "warning", "error", "critical"),
        help="only lines of this and higher levels, and what continues them",
    )
    logs.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="json: one object a line"
    )
    logs.add_argument(
        "--kind", metavar="KIND", default="", help="StatefulSet, LeaderWorkerSet, ...; see get"
    )
    add_common_flags(logs, single_namespace=True)
    logs.set_defaults(run="servedeck.commands.logs:run")


def add_port_forward_command(commands: Any) -> None:
    forward = commands.add_parser(
        "port-forward",
        help="forward a local port to a serving, also through rollouts",
        description="Forwards a local port to a Ready Pod of a serving until ctrl+c. When the Pod"
        " is replaced, new connections go to another one that is Ready.",
        epilog="Exit codes: 0 after ctrl+c, 1 the port cannot be forwarded, 2 wrong usage.",
        allow_abbrev=False,
    )
    forward.add_argument("name", metavar="NAME", help="NAME or NAMESPACE/NAME")
    forward.add_argument(
        "ports",
        metavar="[LOCAL:]REMOTE",
        nargs="?",
        default="",
        help="8000 for both, 8080:8000, :8000 for any free local port, 8080: for the port of the"
        " server; default: the port of the server, locally the same or the next free one",
    )
    forward.add_argument(
        "--address",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="local address to listen on; default: %(default)s",
    )
    forward.add_argument(
        "--kind", metavar="KIND", default="", help="StatefulSet, LeaderWorkerSet, ...; see get"
    )
    forward.add_argument(
        "--async",
        dest="to_gateway",
        action="store_true",
        help="to the serving's async gateway: its port 8080 for callers, or 8081 for operators",
    )
    add_common_flags(forward, single_namespace=True)
    forward.set_defaults(run="servedeck.commands.port_forward:run")


def add_bundle_command(commands: Any) -> None:
    bundle = commands.add_parser(
        "bundle",
        help="save everything about a serving in one archive, for a ticket or a post-mortem",
        description="Saves an incident bundle: one .tar.gz with an index page, the description of"
        " the serving, its objects, Events, timeline, rollouts, nodes, and the logs of all its"
        " containers, also of the instance before a restart. Values that look secret, and those of"
        " the Secrets that its Pods name, are redacted. Nothing in the cluster is changed.",
        epilog="Exit codes: 0 the bundle is saved (what may not be read is named in it), 1 it is"
        " not saved, or the API server was lost and it is not complete, 2 wrong usage.",
        allow_abbrev=False,
    )
    bundle.add_argument("name", metavar="NAME", help="NAME or NAMESPACE/NAME")
    bundle.add_argument(
        "--kind", metavar="KIND", default="", help="StatefulSet, LeaderWorkerSet, ...; see get"
    )
    bundle.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        default="",
        help="the archive, or a directory for it; - writes to standard output; default:"
        " NAMESPACE-NAME-TIME.tar.gz in the current directory",
    )
    bundle.add_argument("--force", action="store_true", help="overwrite an existing file")
    bundle.add_argument(
        "--max-size",
        metavar="SIZE",
        default="100Mi",
        help="of all files before compression; default: %(default)s",
    )
    bundle.add_argument(
        "--timeout",
        metavar="TIME",
        default="120s",
        help="when to stop reading and save what was read; default: %(default)s",
    )
    bundle.add_argument(
        "--tail",
        metavar="LINES|SIZE",
        default="10000",
        help="the end of each log: a number of lines, a size such as 2Mi, or -1 for all;"
        " default: %(default)s",
    )
    bundle.add_argument(
        "--since", metavar="TIME", default="", help="only log lines of the last 10m, 2h, ..."
    )
    add_common_flags(bundle)
    bundle.set_defaults(run="servedeck.commands.bundle:run")
