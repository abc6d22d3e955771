"""Quitting while a page is being built is no crash."""

from __future__ import annotations

import asyncio

import pytest

from tests.tui.helpers import make_app, post_keys, wait_for_text


@pytest.mark.parametrize("turns", range(0, 60, 4))
async def test_a_page_that_is_still_being_built(turns: int) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for_text(pilot, "llama-70b-chat")
        post_keys(pilot, "j", "enter")
        for _ in range(turns):
            await asyncio.sleep(0)
        app.exit()
    assert app.return_code == 0


async def test_an_error_meanwhile_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[object] = []
    monkeypatch.setattr("tui.app._log.error", lambda text, exc_info: logged.append(exc_info))
    app, error = make_app(), ValueError("no widget")
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for_text(pilot, "llama-70b-chat")
        app.exit()
        app._handle_exception(error)
    assert app.return_code == 0
    assert logged == [error]
