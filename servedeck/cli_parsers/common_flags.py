"""The flags of all commands."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_common_flags(
    parser: argparse.ArgumentParser,
    default: Any = argparse.SUPPRESS,
    *,
    single_namespace: bool = False,
) -> None:
    """Flags that may come before or after the command; after it an absent flag sets nothing. A
    command for a single namespace rejects --all-namespaces, so its help does not offer it."""

    def add(*names: str, **more: Any) -> None:
        parser.add_argument(*names, default=default, **more)

    add("--context", metavar="NAME", help="context of the kubeconfig; default: its current one")
    add("-n", "--namespace", metavar="NS", help="only this namespace")
    all_help = argparse.SUPPRESS if single_namespace else "all namespaces"
    add("-A", "--all-namespaces", action="store_true", help=all_help)
    add("--kubeconfig", metavar="FILE", type=Path, help="kubeconfig file; default: KUBECONFIG")
    add("--readonly", action="store_true", help="reject every change")
    add("--demo", action="store_true", help="use the built-in demo cluster")
    add(
        "--prometheus-url",
        metavar="URL",
        help="Prometheus with the metrics of the servings; default: as the settings say",
    )
    add("--log-file", metavar="FILE", type=Path, help="write a log to this file; default: none")
