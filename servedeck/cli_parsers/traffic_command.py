"""The parser of `servedeck traffic`."""

from __future__ import annotations

import argparse
from typing import Any

from servedeck.cli_parsers.common_flags import add_common_flags

_RUN_CHANGE = "servedeck.commands.traffic:run_change"


def add_traffic_command(commands: Any) -> None:
    traffic = commands.add_parser(
        "traffic",
        help="send a share of a serving's requests to another serving",
        description="Shows how the requests of a serving's endpoint are divided, and divides them"
        " with another serving of the namespace, by the weights of its routes. Restarts no Pods."
        " Without a command, shows the weights, of both sides the requests per second, errors and"
        " P95, and the next step.",
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

    def add(name: str, help_text: str, description: str, run: str = _RUN_CHANGE) -> Any:
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
        parser.set_defaults(run=run, action=name)
        return parser

    canary = add(
        "canary",
        "create a second revision of the serving, to send it a share then",
        "Creates a second revision of the serving, with changed fields: a serving of its own beside"
        " it, with one replica, that has no endpoint and gets no requests until it is sent a"
        " share.",
        "servedeck.commands.traffic_revision:run_canary",
    )
    canary.add_argument(
        "assignments",
        metavar="FIELD=VALUE",
        nargs="*",
        help="image=NAME, settings.maxModelLen=8k, env.NAME=VALUE; FIELD- removes an entry, as for"
        " set",
    )
    canary.add_argument(
        "--name", dest="new_name", default="", help="its name; default: NAME-canary, or the next"
    )
    canary.add_argument(
        "--revision",
        metavar="NUMBER",
        type=int,
        help="begin with the Pods of this earlier revision of the serving",
    )
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
        "finish",
        "take the settings of the promoted revision over into the serving",
        "Changes the serving as set does, to the settings of its second revision, which answers all"
        " requests while its Pods restart. Then abort gives it the requests back.",
        "servedeck.commands.traffic_revision:run_finish",
    )
    add(
        "abort",
        "send all requests to the serving itself again",
        "Sends all requests of the endpoint to its own serving again, and takes the other one out"
        " of the routes.",
    )
