"""Operates the create form in tests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from textual import events
from textual.pilot import Pilot

from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tui.app import ServedeckApp
from tui.screens.create.wizard import CreateScreen

SIZES = [(80, 24), (120, 40)]
MODEL = "meta-llama/Llama-3.1-8B-Instruct"


@asynccontextmanager
async def run_app(
    change_service: FakeChangeService, size: tuple[int, int] = (80, 24), **options: Any
) -> AsyncIterator[Pilot[None]]:
    app = make_app(change_service=change_service, **options)
    async with app.run_test(size=size) as pilot:
        await wait_for(pilot, lambda: screen_text(app).strip(), "the first paint")
        yield pilot


@asynccontextmanager
async def run_form(
    change_service: FakeChangeService, size: tuple[int, int] = (80, 24), **options: Any
) -> AsyncIterator[Pilot[None]]:
    async with run_app(change_service, size, **options) as pilot:
        app_of(pilot).servings.set_namespace("team-a")
        await pilot.press("n")
        await wait_for_text(pilot, "Service Name")
        yield pilot


def app_of(pilot: Pilot[None]) -> ServedeckApp:
    assert isinstance(pilot.app, ServedeckApp)
    return pilot.app


def form_of(pilot: Pilot[None]) -> CreateScreen:
    return next(one for one in pilot.app.screen_stack if isinstance(one, CreateScreen))


def footer_of(pilot: Pilot[None]) -> str:
    return screen_text(pilot.app).splitlines()[-1]


async def type_text(pilot: Pilot[None], text: str) -> None:
    await pilot.press(*text)


async def paste(pilot: Pilot[None], text: str) -> None:
    assert pilot.app.screen.focused is not None
    pilot.app.screen.focused.post_message(events.Paste(text))
    await pilot.pause()


async def focus_field(pilot: Pilot[None], path: str) -> None:
    """Press tab until the field has the focus, so that a test fails where it cannot be reached."""
    form = form_of(pilot)
    for _ in range(80):
        if getattr(form.focused, "path", "") == path:
            return
        await pilot.press("tab")
    raise AssertionError(f"{path} is not reached by tab")


async def go_to_step(pilot: Pilot[None], step: int, name: str = "llama-chat") -> None:
    form = form_of(pilot)
    await focus_field(pilot, "name")
    await type_text(pilot, name)
    await pilot.press("ctrl+n")
    await wait_for_text(pilot, "Accelerator ")
    if step == 3:
        await type_text(pilot, MODEL)
        await pilot.press("ctrl+n")
        await wait_for(pilot, lambda: form.deployer.dry_run.plan is not None, "the dry run")


async def wait_until_deployed(pilot: Pilot[None], change_service: FakeChangeService) -> None:
    """Wait for all objects, and for their progress under the list."""
    await wait_for(pilot, lambda: app_of(pilot).servings.rollout_progress.key, "the progress")
    assert len(change_service.applied_objects) == 3


def saved_draft_names(change_service: FakeChangeService) -> list[str]:
    """The names in the drafts on disk, open or left."""
    files = change_service.drafts_dir.glob("*.json")
    return sorted(json.loads(file.read_text())["texts"]["name"] for file in files)


def flowing_text(pilot: Pilot[None]) -> str:
    """The screen with its line breaks as blanks: a sentence may go over two lines."""
    return " ".join(screen_text(pilot.app).split())
