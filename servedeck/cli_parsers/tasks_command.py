"""The parser of `servedeck tasks`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from servedeck.cli_parsers.common_flags import add_common_flags

_FILTER_HELP = "only tasks that match, such as 'status:503 age:>10m'"


def add_tasks_command(commands: Any) -> None:
    tasks = commands.add_parser(
        "tasks",
        help="list, watch, cancel, retry and submit asynchronous requests",
        description="Shows the tasks of a serving's async queue and acts on them. Without a"
        " command, lists them.",
        allow_abbrev=False,
    )
    tasks.add_argument("name", metavar="NAME", help="NAME or NAMESPACE/NAME of the serving")
    _add_list_options(tasks, is_default=True)
    add_common_flags(tasks, single_namespace=True)
    tasks.set_defaults(run="servedeck.commands.tasks:run_list")
    actions = tasks.add_subparsers(title="commands", metavar="COMMAND", action=_Commands)

    def add(name: str, run: str, help_text: str, description: str) -> Any:
        parser = actions.add_parser(
            name, help=help_text, description=description, allow_abbrev=False
        )
        add_common_flags(parser, single_namespace=True)
        parser.set_defaults(run=f"servedeck.commands.{run}")
        return parser

    list_ = add("list", "tasks:run_list", "list tasks", "Lists tasks, the newest first.")
    _add_list_options(list_, is_default=False)
    get = add(
        "get",
        "tasks:run_get",
        "print a task, or its request or response",
        "Prints everything about a task, or the body of its request or response as it is.",
    )
    get.add_argument("id", metavar="ID", help="of the task")
    side = get.add_mutually_exclusive_group()
    for name in ("request", "response"):
        side.add_argument(
            f"--{name}",
            dest="side",
            action="store_const",
            const=name,
            default="",
            help=f"print the body of its {name}",
        )
    _add_output(get, "text", "json")
    watch = add(
        "watch",
        "tasks_watch:run",
        "print changes of tasks as they happen",
        "Prints each change of a task until ctrl+c; with ids until these tasks have ended. The exit"
        " code is 0 then if all of them have completed, else 1.",
    )
    watch.add_argument("ids", metavar="ID", nargs="*", help="only these tasks")
    watch.add_argument(
        "--timeout", metavar="TIME", default="0", help="such as 10m; default: without a limit"
    )
    _add_output(watch, "text", "json")
    _add_changes(add)
    _add_submit(add)


class _Commands(argparse._SubParsersAction):  # type: ignore[type-arg]
    """Refuses options of the list before another command: argparse would forget them, and
    `--filter user:a cancel --all` would cancel the tasks of all users."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        name = values[0]
        if name != "list":
            for option, default in _LIST_DEFAULTS.items():
                if getattr(namespace, option) != default:
                    flag = f"--{option.replace('_', '-')}"
                    parser.error(
                        f"{flag} before {name} is an option of the list; if {name} has it, write it"
                        f" after {name}."
                    )
        super().__call__(parser, namespace, values, option_string)


_LIST_DEFAULTS: Mapping[str, object] = {
    "state": None,
    "filter": None,
    "limit": 100,
    "oldest_first": False,
    "no_headers": False,
    "output": "text",
}


def _add_list_options(parser: argparse.ArgumentParser, *, is_default: bool) -> None:
    """Those of the list, which may come before its name, too: there alone they have defaults."""

    def add(*names: str, **more: Any) -> None:
        default = _LIST_DEFAULTS[names[-1].removeprefix("--").replace("-", "_")]
        parser.add_argument(*names, default=default if is_default else argparse.SUPPRESS, **more)

    states = ("pending", "processing", "completed", "failed", "cancelled")
    add("--state", choices=states, help="only tasks of this state")
    add("--filter", metavar="TEXT", help=_FILTER_HELP)
    add("--limit", metavar="N", type=int, help="0 for all; default: 100")
    add("--oldest-first", action="store_true", help="begin with the oldest task")
    add("--no-headers", action="store_true", help="do not print the column names")
    add("-o", "--output", choices=("text", "wide", "json"), help="default: text")


def _add_output(parser: argparse.ArgumentParser, *choices: str) -> None:
    parser.add_argument(
        "-o", "--output", choices=choices, default=choices[0], help="default: %(default)s"
    )


def _add_changes(add: Callable[..., Any]) -> None:
    def add_change(name: str, help_text: str, description: str) -> Any:
        parser = add(name, "tasks_change:run", help_text, description)
        parser.add_argument("ids", metavar="ID", nargs="*", help="these tasks")
        parser.add_argument("--filter", metavar="TEXT", help=_FILTER_HELP)
        parser.add_argument("--dry-run", action="store_true", help="only show how many")
        parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
        _add_output(parser, "text", "json")
        parser.set_defaults(action=name)
        return parser

    cancel = add_change(
        "cancel",
        "cancel tasks that have not ended",
        "Cancels pending and processing tasks: these, or all that match.",
    )
    cancel.add_argument("--all", action="store_true", help="all that have not ended")
    cancel.add_argument(
        "--state", choices=("pending", "processing"), default="", help="all of this state"
    )
    retry = add_change(
        "retry",
        "retry failed tasks",
        "Puts failed tasks into the queue again: these, or all that match.",
    )
    retry.add_argument("--failed", dest="all", action="store_true", help="all that have failed")
    retry.add_argument(
        "--no-credentials",
        action="store_true",
        help="send them without credentials, which were deleted when they ended",
    )


def _add_submit(add: Callable[..., Any]) -> None:
    submit = add(
        "submit",
        "tasks:run_submit",
        "submit an asynchronous request",
        "Submits a request to the async queue, as its callers do, and prints the id of its task.",
    )
    submit.add_argument(
        "-d",
        "--data",
        metavar="BODY",
        required=True,
        help="body of the request; @FILE reads a file, - standard input",
    )
    submit.add_argument(
        "--path", default="/v1/chat/completions", help="with its query; default: %(default)s"
    )
    submit.add_argument(
        "-X", dest="method", metavar="METHOD", default="POST", help="default: %(default)s"
    )
    submit.add_argument(
        "-H",
        dest="header",
        metavar="HEADER",
        action="append",
        default=[],
        help="such as 'Priority: u=1'; may be repeated",
    )
    submit.add_argument(
        "--wait", action="store_true", help="wait until it has ended, and print its response"
    )
    submit.add_argument(
        "--timeout", metavar="TIME", default="0", help="of --wait; default: without a limit"
    )
    _add_output(submit, "text", "json")
