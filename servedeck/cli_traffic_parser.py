"""The parser of `servedeck traffic`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def add_traffic_command(commands: Any, add_common_flags: Callable[..., None]) -> None:
    traffic = commands.add_parser(
        "traffic",
        help="send a share of a serving's requests to another serving",
        description="Shows how the requests of a serving's endpoint are divided, and divides them"
        " with another serving of the namespace, by the weights of its routes. Restarts no Pods."
        " Without a command, shows the weights, and of both sides the requests per second, errors"
        " and P95.",
        allow_abbrev=False,
    )
    traffic.add_argument(
        "name", metavar="NAME", help="NAME or NAMESPACE/NAME of the serving of the endpoint"
    )
    traffic.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="default: %(default)s"
    )
    add_common_flags(traffic, single_namespace=True)
    traffic.set_defaults(run="servedeck.commands.traffic:run_show")
    actions = traffic.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, help_text: str, description: str) -> Any:
        parser = actions.add_parser(
            name, help=help_text, description=description, allow_abbrev=False
        )
        parser.add_argument("--dry-run", action="store_true", help="only show what would happen")
        parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
        parser.add_argument(
            "--force-conflicts",
            action="store_true",
            help="overwrite fields that other managers set",
        )
        # Absent here, it is what stands before the command.
        parser.add_argument("-o", "--output", choices=("text", "json"), default=argparse.SUPPRESS)
        add_common_flags(parser, single_namespace=True)
        parser.set_defaults(run="servedeck.commands.traffic:run_change", action=name)
        return parser

    split = add(
        "split",
        "send a percentage of the requests to another serving",
        "Sends a percentage of the requests of the endpoint to another serving of the namespace.",
    )
    split.add_argument("other", metavar="OTHER", help="serving, or Service, that gets the share")
    split.add_argument(
        "--weight",
        metavar="PERCENT",
        type=int,
        required=True,
        help="of the requests for OTHER, 0 to 100; 1 or more at first",
    )
    add(
        "promote",
        "send all requests to the other serving",
        "Sends all requests of the endpoint to the other serving. The endpoint stays; the serving"
        " keeps its Pods, and can be scaled down then.",
    )
    add(
        "abort",
        "send all requests to the serving itself again",
        "Sends all requests of the endpoint to its own serving again, and takes the other one out"
        " of the routes.",
    )
