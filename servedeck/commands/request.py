"""`servedeck request NAME`: a short request to a serving, its answer, and how fast it came."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import NamedTuple, TextIO

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.errors import ClusterError
from servedeck.commands.arguments import (
    connection_options,
    file_description,
    load_settings,
    require_single_namespace,
    split_serving_name,
)
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.commands.output import write_lines
from servedeck.commands.session import find_serving, wait_until_loaded, write_warnings
from servedeck.commands.wait import parse_timeout
from servedeck.detail.inference_answer import InferenceAnswer
from servedeck.detail.inference_client import InferenceClient
from servedeck.detail.inference_text import before_sending, figure_texts, request_json
from servedeck.detail.inference_ways import COMMAND_WORDS, Way, WayKind, find_ways, no_way_reason
from servedeck.fleet.session import ClusterSession
from servedeck.fleet.views import ServingView
from servedeck.serving.inference_request import (
    MAX_TOKENS_PROBLEM,
    make_inference_request,
    path_problem,
    prompt_problem,
    read_max_tokens,
    token_problem,
)

_MAX_TOKEN_LENGTH = 64 << 10


class RequestOptions(NamedTuple):
    """What is sent, and how; checked."""

    prompt: str
    max_tokens: int
    path: str = ""
    """To be read (GET); "" for a request with the prompt."""
    through: str = ""
    """A WayKind; "" for the first way that there is."""
    token: str = ""
    silence: float = 120.0
    """Seconds without data after which it is given up."""
    as_json: bool = False


async def run_request(
    session: ClusterSession,
    name: str,
    options: RequestOptions,
    *,
    kind: str = "",
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Send the request and print the answer; returns the exit code. `kind` as in `find_servings`.
    Raises ClusterError if there is no such serving or no way to it."""
    out, err = out or sys.stdout, err or sys.stderr
    try:
        session.limit_crash_logs(lambda _view: False)
        await session.start()
        await wait_until_loaded(session, err)
        write_warnings(session, err)
        view = find_serving(session, name, kind)
        way = _choose_way(view, options.through)
        client = InferenceClient(lambda: session.connection, words=COMMAND_WORDS)
        try:
            return await _send(client, view, way, options, out, err)
        finally:
            await client.close()
    finally:
        await session.close()


def _choose_way(view: ServingView, through: str) -> Way:
    ways = find_ways(view.endpoint, view.key.namespace)
    if not ways:
        raise ClusterError(no_way_reason(view.endpoint))
    chosen = next((one for one in ways if through in ("", one.kind.value)), None)
    if chosen is not None:
        return chosen
    if through == WayKind.ENDPOINT:
        reason = (view.endpoint.issue or "no route leads to the serving").rstrip(".")
        raise ClusterError(f"There is no endpoint: {reason}; use --through api-server.")
    raise ClusterError(
        "The serving has no Service that the API server can send a request to; use --through"
        " endpoint."
    )


async def _send(
    client: InferenceClient,
    view: ServingView,
    way: Way,
    options: RequestOptions,
    out: TextIO,
    err: TextIO,
) -> int:
    request = make_inference_request(
        view.template,
        view.endpoint.model or view.model,
        options.prompt,
        options.max_tokens,
        path=options.path,
    )
    for warning in before_sending(view, way, has_token=bool(options.token)):
        write_lines(err, f"servedeck: {warning}")
    shown = way.shown(request.path)
    write_lines(err, f"servedeck: {request.method} {shown} through {way.name}")
    printer = _Printer(out)
    answer = await client.send(
        way,
        request,
        token=options.token if way.passes_token else "",
        silence=options.silence,
        on_change=printer.print_new if not options.as_json else lambda _answer: None,
    )
    if options.as_json:
        out.write(json.dumps(request_json(view, way, request, answer), indent=2) + "\n")
        out.flush()
    else:
        printer.end(answer)
    for note in answer.notes:
        write_lines(err, f"servedeck: {note}")
    if answer.problem:
        write_lines(err, f"servedeck: {answer.problem}")
    return 1 if answer.problem else 0


class _Printer:
    """Prints the text of an answer as it comes, and its figures."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._answer: InferenceAnswer | None = None
        self._printed = 0
        self._last = "\n"

    def print_new(self, answer: InferenceAnswer) -> None:
        """Print what has come since."""
        if answer is not self._answer:  # it was sent again
            self._answer, self._printed = answer, 0
        if text := answer.text_after(self._printed):
            self._printed = answer.piece_count
            self._last = text[-1]
            self._out.write(text)
            self._out.flush()

    def end(self, answer: InferenceAnswer) -> None:
        """Print the figures."""
        self.print_new(answer)
        if self._last != "\n":
            self._out.write("\n")
        if answer.is_text_cut:
            write_lines(self._out, "… the rest of the text is not kept")
        if answer.piece_count:
            write_lines(self._out, "")
        write_lines(self._out, *figure_texts(answer.figures, is_stream=answer.is_stream))


def make_options(args: argparse.Namespace) -> RequestOptions:
    """The options of the command. Raises CommandError."""
    max_tokens = read_max_tokens(args.max_tokens)
    if max_tokens is None:
        raise CommandError(f"--max-tokens: {MAX_TOKENS_PROBLEM}", USAGE_ERROR)
    if args.path and (problem := path_problem(args.path)):
        raise CommandError(f"--path: {problem}", USAGE_ERROR)
    if problem := prompt_problem(args.prompt):
        raise CommandError(f"--prompt: {problem}", USAGE_ERROR)
    silence = parse_timeout(args.timeout)
    if silence < 1:
        raise CommandError("--timeout is 1s at least.", USAGE_ERROR)
    return RequestOptions(
        args.prompt,
        max_tokens,
        args.path,
        args.through,
        _read_token(args.token_file),
        silence,
        args.output == "json",
    )


def _read_token(filename: str) -> str:
    if not filename:
        return ""
    place = file_description(filename)
    try:
        if filename == "-":
            text = sys.stdin.read(_MAX_TOKEN_LENGTH)
        else:
            with Path(filename).open(encoding="utf-8") as file:
                text = file.read(_MAX_TOKEN_LENGTH)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CommandError(f"Cannot read {place}: {why}; name another file.") from error
    token = text.strip()
    if not token:
        raise CommandError(f"There is no API token in {place}; write it there.", USAGE_ERROR)
    if problem := token_problem(token):
        raise CommandError(f"{place}: {problem}", USAGE_ERROR)
    return token


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    args.namespace, name = split_serving_name(args.name, args.namespace)
    options = make_options(args)
    settings = load_settings(args)
    require_single_namespace(settings)

    async def send(target: ConnectionOptions) -> int:
        session = ClusterSession(target, settings, namespace_fallback=False)
        return await run_request(session, name, options, kind=args.kind)

    with connection_options(args, settings) as target:
        try:
            return asyncio.run(send(target))
        except ClusterError as error:
            raise CommandError(str(error)) from error
