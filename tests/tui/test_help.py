"""The help says how kubectl reaches the cluster that the dashboard shows."""

from __future__ import annotations

from pathlib import Path

from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text


async def test_a_kubeconfig_that_was_given_is_named_for_kubectl() -> None:
    app = make_app()
    app.kubeconfig = (Path("/tmp/a demo/kubeconfig"), Path("/b\x1b[31m"))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: screen_text(app).strip(), "the first paint")
        await pilot.press("question_mark")
        await wait_for_text(pilot, "export KUBECONFIG='/tmp/a demo/kubeconfig:/b")
        assert "\x1b" not in screen_text(app)


async def test_a_kubeconfig_of_the_environment_needs_no_line() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: screen_text(app).strip(), "the first paint")
        await pilot.press("question_mark")
        await wait_for_text(pilot, "Serving list")
        assert "KUBECONFIG" not in screen_text(app)
