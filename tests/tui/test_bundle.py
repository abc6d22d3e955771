"""Saving an incident bundle from the list or a page: the file, the progress, cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from servedeck.bundle.archive import ArchiveEntry
from servedeck.bundle.bundle import BundleProgress, BundleResult
from servedeck.bundle.reader import Problem
from servedeck.fleet.views import ServingView
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text

HINT = "2 Pods, 2 logs; at most 100Mi before compression and 2m."


class FakeBundleService:
    """A bundle that waits until it is let go."""

    def __init__(self, *problems: Problem, lost: str = "", error: Exception | None = None) -> None:
        self.gate = asyncio.Event()
        self.saved: list[tuple[str, Path]] = []
        self.is_canceled = False
        self._problems, self._lost, self._error = problems, lost, error

    def estimate(self, view: ServingView) -> str:
        return HINT

    def file_name(self, view: ServingView) -> str:
        return f"{view.key.name}.tar.gz"

    async def save(
        self, view: ServingView, path: Path, on_progress: Callable[[BundleProgress], None]
    ) -> BundleResult:
        self.saved.append((view.key.name, path))
        on_progress(BundleProgress("Reading logs", 1, 2))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.is_canceled = True
            raise
        if self._error is not None:
            raise self._error
        files = (ArchiveEntry("index.html", 10),)
        return BundleResult(files, self._problems, 3, self._lost)


async def open_bundle(pilot: Any, service: FakeBundleService, path: Path) -> None:
    """The screen that makes the bundle of the serving under the cursor."""
    await pilot.press("j", "B")
    await wait_for_text(pilot, "Save an incident bundle of team-a/llama-70b-chat", HINT)
    assert "llama-70b-chat.tar.gz" in screen_text(pilot.app)
    pilot.app.screen.line_input.input.value = str(path)
    await pilot.press("enter")
    await wait_for_text(pilot, "Incident bundle of team-a/llama-70b-chat")


async def test_the_progress_and_then_the_file_are_shown(tmp_path: Path) -> None:
    service = FakeBundleService(Problem("Log of a/b", "It is forbidden."))
    app = make_app(bundle_service=service)
    async with app.run_test(size=(120, 30)) as pilot:
        await open_bundle(pilot, service, tmp_path / "x.tar.gz")
        await wait_for_text(pilot, "Reading logs 1 of 2")
        assert "esc cancel" in screen_text(app)
        service.gate.set()
        await wait_for_text(
            pilot, "Saved as", "1 file; 3 values redacted.", "Log of a/b: It is forbidden."
        )
        assert service.saved == [("llama-70b-chat", tmp_path / "x.tar.gz")]
        assert "esc close" in screen_text(app)


async def test_esc_before_the_end_cancels_it(tmp_path: Path) -> None:
    service = FakeBundleService()
    app = make_app(bundle_service=service)
    async with app.run_test(size=(120, 30)) as pilot:
        await open_bundle(pilot, service, tmp_path / "x.tar.gz")
        await wait_for_text(pilot, "Reading logs")
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")
        await wait_for(pilot, lambda: service.is_canceled, "the cancellation")


async def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    service = FakeBundleService(error=OSError(28, "No space left on device"))
    service.gate.set()
    app = make_app(bundle_service=service)
    async with app.run_test(size=(120, 30)) as pilot:
        await open_bundle(pilot, service, tmp_path / "x.tar.gz")
        await wait_for_text(pilot, "was not saved: No space left on device.")


async def test_a_lost_api_server_is_said(tmp_path: Path) -> None:
    service = FakeBundleService(lost="Connection refused.")
    service.gate.set()
    app = make_app(bundle_service=service)
    async with app.run_test(size=(120, 30)) as pilot:
        await open_bundle(pilot, service, tmp_path / "x.tar.gz")
        await wait_for_text(pilot, "Saved as", "The API server was lost: Connection refused.")


async def test_without_a_cluster_there_is_no_bundle() -> None:
    app = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("B")
        await wait_for_text(pilot, "Not connected to a cluster.")
