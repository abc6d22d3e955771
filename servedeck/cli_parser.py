"""The parser of the `servedeck` command: its commands, options and help."""

from __future__ import annotations

import argparse

from servedeck import __version__
from servedeck.cli_parsers.async_queue_command import add_async_queue_command
from servedeck.cli_parsers.change_commands import (
    add_change_commands,
    add_operation_commands,
    add_set_command,
)
from servedeck.cli_parsers.common_flags import add_common_flags
from servedeck.cli_parsers.controller_command import add_controller_command
from servedeck.cli_parsers.pod_commands import (
    add_bundle_command,
    add_logs_command,
    add_port_forward_command,
)
from servedeck.cli_parsers.process_commands import add_demo_command, add_gateway_command
from servedeck.cli_parsers.request_command import add_request_command
from servedeck.cli_parsers.tasks_command import add_tasks_command
from servedeck.cli_parsers.traffic_command import add_traffic_command
from servedeck.cli_parsers.view_commands import (
    add_describe_command,
    add_get_command,
    add_open_command,
    add_top_command,
    add_wait_command,
)


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
    add_common_flags(parser, None)
    parser.set_defaults(run="tui.command_line:run_dashboard")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    add_open_command(commands)
    add_describe_command(commands)
    add_bundle_command(commands)
    add_get_command(commands)
    add_top_command(commands)
    add_change_commands(commands)
    add_set_command(commands)
    add_operation_commands(commands)
    add_async_queue_command(commands)
    add_tasks_command(commands)
    add_traffic_command(commands)
    add_wait_command(commands)
    add_logs_command(commands)
    add_port_forward_command(commands)
    add_request_command(commands)
    add_demo_command(commands)
    add_gateway_command(commands)
    add_controller_command(commands)
    return parser
