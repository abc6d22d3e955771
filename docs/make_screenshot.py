"""Saves the README's screenshot of the demo cluster: `make pictures`.

The demo's clock does not advance, so the same seed gives the same servings and the same log lines.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from textual.pilot import Pilot

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.config import Settings
from servedeck.demo.cluster import DemoCluster
from servedeck.detail.cluster_detail_service import ClusterDetailService
from servedeck.fleet.session import ClusterSession
from styles.themes import DARK
from tui.app import ServedeckApp
from tui.log_service import ClusterLogService

SIZE = (112, 32)
TIMEOUT_SECONDS = 20.0
"""Seconds for the list and the crashed container's last lines to appear."""


async def screenshot() -> str:
    """An SVG of the list with the status of a crashed serving over it."""
    async with DemoCluster(live=False) as demo:
        session = ClusterSession(
            ConnectionOptions(kubeconfig=(demo.kubeconfig,), all_namespaces=True), Settings()
        )
        app = ServedeckApp(
            session,
            ClusterLogService(lambda: session.connection),
            ClusterDetailService(lambda: session.connection),
            theme=DARK.name,
            clock=demo.clock.now,
        )
        async with app.run_test(size=SIZE) as pilot, asyncio.timeout(TIMEOUT_SECONDS):
            await _wait_for(pilot, "OOMKilled")
            await pilot.press("j", "space")
            await _wait_for(pilot, "lines&#160;before")
            svg = app.export_screenshot(title="servedeck --demo")
        await session.close()
    return svg


async def _wait_for(pilot: Pilot[None], text: str) -> None:
    while text not in pilot.app.export_screenshot():
        await pilot.pause(0.05)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(asyncio.run(screenshot()), "utf-8")
