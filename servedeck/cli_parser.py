"""The parser of the `servedeck` command: its commands, options and help."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from servedeck import __version__
from servedeck.cli_controller_parser import add_controller_command
from servedeck.cli_tasks_parser import add_tasks_command
from servedeck.cli_traffic_parser import add_traffic_command
from servedeck.serving.async_limits import LIMITS


def build_parser() -> argparse.ArgumentParser:
    """The parser; its namespace has `run`, the function of the command as "module:function"."""
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
    _add_bundle_command(commands)
    _add_get_command(commands)
    _add_top_command(commands)
    _add_change_commands(commands)
    _add_set_command(commands)
    _add_operation_commands(commands)
    _add_async_queue_command(commands)
    add_tasks_command(commands, _add_common_flags)
    add_traffic_command(commands, _add_common_flags)
    _add_wait_command(commands)
    _add_logs_command(commands)
    _add_port_forward_command(commands)
    _add_demo_command(commands)
    _add_gateway_command(commands)
    add_controller_command(commands, _add_common_flags)
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
    add(
        "--prometheus-url",
        metavar="URL",
        help="Prometheus with the metrics of the servings; default: as the settings say",
    )
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


def _add_bundle_command(commands: Any) -> None:
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
    _add_common_flags(bundle)
    bundle.set_defaults(run="servedeck.commands.bundle:run")


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


def _add_top_command(commands: Any) -> None:
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
    _add_common_flags(top)
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
        description="Prints a serving as YAML that `servedeck apply` accepts. Fields of its objects"
        " that the YAML does not have are comments at its end.",
        allow_abbrev=False,
    )
    export.add_argument("name", metavar="NAME", help="NAME or NAMESPACE/NAME")
    export.add_argument(
        "-v", "--verbose", action="store_true", help="list those fields on standard error, too"
    )
    _add_common_flags(export, single_namespace=True)
    export.set_defaults(run="servedeck.commands.export:run")


def _add_set_command(commands: Any) -> None:
    set_ = commands.add_parser(
        "set",
        help="change fields of a serving",
        description="Changes fields of a serving, named as in the YAML of export: image=NAME,"
        " replicas=3, settings.maxModelLen=8k, env.NAME=VALUE; env.NAME- removes a variable, FIELD="
        " clears a field. Asks before Pods restart. A field that another manager has set is a"
        " conflict, which is an error unless --force-conflicts is given.",
        allow_abbrev=False,
    )
    set_.add_argument("name", metavar="NAME", help="NAME or NAMESPACE/NAME")
    set_.add_argument(
        "assignments", metavar="FIELD=VALUE", nargs="+", help="a field and its new value"
    )
    set_.add_argument("--dry-run", action="store_true", help="only show what would change")
    set_.add_argument("-y", "--yes", action="store_true", help="do not ask before Pods restart")
    set_.add_argument(
        "--force-conflicts",
        action="store_true",
        help="overwrite fields that other managers set, and change Services that others may use",
    )
    set_.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="default: %(default)s"
    )
    _add_common_flags(set_, single_namespace=True)
    set_.set_defaults(run="servedeck.commands.set:run")


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
    adopt = add(
        "adopt",
        "make the Deployment of another tool a serving of servedeck",
        "Adds servedeck's label to a Deployment that another tool made, also to one that is not"
        " listed because its inference server is not recognized. Creates a Service if none leads to"
        " its Pods. Restarts no Pods, and shows the difference before.",
    )
    adopt.add_argument(
        "--route",
        action="store_true",
        help="create a route, too, if none leads to its Pods: it opens them to the outside",
    )
    adopt.add_argument(
        "--no-service",
        action="store_true",
        help="create no Service, even if none leads to its Pods",
    )


def _add_async_queue_command(commands: Any) -> None:
    queue = commands.add_parser(
        "async-queue",
        help="turn the async queue of a serving on or off",
        description="Turns the async queue of a serving on or off: a gateway in the cluster that"
        " stores requests with X-Async: true, delivers them to the serving, and keeps the results."
        " Restarts no Pods of the serving.",
        allow_abbrev=False,
    )
    actions = queue.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, help_text: str, description: str) -> Any:
        parser = actions.add_parser(
            name, help=help_text, description=description, allow_abbrev=False
        )
        parser.add_argument("name", metavar="NAME", help="NAME or NAMESPACE/NAME")
        parser.add_argument(
            "-o", "--output", choices=("text", "json"), default="text", help="default: %(default)s"
        )
        _add_common_flags(parser, single_namespace=True)
        return parser

    def add_change(name: str, help_text: str, description: str) -> Any:
        parser = add(name, help_text, description)
        parser.add_argument("--dry-run", action="store_true", help="only show what would happen")
        parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
        parser.add_argument(
            "--force-conflicts",
            action="store_true",
            help="overwrite fields that other managers set",
        )
        parser.set_defaults(run="servedeck.commands.async_queue:run_change", action=name)
        return parser

    on = add_change(
        "on",
        "turn it on, or change its settings",
        "Creates or changes the gateway, and sends asynchronous requests of the serving's routes to"
        " it once it is available. Settings that are not given stay as they are.",
    )
    for one in LIMITS.values():
        on.add_argument(
            one.option,
            dest=one.name,
            metavar=one.kind.value,
            help=f"{one.label}: {one.meaning}; {one.range_text}; first: {one.format(one.default)}",
        )
    on.add_argument(
        "--timeout",
        metavar="TIME",
        default="5m",
        help="how long to wait for the gateway before the routes are changed; default: %(default)s",
    )
    off = add_change(
        "off",
        "turn it off",
        "Sends all requests to the serving again, accounts for the tasks that have not ended, and"
        " deletes the gateway.",
    )
    off.add_argument(
        "--cancel-tasks",
        action="store_true",
        help="cancel tasks that have not ended, or give them up if no gateway can be reached; -y"
        " does not confirm that",
    )
    status = add("status", "print its state", "Prints the state of the async queue of a serving.")
    status.set_defaults(run="servedeck.commands.async_queue:run_status")


def _add_wait_command(commands: Any) -> None:
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
    _add_common_flags(wait, single_namespace=True)
    wait.set_defaults(run="servedeck.commands.wait:run")


def _line_count(text: str) -> int:
    """A number of lines. Raises argparse.ArgumentTypeError."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of lines; write 0, 100, ...")
    return int(text)


def _add_logs_command(commands: Any) -> None:
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
    logs.add_argument("-f", "--follow", action="store_true", help="go on with new lines")
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
    _add_common_flags(logs, single_namespace=True)
    logs.set_defaults(run="servedeck.commands.logs:run")


def _add_port_forward_command(commands: Any) -> None:
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
    _add_common_flags(forward, single_namespace=True)
    forward.set_defaults(run="servedeck.commands.port_forward:run")


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


def _add_gateway_command(commands: Any) -> None:
    gateway = commands.add_parser(
        "gateway",
        help="run the async gateway of a serving",
        description="Runs the async gateway of one serving until SIGTERM or ctrl+c: it stores"
        " requests with the header X-Async: true, makes them to the inference server, and keeps"
        " the results. Settings come from the file, then from flags; docs/async-gateway.md has"
        " them all. It logs to standard error.",
        epilog="Exit codes: 0 after a signal, 1 it cannot start or a part of it failed, 2 wrong"
        " usage.",
        allow_abbrev=False,
    )

    def add(*names: str, **more: Any) -> None:
        gateway.add_argument(*names, **more)

    add("--config", metavar="FILE", type=Path, help="settings as YAML; default: none")
    add("--serving", metavar="NAMESPACE/NAME", help="the serving that it belongs to")
    add(
        "--store",
        metavar="STORE",
        help="sqlite:FILE or valkey://HOST:PORT; default: sqlite:servedeck-gateway.db",
    )
    add(
        "--upstream",
        metavar="URL",
        action="append",
        dest="upstreams",
        help="URL of the inference server, such as http://127.0.0.1:8000; once for each replica",
    )
    add(
        "--service",
        metavar="NAMESPACE/NAME:PORT",
        help="Service of the inference server, whose Ready Pods are found",
    )
    add("--host", metavar="ADDRESS", help="address for callers; default: 0.0.0.0")
    add("--port", metavar="PORT", type=int, help="port for callers; 0: a free one; default: 8080")
    add("--admin-host", metavar="ADDRESS", help="address for operators; default: 0.0.0.0")
    add(
        "--admin-port",
        metavar="PORT",
        type=int,
        help="port for operators, probes and Prometheus; 0: a free one; default: 8081",
    )
    add(
        "--role",
        choices=("all", "accept", "deliver"),
        help="accept: answers callers and operators; deliver: makes the requests; default: all",
    )
    add("--secret-file", metavar="FILE", type=Path, help="at least 32 random bytes, as a file")
    add(
        "--log-file",
        metavar="FILE",
        type=Path,
        default=argparse.SUPPRESS,
        help="write the log to this file, too",
    )
    gateway.set_defaults(run="servedeck.commands.gateway:run")
