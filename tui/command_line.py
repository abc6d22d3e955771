"""The commands that open the screen: `servedeck`, `servedeck open` and `servedeck create`."""

from __future__ import annotations

import argparse
import gc
import importlib
from dataclasses import replace
from typing import TYPE_CHECKING

from servedeck import terminal
from servedeck.commands.arguments import (
    connection_options,
    load_settings,
    read_servings,
    split_serving_name,
)
from servedeck.commands.errors import USAGE_ERROR, CommandError

if TYPE_CHECKING:
    from servedeck.changes.draft import Draft
    from tui.app import InitialPage
    from tui.logs.target import LogTarget


def run_dashboard(
    args: argparse.Namespace,
    initial_draft: Draft | None = None,
    initial_page: InitialPage | None = None,
) -> int:
    if reason := terminal.unsupported_reason():
        command = "get servings" if initial_draft is None else "apply"
        if initial_page is not None:
            command = f"describe {initial_page.name}"
        raise CommandError(f"{reason}; use `servedeck {command}` instead.")
    # What is imported and built before the first frame stays in memory; collecting garbage in it
    # takes a quarter of that time. The app enables the collector after the first frame.
    gc.disable()
    settings = load_settings(args)
    with connection_options(args, settings, lambda: importlib.import_module("tui.start")) as target:
        from servedeck.cluster.auth.kubeconfig_loader import load_kubeconfig
        from tui.start import run

        target = replace(target, report_wait=None)  # it would write over the screen
        # Errors that the operator must fix first are printed before the screen opens.
        load_kubeconfig(target).get_context(target.context)
        # Drafts of a demo are useless after it, so they are deleted with its files.
        drafts = target.kubeconfig[0].parent / "drafts" if args.demo and target.kubeconfig else None
        return run(
            target,
            settings,
            default_all_namespaces=True,
            initial_draft=initial_draft,
            initial_page=initial_page,
            drafts_dir=drafts,
        )


def run_open(args: argparse.Namespace) -> int:
    from tui.app import InitialPage
    from tui.screens.serving import PANES, find_pane, tab_name

    args.namespace, name = split_serving_name(args.name, args.namespace)
    if args.tab and find_pane(args.tab) is None:
        tabs = ", ".join(tab_name(pane) for pane in PANES)
        raise CommandError(f"There is no tab {args.tab}; choose one of {tabs}.", USAGE_ERROR)
    page = InitialPage(name, args.namespace or "", args.tab, args.kind, _log_target(args))
    return run_dashboard(args, initial_page=page)


def _log_target(args: argparse.Namespace) -> LogTarget | None:
    """The log that the options name; None without any. Raises CommandError."""
    from servedeck.logs.lines import normalize_stamp, stamp_to_ns
    from tui.logs.target import LogTarget

    if args.pod is None:
        if args.container is not None or args.time is not None:
            raise CommandError("--container and --time need --pod.", USAGE_ERROR)
        return None
    time_ns = None
    if args.time is not None:
        stamp = normalize_stamp(args.time.encode())
        if stamp is None:
            raise CommandError(
                f"--time: {args.time!r} is not a time such as 2026-01-31T14:05:30Z.", USAGE_ERROR
            )
        time_ns = stamp_to_ns(stamp)
    return LogTarget(args.pod, args.container or "", time_ns)


def run_create(args: argparse.Namespace) -> int:
    from servedeck.changes.draft import Draft

    if args.filename is None:
        return run_dashboard(args, Draft())
    specs = read_servings(args.filename)
    if len(specs) != 1:
        raise CommandError(
            f"{args.filename} contains {len(specs)} servings and the form takes one; keep one, or "
            f"`servedeck apply` them all.",
            USAGE_ERROR,
        )
    return run_dashboard(args, Draft.from_spec(specs[0]))
