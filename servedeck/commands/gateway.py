"""`servedeck gateway`: the async gateway of one serving."""

from __future__ import annotations

import argparse

from servedeck import logging_setup
from servedeck.gateway.process import run_gateway
from servedeck.gateway.settings import GatewaySettings, load_settings
from servedeck.paths import expand_home

_FLAGS = (
    "serving",
    "store",
    "upstreams",
    "service",
    "host",
    "port",
    "admin_host",
    "admin_port",
    "role",
    "secret_file",
)
"""Settings that have a flag."""


def read_settings(args: argparse.Namespace) -> GatewaySettings:
    """The settings of the file, then of the flags. Raises GatewaySettingsError."""
    flags = {name: value for name in _FLAGS if (value := getattr(args, name)) is not None}
    return load_settings(args.config and expand_home(args.config), flags)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    settings = read_settings(args)
    logging_setup.log_to_stderr()
    run_gateway(settings)
    return 0
