"""The parser of `servedeck request`."""

from __future__ import annotations

from typing import Any

from servedeck.cli_parsers.common_flags import add_common_flags
from servedeck.serving.inference_request import DEFAULT_MAX_TOKENS, DEFAULT_PROMPT


def add_request_command(commands: Any) -> None:
    request = commands.add_parser(
        "request",
        help="send a short request to a serving: does it answer, and how fast?",
        description="Sends a test request to the inference server of a serving and prints its"
        " answer as it comes, the time to first token and the tokens per second. The model gets the"
        " request as from any client, and its metrics count it. Nothing in the cluster is changed.",
        epilog="Exit codes: 0 it answered, 1 it did not, or not with a whole answer, 2 wrong usage,"
        " 130 after ctrl+c.",
        allow_abbrev=False,
    )
    request.add_argument("name", metavar="NAME", help="NAME or NAMESPACE/NAME")
    request.add_argument(
        "--kind", metavar="KIND", default="", help="StatefulSet, LeaderWorkerSet, ...; see get"
    )
    request.add_argument(
        "--prompt", metavar="TEXT", default=DEFAULT_PROMPT, help="default: %(default)s"
    )
    request.add_argument(
        "--max-tokens",
        metavar="N",
        default=str(DEFAULT_MAX_TOKENS),
        help="length of the answer; default: %(default)s",
    )
    request.add_argument(
        "--path",
        metavar="PATH",
        default="",
        help="only read this path (GET), such as /health; default: a request with the prompt, or a"
        " path of the server where none is known",
    )
    request.add_argument(
        "--through",
        choices=("endpoint", "api-server"),
        default="",
        help="default: the endpoint, or the API server if there is none",
    )
    request.add_argument(
        "--token-file",
        metavar="FILE",
        default="",
        help="file with the API token of the inference server; - reads standard input; default:"
        " none",
    )
    request.add_argument(
        "--timeout",
        metavar="TIME",
        default="120s",
        help="how long to wait while nothing comes; default: %(default)s",
    )
    request.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="default: %(default)s"
    )
    add_common_flags(request, single_namespace=True)
    request.set_defaults(run="servedeck.commands.request:run")
