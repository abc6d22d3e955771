"""The page of a serving that is open at the start: `servedeck open`."""

from __future__ import annotations

import argparse

import pytest

from servedeck.commands.errors import CommandError
from tests.tui import fakes
from tests.tui.fakes import FakePhase
from tests.tui.helpers import make_app, wait_for, wait_for_text
from tui import command_line
from tui.app import InitialPage
from tui.panes.logs import LogsPane


async def test_it_opens_on_the_tab_as_soon_as_the_serving_is_listed():
    source = fakes.FakeSource()
    source.set_state(phase=FakePhase.CONNECTING)
    app = make_app(source, initial_page=InitialPage("llama-70b-chat", "team-a", "logs"))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "Connecting")
        source.add_views(*fakes.fleet())
        await wait_for_text(pilot, "team-a/llama-70b-chat", "inference-server")
        assert isinstance(app.screen.active_pane, LogsPane)
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")
        assert app.servings.table.cursor_key.name == "llama-70b-chat"


async def test_without_a_namespace_it_is_found_in_any():
    app = make_app(initial_page=InitialPage("embed-large"))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "search/embed-large", "Ready Replicas")


async def test_a_serving_that_does_not_exist_is_named():
    app = make_app(initial_page=InitialPage("nothing", "team-a"))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "There is no serving nothing in namespace team-a.")


@pytest.mark.parametrize("phase", [FakePhase.RETRYING, FakePhase.FORBIDDEN])
async def test_a_list_that_cannot_be_read_is_named(phase: FakePhase):
    source = fakes.FakeSource()
    source.set_state(phase=phase)
    app = make_app(source, initial_page=InitialPage("llama-70b-chat"))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(
            pilot, "Cannot open llama-70b-chat: the list of servings is not complete."
        )


async def test_several_namespaces_with_the_serving_are_named():
    views = (fakes.serving("llama", "b"), fakes.serving("llama", "a"))
    app = make_app(fakes.FakeSource().add_views(*views), initial_page=InitialPage("llama"))
    async with app.run_test(size=(100, 24)) as pilot:
        await wait_for_text(
            pilot, "Several namespaces have a serving llama: a, b; name one with -n."
        )


async def test_the_link_of_a_tab_is_copied():
    app = make_app(initial_page=InitialPage("llama-70b-chat", tab="events"))
    async with app.run_test(size=(120, 24)) as pilot:
        await wait_for_text(pilot, "team-a/llama-70b-chat")
        await pilot.press("Y")
        await wait_for_text(
            pilot, "servedeck open team-a/llama-70b-chat --tab events --context prod-seoul"
        )


@pytest.mark.parametrize(
    ("name", "namespace", "tab", "expected"),
    [
        ("a/b", "c", "", "a/b and -n c name two namespaces; give one."),
        ("a/b/c", None, "", "'a/b/c' is not NAME or NAMESPACE/NAME; correct it."),
        ("/b", None, "", "'/b' is not NAME or NAMESPACE/NAME; correct it."),
        ("a/", None, "", "'a/' is not NAME or NAMESPACE/NAME; correct it."),
        (
            "b",
            None,
            "nothing",
            "There is no tab nothing; choose one of overview, metrics, logs, async-queue,",
        ),
    ],
)
def test_wrong_arguments_are_one_sentence(name, namespace, tab, expected):
    args = argparse.Namespace(name=name, namespace=namespace, tab=tab)
    with pytest.raises(CommandError) as caught:
        command_line.run_open(args)
    assert str(caught.value).startswith(expected)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["async-queue", "Async Queue", "async queue"])
def test_a_tab_is_named_by_its_title_with_or_without_a_hyphen(name):
    from tui.screens.serving import find_pane

    pane = find_pane(name)
    assert pane is not None and pane.TITLE == "Async Queue"
