"""The parsers of `servedeck demo` and `servedeck gateway`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_demo_command(commands: Any) -> None:
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


def add_gateway_command(commands: Any) -> None:
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
