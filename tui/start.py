"""Runs the app on a cluster."""

from __future__ import annotations

from servedeck.cluster.kubeconfig import Target
from servedeck.config import Settings
from servedeck.deploy.draft import Draft
from servedeck.fleet.live import Live
from tui.app import ServedeckApp
from tui.cluster import ConnectedCluster
from tui.cluster_workbench import ClusterWorkbench


def run(
    target: Target, settings: Settings, *, widen: bool = False, create: Draft | None = None
) -> int:
    """Show the servings until the operator leaves; returns the exit code.

    `widen`: show all namespaces where neither the target nor its context names one. `create`: open
    the form of a new serving at once, filled with that draft.
    """
    live = Live(target, settings, widen=widen)
    app = ServedeckApp(
        live,
        ConnectedCluster(lambda: live.connection),
        favourites=settings.favourites,
        keys=settings.keymap,
        theme=settings.theme,
        readonly=target.readonly or settings.readonly,
        wide=settings.wide,
        columns=settings.columns,
        workbench=ClusterWorkbench(lambda: live.connection, lambda: live.settings),
        create=create,
    )
    app.run()
    return app.return_code or 0
