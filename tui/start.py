"""Runs the app on a cluster."""

from __future__ import annotations

import asyncio
import difflib
import importlib
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from servedeck.config import SettingsError
from servedeck.detail.cluster_detail_service import ClusterDetailService
from servedeck.fleet.query import QueryError, parse_query
from servedeck.forwarding.forwards import PortForwards
from servedeck.logs.container_end import read_container_end
from servedeck.terminal import shows_unicode
from styles.themes import THEMES
from tui.actions import ACTIONS
from tui.app import InitialPage, ServedeckApp
from tui.async_queue_service import ClusterAsyncQueueService
from tui.bundle_service import ClusterBundleService
from tui.deferred_source import DeferredSource
from tui.log_service import ClusterLogService
from tui.metrics_service import ClusterMetricsService
from tui.traffic_service import ClusterTrafficService
from widgets.serving_rows import COLUMNS

if TYPE_CHECKING:
    from servedeck.changes.draft import Draft
    from servedeck.cluster.auth.kubeconfig import ConnectionOptions
    from servedeck.cluster.http.connection import Connection
    from servedeck.config import Settings
    from servedeck.fleet.session import ClusterSession


PAGE_MODULES = (
    "tui.screens.serving",
    "servedeck.detail.overview",
    "servedeck.detail.deployment_watch",
    "servedeck.detail.object_watch",
    "servedeck.metrics.cluster_metrics",
)
"""What the page of a serving and the figures of the list need: imported after the first complete
list was shown."""

COLOR_SYSTEMS = ("auto", "standard", "256", "truecolor")
"""Valid values of TEXTUAL_COLOR_SYSTEM."""


class DashboardStartError(Exception):
    """The screen cannot start; str() is one sentence with the reason and what to do."""

    exit_code = 1


COLUMN_WIDTHS = (3, 200)
"""Least and greatest of `column_widths`."""


def run(
    connection_options: ConnectionOptions,
    settings: Settings,
    *,
    default_all_namespaces: bool = False,
    initial_draft: Draft | None = None,
    initial_page: InitialPage | None = None,
    drafts_dir: Path | None = None,
) -> int:
    """Show the servings until the operator quits; returns the exit code. Raises SettingsError if
    the settings name what the screen does not have, DashboardStartError if the environment does.

    `default_all_namespaces`: show all namespaces if neither the options nor the context name one.
    `initial_draft`: open the form of a new serving at the start, filled with that draft.
    `initial_page`: open the page of that serving as soon as it is listed.
    `drafts_dir` is where drafts are saved until the program ends, None for the operator's
    directory, where they are kept.
    """
    validate_settings(settings)
    validate_environment(os.environ)
    session: ClusterSession | None = None

    def connection() -> Connection | None:
        return session.connection if session is not None else None

    def now() -> datetime:
        return session.server_now() if session is not None else datetime.now(UTC)

    async def make() -> ClusterSession:
        nonlocal session
        for module in ("servedeck.fleet.session", "tui.change_service"):
            await asyncio.to_thread(importlib.import_module, module)
        from servedeck.fleet.session import ClusterSession
        from tui.change_service import FORM_MODULES, ClusterChangeService

        session = made = ClusterSession(
            connection_options,
            settings,
            default_all_namespaces=default_all_namespaces,
            read_last_lines=read_container_end,
        )
        app.change_service = ClusterChangeService(
            connection,
            lambda: made.settings,
            drafts_dir,
            has_temporary_drafts=drafts_dir is not None,
        )
        import_after_first_list(made, (*PAGE_MODULES, *FORM_MODULES))
        return made

    app = ServedeckApp(
        DeferredSource(make, connection_options.context or ""),
        ClusterLogService(connection),
        ClusterDetailService(connection),
        favorites=settings.favorites,
        keymap=settings.keymap,
        theme=settings.theme,
        readonly=connection_options.readonly or settings.readonly,
        kubeconfig=connection_options.kubeconfig,
        is_production_context=settings.is_production,
        wide=settings.wide,
        columns=settings.columns,
        column_widths=settings.column_widths,
        filters=settings.filters,
        log_memory_bytes=settings.log_memory_mib << 20,
        initial_draft=initial_draft,
        initial_page=initial_page,
        clock=now,
        is_utf8=shows_unicode(),
    )
    app.port_forwards = PortForwards(
        connection,
        lambda key: app.source.fleet.view(key),
        is_watched=lambda namespace: app.source.namespace in ("", namespace),
        clock=now,
    )
    app.metrics_service = ClusterMetricsService(lambda: session)
    app.async_queue_service = ClusterAsyncQueueService(
        connection, lambda: session.settings if session is not None else settings
    )
    app.traffic_service = ClusterTrafficService(connection)
    app.bundle_service = ClusterBundleService(
        lambda: session, lambda uid: app.history.timeline.entries(uid), now
    )
    app.run()
    return app.return_code or 0


def import_after_first_list(session: ClusterSession, modules: Sequence[str]) -> None:
    """Import the modules in a thread after the first complete list was shown."""

    def complete(_changes: object) -> None:
        if session.state.phase.name == "LIVE":
            unsubscribe()
            for module in modules:
                asyncio.get_running_loop().run_in_executor(None, importlib.import_module, module)

    unsubscribe = session.subscribe(complete)


def validate_settings(settings: Settings) -> None:
    """Check that the theme, columns and actions that the settings name exist. Raises
    SettingsError."""
    from textual.theme import BUILTIN_THEMES

    columns = [column.key for column in COLUMNS]
    themes = {theme.name for theme in THEMES} | BUILTIN_THEMES.keys()
    bound = {action.id for action in ACTIONS if action.can_be_remapped}
    fixed = {action.id for action in ACTIONS} - bound
    for name in settings.keymap:
        if name in fixed:
            raise SettingsError(
                f"Settings: keymap: the keys of {name!r} cannot be changed; remove it."
            )
    for key, names, known in (
        ("theme", [settings.theme] if settings.theme else [], themes),
        ("columns", settings.columns, columns),
        ("column_widths", settings.column_widths, columns),
        ("keymap", settings.keymap, bound),
    ):
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}."
                raise SettingsError(f"Settings: {key}: {name!r} is unknown; {hint}")
    least, most = COLUMN_WIDTHS
    for name, width in settings.column_widths.items():
        if not least <= width <= most:
            raise SettingsError(
                f"Settings: column_widths: {name} must be from {least} to {most} cells wide, not "
                f"{width}."
            )
    for name, text in settings.filters.items():
        try:
            parse_query(text)
        except QueryError as error:
            raise SettingsError(f"Settings: filters: {name}: {error}") from error


def validate_environment(environ: Mapping[str, str]) -> None:
    """Check that Textual supports the values of its variables. Raises DashboardStartError."""
    for name, is_good in (
        ("TEXTUAL_DRIVER", _is_driver_class),
        ("TEXTUAL_COLOR_SYSTEM", COLOR_SYSTEMS.__contains__),
        ("TEXTUAL_LOG", _is_writable),
    ):
        if name in environ and not is_good(environ[name]):
            raise DashboardStartError(
                f"The screen cannot start with {name}={environ[name]!r}; unset it. Use `servedeck "
                f"get servings` instead."
            )


def _is_driver_class(text: str) -> bool:
    from textual.driver import Driver

    module, _, name = text.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception:  # the module may raise anything when it is imported
        return False
    return isinstance(found, type) and issubclass(found, Driver)


def _is_writable(path: str) -> bool:
    try:
        Path(path).open("a").close()
    except OSError:
        return False
    return True
