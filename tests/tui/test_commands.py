import pytest
from textual.binding import Binding

from tests.tui import fakes
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tui.actions import ACTIONS, SCOPE_TITLES, action_key_display, actions_in_scope, bindings
from tui.screens.command import CommandScreen
from tui.screens.help import HelpScreen, build_paragraphs
from tui.screens.pick import Choice, rank_choices
from widgets.log_view import LogView
from widgets.status_popover import StatusPopover
from widgets.table import KeyedTable


def test_every_action_is_named_once_and_bound_once_in_its_scope():
    assert len({action.id for action in ACTIONS}) == len(ACTIONS)
    assert {action.scope for action in ACTIONS} <= set(SCOPE_TITLES)
    for scope in SCOPE_TITLES:
        keys = [key for action in actions_in_scope(scope) for key in action.keys.split(",")]
        assert len(keys) == len(set(keys)), scope


@pytest.mark.parametrize(
    ("widget", "scope"),
    [(KeyedTable, "table"), (StatusPopover, "status"), (LogView, "log")],
)
def test_keys_that_a_widget_binds_are_in_the_help(widget, scope):
    listed = {
        key
        for action in actions_in_scope(scope)
        if action.bound_by_widget
        for key in action.keys.split(",")
    } | {"ctrl+f", "ctrl+u"}
    bound = {
        key
        for binding in widget.BINDINGS
        if isinstance(binding, Binding)
        for key in binding.key.split(",")
    }
    assert bound <= listed


def test_a_screen_has_a_method_for_each_of_its_actions():
    from tui.app import ServedeckApp
    from tui.panes.events import EventsPane
    from tui.panes.logs import LogsPane
    from tui.panes.overview import OverviewPane
    from tui.screens.connect import ConnectScreen
    from tui.screens.event import EventScreen
    from tui.screens.pick import PickScreen
    from tui.screens.serving import ServingScreen
    from tui.screens.servings import ServingsScreen
    from tui.screens.timeline import TimelineScreen

    owners = {
        "servings": ServingsScreen,
        "connect": ConnectScreen,
        "serving": ServingScreen,
        "overview": OverviewPane,
        "log": LogsPane,
        "events": EventsPane,
        "event": EventScreen,
        "timeline": TimelineScreen,
        "pick": PickScreen,
        "help": HelpScreen,
        "app": ServedeckApp,
    }
    for action in ACTIONS:
        if not action.bound_by_widget and action.scope in owners:
            assert hasattr(owners[action.scope], f"do_{action.name}"), action.id


def test_the_help_of_a_pane_without_keys_of_its_own():
    assert build_paragraphs(("new-pane",), {}) == build_paragraphs((), {})


async def test_the_help_lists_every_action():
    app = make_app()
    async with app.run_test(size=(100, 600)) as pilot:
        await pilot.press("question_mark")
        await wait_for(pilot, lambda: isinstance(app.screen, HelpScreen), "the help")
        words = " ".join(screen_text(app).split())
        for action in ACTIONS:
            assert action.help in words, action.id
        await pilot.press("question_mark")
        assert app.screen is app.servings


async def test_the_command_line_finds_actions_by_name_and_does_them():
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("colon")
        await wait_for(pilot, lambda: isinstance(app.screen, CommandScreen), "the command line")
        await pilot.press(*"conn")
        await wait_for_text(pilot, ":connect")
        await pilot.press("enter")
        await wait_for_text(pilot, "Connect to search/embed-large")


async def test_a_command_that_is_not_possible_says_why():
    app = make_app(fakes.FakeSource())
    async with app.run_test(size=(100, 24)) as pilot:
        await pilot.press("colon", *"logs")
        await wait_for_text(pilot, "There is no serving under the cursor.")
        await pilot.press("enter")
        assert isinstance(app.screen, CommandScreen)


@pytest.mark.parametrize("typed", ["q", "quit", "q!"])
async def test_q_quits(typed):
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("colon", *typed, "enter")
        await wait_for(pilot, lambda: app._exit, "the end")


async def test_ctx_and_ns_take_a_name():
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("colon", *"ns search", "enter")
        await wait_for_text(pilot, "prod-seoul / search")
        await pilot.press("colon", *"ns all", "enter")
        await wait_for_text(pilot, "all namespaces")
        await pilot.press("colon", *"ctx staging", "enter")
        await wait_for(pilot, lambda: source.switch_calls == [("staging", None)], "the switch")
        await pilot.press("colon", *"ctx nowhere", "enter")
        await wait_for_text(pilot, "There is no context nowhere; ctrl+k lists the contexts.")


async def test_contexts_and_namespaces_are_chosen_from_a_list():
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+k")
        await wait_for_text(pilot, "Context", "staging", "lab")
        await pilot.press(*"lab", "enter")
        await wait_for(pilot, lambda: source.switch_calls == [("lab", None)], "the switch")
        await pilot.press("N", *"res", "enter")
        await wait_for_text(pilot, "prod-seoul / research")
        await pilot.press("N", *"nothing like it", "enter")
        await wait_for_text(pilot, "Nothing matches what was typed")
        await pilot.press("escape")
        assert app.screen is app.servings


async def test_a_context_that_the_kubeconfig_has_since_can_be_chosen():
    source = fakes.FakeSource(new_contexts=("lab", "new", "newer"))
    app = make_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("colon", *"ctx newer", "enter")
        await wait_for(pilot, lambda: source.switch_calls == [("newer", None)], "the switch")
        source.contexts = ("prod-seoul", "staging", "lab")
        await pilot.press("ctrl+k")
        text = await wait_for_text(pilot, "Context", "new")
        assert [line.strip() for line in text.splitlines()].count("lab") == 1
        await pilot.press(*"new", "enter")
        await wait_for(pilot, lambda: source.switch_calls[1:] == [("new", None)], "the switch")


def test_what_begins_with_the_typed_word_stands_first():
    choices = [Choice("1", "logs of namespaces"), Choice("2", "namespaces", keyword="ns")]
    assert [choice.key for choice in rank_choices(choices, "ns")] == ["2"]
    assert [choice.key for choice in rank_choices(choices, "name")] == ["1", "2"]


async def test_the_operators_keymap_changes_key_footer_and_help():
    app = make_app(keymap={"servings.connect": "x"})
    async with app.run_test(size=(100, 24)) as pilot:
        await wait_for_text(pilot, "x connect")
        await pilot.press("c")
        assert app.screen is app.servings
        await pilot.press("x")
        await wait_for_text(pilot, "Connect to")


async def test_the_footer_fits_80_columns_with_the_most_important_first():
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await wait_for_text(pilot, "? help")
        footer = screen.splitlines()[-1]
        assert footer.startswith(" enter open  space status  l logs  e edit  s scale")


def test_bindings_are_made_for_each_scope():
    assert {binding.id for binding in bindings("help")} >= {"help.close"}


def test_no_key_is_shown_by_its_internal_name():
    for action in ACTIONS:
        assert "_" not in action_key_display(action, {}, all_keys=True), action.id


@pytest.mark.parametrize("scope", ["servings", "serving"])
def test_a_restart_replaces_pods_as_the_strategy_says(scope):
    """Not one by one: Recreate stops all, and maxSurge may be many."""
    [action] = [one for one in ACTIONS if one.id == f"{scope}.restart"]
    assert "strategy" in action.help
    assert "one by one" not in action.help


async def test_a_namespace_that_was_typed_is_offered_where_none_may_be_listed():
    app = make_app(fakes.FakeSource().add_views(*fakes.fleet()))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("colon", *"ns typed-one", "enter")
        await wait_for_text(pilot, "prod-seoul / typed-one")
        await pilot.press("N", *"typed")
        await wait_for_text(pilot, "Namespace", "typed-one")
        await pilot.press("escape")
        app.source.context = "another"
        await pilot.press("N", *"typed")
        await wait_for_text(pilot, "Nothing matches what was typed")
