"""The parser of `servedeck async-queue`."""

from __future__ import annotations

from typing import Any

from servedeck.cli_parsers.common_flags import add_common_flags
from servedeck.serving.async_limits import LIMITS


def add_async_queue_command(commands: Any) -> None:
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
        add_common_flags(parser, single_namespace=True)
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
