"""`servedeck controller`: applies the temperature policies of the servings of a cluster."""

from __future__ import annotations

import argparse

from servedeck import logging_setup
from servedeck.commands.arguments import connection_options, load_settings
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.controller.process import run_controller
from servedeck.controller.settings import ControllerSettings
from servedeck.metrics.transports import PrometheusOptions

_FLAGS = (
    "interval",
    "max_age",
    "lease_namespace",
    "lease_duration",
    "renew_deadline",
    "retry_period",
    "host",
    "port",
)
"""Settings of the controller alone, each of which has a flag."""


def read_settings(args: argparse.Namespace) -> ControllerSettings:
    """The settings that flags are for. Raises ControllerSettingsError."""
    flags = {name: value for name in _FLAGS if (value := getattr(args, name)) is not None}
    return ControllerSettings(**flags)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    own = read_settings(args)
    settings = load_settings(args)
    if settings.readonly:
        raise CommandError(
            "A controller writes to the cluster; run it without --readonly.", USAGE_ERROR
        )
    if args.demo:
        raise CommandError(
            "A controller runs beside a cluster of its own; run it without --demo.", USAGE_ERROR
        )
    prometheus = PrometheusOptions.from_settings(settings)
    with connection_options(args, settings) as options:
        logging_setup.log_to_stderr()
        run_controller(options, prometheus, own)
    return 0
