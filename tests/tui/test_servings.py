import random
from dataclasses import replace
from datetime import timedelta

import pytest

from servedeck.fleet.query import parse_query
from servedeck.fleet.views import NamespacedName
from servedeck.serving.status.status import Status
from tests.tui import fakes
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text

LLAMA = NamespacedName("team-a", "llama-70b-chat")


def listed_names(app) -> list[str]:
    return [row.key.name for row in app.servings.table.rows]


async def test_failing_servings_come_first_with_their_failure_reason():
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await wait_for_text(pilot, "✗ Error  OOMKilled", "! Degraded  1 failing: CUDA err")
        lines = screen.splitlines()
        assert "✗ 2 Error" in lines[1] and "11 servings" in lines[1]
        assert listed_names(app)[:4] == [
            "embed-large",
            "llama-70b-chat",
            "qwen-coder",
            "exaone-rngd",
        ]
        assert listed_names(app)[-1] == "deepseek-r1-distill"
        assert "prod-seoul" in lines[0] and "✓ live" in lines[0]


async def test_a_change_reaches_the_row_and_the_counts():
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source)
    async with app.run_test(size=(100, 24)) as pilot:
        await wait_for_text(pilot, "✗ 2 Error")
        view = source.fleet.view(LLAMA)
        source.add_views(
            replace(view, status=Status.READY, reason="", message="", ready=2, failing=0)
        )
        screen = await wait_for_text(pilot, "✗ 1 Error", "✓ 6")
        (line,) = [line for line in screen.splitlines() if "llama-70b-chat" in line]
        assert "✓ Ready" in line and "2/2" in line


async def test_the_cursor_follows_its_serving_and_the_message_line_its_failure_reason():
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source)
    async with app.run_test(size=(100, 24)) as pilot:
        await pilot.press("j")
        await wait_for_text(pilot, "✗ Error  inference-server was killed for using more memory")
        source.add_views(fakes.serving("aaa", "aaa", status=Status.ERROR, reason="exit code 2"))
        await wait_for(pilot, lambda: listed_names(app)[0] == "aaa", "the new serving at the top")
        assert app.servings.selected_serving.key == LLAMA


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("llama", ["llama-70b-chat", "deepseek-r1-distill", "llama-8b"]),
        ("ns:team", ["llama-70b-chat", "llama-8b"]),
        ("status:error", ["embed-large", "llama-70b-chat"]),
        ("status:error !llama-70", ["embed-large"]),
        ("-l app=phi-4", ["phi-4"]),
    ],
)
async def test_the_filter_narrows_the_list_as_typed(typed, names):
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("slash", *typed)
        await wait_for(pilot, lambda: sorted(listed_names(app)) == sorted(names), "the names alone")
        assert app.servings.filter_line.text == typed
        await pilot.press("enter")
        assert app.focused is app.servings.table
        await pilot.press("escape")
        await wait_for(pilot, lambda: len(listed_names(app)) == 11, "everything again")
        assert not app.servings.filter_line.display


async def test_a_filter_that_cannot_be_read_says_so_and_loses_nothing():
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("slash", *"status:error")
        await wait_for(pilot, lambda: len(listed_names(app)) == 2, "the failing ones")
        await pilot.press(*" status:x")
        await wait_for_text(pilot, "No status begins with 'x'")
        assert len(listed_names(app)) == 2
        assert app.servings.filter_line.text == "status:error status:x"


async def test_digits_go_to_namespaces_and_zero_shows_all():
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await wait_for_text(pilot, "0 all")
        digits = screen.splitlines()[2].split()
        digit = digits[digits.index("team-a") - 1]
        await pilot.press(digit)
        await wait_for(pilot, lambda: len(listed_names(app)) == 2, "one namespace")
        screen = await wait_for_text(pilot, "prod-seoul / team-a")
        assert "NAMESPACE" not in screen
        await pilot.press("0")
        await wait_for(pilot, lambda: len(listed_names(app)) == 11, "all namespaces")
        await pilot.press("9")
        await wait_for_text(pilot, "No namespace has the digit 9")


async def test_another_context_gives_the_digits_to_its_own_namespaces():
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source, favorites=("mine",))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "1 mine", "team-a")
        for view in source.fleet.views():
            source.remove_view(view.key)
        source.context = "staging"
        source.add_views(fakes.serving("llama", "elsewhere"))
        screen = await wait_for_text(pilot, "1 mine", "2 elsewhere")
        assert "team-a" not in screen


async def test_favorites_have_the_first_digits():
    app = make_app(favorites=("search", "team-a"))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "1 search  2 team-a  3 ")


async def test_a_list_bound_to_one_namespace_is_switched_at_the_source():
    source = fakes.FakeSource(namespace="team-a").add_views(*fakes.fleet()[:1])
    app = make_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("colon", *"ns search", "enter")
        await wait_for(pilot, lambda: source.switch_calls == [(None, "search")], "the switch")


async def test_columns_sort_by_key_and_by_click():
    app = make_app()
    async with app.run_test(size=(200, 40)) as pilot:
        await wait_for_text(pilot, "STATUS ▴")
        for _ in range(4):
            await pilot.press("less_than_sign")
            await pilot.pause()
        await pilot.press("greater_than_sign")
        await pilot.press("greater_than_sign")
        assert app.servings.sort_column == "name"
        await wait_for_text(pilot, "NAME ▴")
        assert listed_names(app) == sorted(listed_names(app))
        await pilot.press("o")
        await wait_for_text(pilot, "NAME ▾")
        assert listed_names(app) == sorted(listed_names(app), reverse=True)
        x = screen_text(app).splitlines()[3].index("RESTARTS")
        await pilot.click("#list", offset=(x, 0))
        await wait_for_text(pilot, "RESTARTS ▾")
        assert listed_names(app)[0] == "embed-large"
        await pilot.click("#list", offset=(x, 0))
        await wait_for_text(pilot, "RESTARTS ▴")
        assert listed_names(app)[-1] == "embed-large"


async def test_wide_shows_every_column_and_scrolls_under_a_pinned_name():
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("w")
        await wait_for_text(pilot, "left and right scroll")
        for _ in range(20):
            await pilot.press("right")
        screen = await wait_for_text(pilot, "ENDPOINT", "AGE")
        assert "serve.example.com/search/embed-large" in screen
        assert screen.splitlines()[4].startswith(" embed-large")
        await pilot.press("w")
        await wait_for_text(pilot, "STATUS ▴")


async def test_the_200_columns_of_a_wide_terminal_show_all_columns():
    app = make_app()
    async with app.run_test(size=(200, 60)) as pilot:
        screen = await wait_for_text(pilot, "NAME")
        header = screen.splitlines()[3]
        for label in [
            "NAME",
            "NAMESPACE",
            "STATUS",
            "READY",
            "TEMPLATE",
            "MODEL",
            "ACCELERATOR",
            "RESTARTS",
            "ENDPOINT",
            "AGE",
        ]:
            assert label in header


async def test_no_key_is_bound_that_does_nothing_yet():
    app = make_app()
    async with app.run_test(size=(80, 24)):
        bound = set(app.servings._bindings.key_to_bindings)
        assert "p" not in bound


async def test_small_terminals_do_not_crash():
    app = make_app()
    async with app.run_test(size=(20, 10)) as pilot:
        for size in ((20, 10), (10, 4), (3, 2), (1, 1), (80, 24), (20, 10)):
            await pilot.resize_terminal(*size)
            for key in ("space", "escape", "c", "escape", "l", "escape", "slash", "x", "escape"):
                await pilot.press(key)
            await pilot.pause()
        await wait_for_text(pilot, "embed-large")


async def test_a_deleted_serving_closes_its_status_and_says_so():
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("j", "space")
        await wait_for(pilot, lambda: app.servings.popover.is_open, "the status")
        source.remove_view(LLAMA)
        await wait_for_text(pilot, "team-a/llama-70b-chat was deleted.")
        assert not app.servings.popover.is_open


async def test_ages_go_on_while_nothing_else_happens():
    app = make_app()
    now = [fakes.NOW]
    app.clock = lambda: now[0]
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "75s")
        now[0] = fakes.NOW + timedelta(seconds=3)
        await wait_for_text(pilot, "78s")


async def test_a_clock_that_jumps_shows_whole_ages_at_80_columns():
    app = make_app()
    now = [fakes.NOW]
    app.clock = lambda: now[0]
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "75s")
        now[0] = fakes.NOW - timedelta(hours=1)
        screen = await wait_for_text(pilot, " -58m\n")
        assert "<inv" not in screen
        now[0] = fakes.NOW + timedelta(hours=1)
        await wait_for_text(pilot, "61m")


async def test_actions_without_a_serving_say_why():
    app = make_app(fakes.FakeSource())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("c")
        await wait_for_text(pilot, "There is no serving under the cursor.")


async def test_an_action_is_of_the_serving_that_was_seen_although_another_came_to_the_top():
    source = fakes.FakeSource().add_views(*(fakes.serving(f"s{number}") for number in range(3)))
    app = make_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "s0")
        source.add_views(fakes.serving("broken", ready=0, status=Status.ERROR))
        await wait_for_text(pilot, "broken")
        await pilot.press("c")
        await wait_for_text(pilot, "Connect to", "s0")


async def test_the_serving_that_the_filter_found_is_still_selected_without_it():
    source = fakes.FakeSource().add_views(*(fakes.serving(f"s{number}") for number in range(9)))
    async with make_app(source).run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "s8")
        await pilot.press("j", "j", "/", "s", "7", "enter", "escape")
        servings = pilot.app.servings
        await wait_for(pilot, lambda: len(servings.table.rows) == 9, "all rows")
        assert servings.selected_serving.key.name == "s7"


async def test_a_click_on_a_count_filters_to_that_status_and_again_clears():
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:

        async def click(text: str) -> None:
            line = screen_text(app).splitlines()[1]
            await pilot.click("ListHeader", offset=(line.index(text), 1))

        await wait_for_text(pilot, "✗ 2 Error", "11 servings")
        await click("2 Error")
        await wait_for_text(pilot, "status:error", "2 of 11 servings")
        assert listed_names(app) == ["embed-large", "llama-70b-chat"]
        assert app.focused is app.servings.table
        await click("- 1")
        await wait_for_text(pilot, "status:scaled-down", "1 of 11 servings")
        await click("- 1")
        await wait_for(pilot, lambda: len(listed_names(app)) == 11, "all servings")
        assert not app.servings.filter_line.display
        await click("◌ 1")
        await wait_for_text(pilot, "1 of 11 servings")
        await click("11 servings")
        await wait_for(pilot, lambda: len(listed_names(app)) == 11, "all servings")


async def test_an_update_in_place_equals_a_full_one():
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source)
    rng = random.Random(20)
    async with app.run_test(size=(120, 30)) as pilot:
        await wait_for_text(pilot, "11 servings")
        screen, in_place = app.servings, 0
        for number in range(300):
            if number % 100 == 0:
                screen._set_sort(("status", "restarts", "name")[number // 100], number == 100)
                screen.filter_query = parse_query("" if number < 200 else "!llama")
                screen.update_all()
            view = rng.choice([*source.fleet.by_key.values()])
            change = rng.choice(
                [
                    {"restarts": view.restarts + rng.randrange(3)},
                    {"ready": rng.randrange(3)},
                    {"status": rng.choice([*Status])},
                    {"reason": rng.choice(["OOMKilled", "llama"])},
                    {"created": fakes.ago(minutes=rng.randrange(90))},
                ]
            )
            before = screen._positions
            if rng.random() < 0.05 and len(source.fleet.by_key) > 5:
                source.remove_view(view.key)
            else:
                source.add_views(replace(view, **change))
            in_place += screen._positions is before
            shown = [*screen.table.rows], screen.header._data, [*screen._views]
            screen.update_all()
            assert shown == ([*screen.table.rows], screen.header._data, screen._views)
        assert 100 < in_place < 290


@pytest.mark.parametrize("phase", [fakes.FakePhase.CONNECTING, fakes.FakePhase.LISTING])
async def test_what_a_login_asks_is_shown_in_place_of_the_list(phase):
    source = fakes.FakeSource()
    app = make_app(source)
    async with app.run_test(size=(100, 24)) as pilot:
        source.set_state(phase=phase, message="open https://example.com/device and enter WXYZ")
        await wait_for_text(pilot, "open https://example.com/device and enter WXYZ")
        source.set_state(message="")
        await wait_for_text(pilot, "The list appears")
