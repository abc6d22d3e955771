"""The parsers of the commands that show servings: open, describe, get, top and wait."""

from __future__ import annotations

from typing import Any

from servedeck.cli_parsers.common_flags import add_common_flags


def add_open_command(commands: Any) -> None:
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
        help="overview, metrics, logs, async-queue, settings, events, rollouts or yaml; default: "
        "overview",
    )
    open_.add_argument("--pod", metavar="POD", help="show the log of this Pod")
    open_.add_argument("--container", metavar="NAME", help="of this container of the Pod")
    open_.add_argument(
        "--time", metavar="TIME", help="at the first line at or after 2026-01-31T14:05:30Z"
    )
    open_.add_argument(
        "--kind", metavar="KIND", default="", help="StatefulSet, LeaderWorkerSet, ...; see get"
    )
    add_common_flags(open_, single_namespace=True)
    open_.set_defaults(run="tui.command_line:run_open")


def add_describe_command(commands: Any) -> None:
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
    add_common_flags(describe)
    describe.set_defaults(run="servedeck.commands.describe:run")


def add_get_command(commands: Any) -> None:
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
    add_common_flags(get)
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


def add_top_command(commands: Any) -> None:
    top = commands.add_parser(
        "top",
        help="print requests per second, P95 and waiting requests, once or live (--watch)",
        description="Prints the metrics of the servings, as the list of the dashboard shows them:"
        " from Prometheus, and of servings that it does not know from the /metrics of their Pods."
        " What is not known is –, and null in JSON; the reason is written to standard error.",
        epilog="Exit codes: 0 the servings are printed, also if nothing is known of them, 1 a"
        " serving that is named does not exist, or the servings cannot be read, 2 wrong usage, 130"
        " after ctrl+c.",
        allow_abbrev=False,
    )
    top.add_argument(
        "names",
        nargs="*",
        default=[],
        metavar="NAME",
        help="only these, NAME or NAMESPACE/NAME; default: all",
    )
    add_common_flags(top)
    top.add_argument(
        "--sort",
        choices=("rps", "p95", "waiting", "name"),
        default="name",
        help="the largest first; default: %(default)s",
    )
    top.add_argument("-w", "--watch", action="store_true", help="print again every --interval")
    top.add_argument(
        "--interval", metavar="TIME", default="15s", help="10s, 1m, ...; default: %(default)s"
    )
    top.add_argument(
        "-o",
        "--output",
        choices=("text", "json", "wide"),
        default="text",
        help="with --watch, json is one line for each reading; default: %(default)s",
    )
    top.add_argument("--no-headers", action="store_true", help="omit the header")
    top.set_defaults(run="servedeck.commands.top:run")


def add_wait_command(commands: Any) -> None:
    wait = commands.add_parser(
        "wait",
        help="wait until a serving is ready, rolled out or deleted",
        description="Waits for a state of a serving and prints each change of its status. The exit"
        " code is 0 when it is reached, and 1 with the cause after the timeout.",
        allow_abbrev=False,
    )
    wait.add_argument("name", metavar="NAME", help="NAME or NAMESPACE/NAME")
    wait.add_argument(
        "--for",
        dest="condition",
        metavar="STATE",
        required=True,
        help="ready, rollout (all replicas updated and available), deleted or status=STATUS",
    )
    wait.add_argument(
        "--timeout", metavar="DURATION", default="5m", help="90s, 5m, 1h30m; default: %(default)s"
    )
    wait.add_argument(
        "--kind", metavar="KIND", default="", help="StatefulSet, LeaderWorkerSet, ...; see get"
    )
    add_common_flags(wait, single_namespace=True)
    wait.set_defaults(run="servedeck.commands.wait:run")
