"""The parser of `servedeck controller`."""

from __future__ import annotations

from typing import Any

from servedeck.cli_parsers.common_flags import add_common_flags


def add_controller_command(commands: Any) -> None:
    """Add the command to the commands of the parser."""
    controller = commands.add_parser(
        "controller",
        help="apply the temperature policies of servings",
        description="Takes Pods out of traffic while their accelerators are too hot, by the"
        " temperature policies of servings, until SIGTERM or ctrl+c. Several may run: one acts, and"
        " the others wait for its Lease. The temperatures are read from the Prometheus of"
        " --prometheus-url or of the settings; docs/temperature-policy.md says more. It logs to"
        " standard error.",
        epilog="Exit codes: 0 after a signal, 1 it cannot start or a part of it failed, 2 wrong"
        " usage.",
        allow_abbrev=False,
    )

    def add(name: str, metavar: str, kind: type, help_text: str) -> None:
        controller.add_argument(name, metavar=metavar, type=kind, help=help_text)

    for name, seconds in (
        ("--interval", "between two queries of the temperatures; default: 15"),
        ("--max-age", "from which on a temperature is unknown; default: 120"),
        ("--renew-deadline", "after which a holder that cannot renew it stops; default: 10"),
        ("--retry-period", "between two renewals of the Lease; default: 2"),
    ):
        add(name, "SECONDS", float, seconds)
    add("--lease-duration", "SECONDS", int, "for which the Lease is held; default: 15")
    add("--lease-namespace", "NS", str, "namespace of the Lease; default: servedeck-system")
    add("--host", "ADDRESS", str, "address for probes and Prometheus; default: 0.0.0.0")
    add("--port", "PORT", int, "port for them; 0: a free one; default: 8080")
    add_common_flags(controller)
    controller.set_defaults(run="servedeck.commands.controller:run")
