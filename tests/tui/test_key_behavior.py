"""One meaning for each key, on every screen: leaving, going back, undoing, and saying so where a
key has none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from time import monotonic

import pytest
from textual import events
from textual.binding import Binding

from servedeck.changes.draft import Draft
from servedeck.changes.draft_store import DraftStore
from servedeck.cluster.apply import AppliedObject, ApplyResult
from tests.tui import fakes
from tests.tui.create_form import (
    MODEL,
    app_of,
    focus_field,
    form_of,
    go_to_step,
    run_form,
    type_text,
)
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import make_app, post_keys, screen_text, wait_for, wait_for_text
from tests.waiting import wait_until
from tui.actions import ACTIONS
from tui.screens.confirm_dialog import ConfirmDialog, DialogOption
from tui.screens.create.undo_history import UndoHistory
from tui.screens.help import HelpScreen
from tui.unpainted_input import InputPhase
from widgets.footer import KeyFooter
from widgets.line_input import EDITING_ACTIONS
from widgets.log_view import LogView
from widgets.review_list import ReviewList
from widgets.status_popover import StatusPopover
from widgets.table import KeyedTable

MULTIPLEXER_KEYS = {"ctrl+a", "ctrl+b"}
"""Of GNU screen and tmux."""
ALIASED_KEYS = {"ctrl+i", "ctrl+m", "ctrl+h", "ctrl+left_square_bracket"}
"""They arrive as tab, enter, backspace and esc."""


def test_no_key_is_used_that_does_not_arrive_or_arrives_as_another() -> None:
    keys = {key for action in ACTIONS for key in action.keys.split(",")}
    for widget in (KeyedTable, StatusPopover, LogView, ReviewList):
        for one in widget.BINDINGS:
            assert isinstance(one, Binding)
            keys |= set(one.key.split(","))
    assert not keys & (MULTIPLEXER_KEYS | ALIASED_KEYS)
    assert "ctrl+c" not in EDITING_ACTIONS


# -- leaving ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        (),
        ("slash", "x"),
        ("space",),
        ("colon", "x"),
        ("N",),
        ("question_mark",),
        ("c",),
        ("l",),
        ("n", "a", "tab"),
        ("n", "a", "tab", "space"),
        ("n", "a", "ctrl+o", "x"),
        ("n", "a", "escape"),
    ],
)
async def test_ctrl_c_leaves_from_everywhere(
    change_service: FakeChangeService, keys: Sequence[str]
) -> None:
    app = make_app(change_service=change_service)
    async with app.run_test(size=(80, 24)) as pilot:
        post_keys(pilot, *keys, "ctrl+c")
        await wait_for(pilot, lambda: app.exiting, "the end", 60)
    if "n" in keys:
        assert change_service.draft_store is not None
        assert [one.draft.texts["name"] for one in change_service.draft_store.list_saved()] == ["a"]


async def test_a_form_that_cannot_be_kept_is_left_only_by_a_second_ctrl_c(
    change_service: FakeChangeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeChangeService, "draft_store", property(lambda _self: None))
    async with run_form(change_service) as pilot:
        await type_text(pilot, "llama")
        await pilot.press("ctrl+c")
        await wait_for_text(
            pilot, "The draft cannot be saved", "press ctrl+c again to quit without it"
        )
        assert not app_of(pilot).exiting
        await pilot.press("ctrl+c")
        await wait_for(pilot, lambda: app_of(pilot).exiting, "the end", 60)


async def test_ctrl_c_while_it_deploys_finishes_first(
    change_service: FakeChangeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()
    whole = FakeChangeService.deploy

    async def slowly(self: FakeChangeService, *arguments: object) -> ApplyResult:
        await gate.wait()
        return await whole(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeChangeService, "deploy", slowly)
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 3)
        await pilot.press("ctrl+s")
        await wait_for_text(pilot, "Deploying…")
        await pilot.press("ctrl+c")
        await wait_for_text(
            pilot, "Deploying: it is finished first; press ctrl+c again to quit at once."
        )
        assert not app_of(pilot).exiting
        gate.set()
        await wait_for(pilot, lambda: app_of(pilot).exiting, "the end", 60)
    assert [place.kind for place in change_service.applied_objects] == [
        "Deployment",
        "Service",
        "HTTPRoute",
    ]


async def test_a_second_ctrl_c_while_it_deploys_says_what_was_made(
    change_service: FakeChangeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def half(
        self: FakeChangeService, manifests: object, own: object, on_made: object
    ) -> ApplyResult:
        from servedeck.cluster.apply import ObjectRef

        on_made(AppliedObject(ObjectRef.from_manifest(manifests[0]), "uid", True))  # type: ignore[index, operator]
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(FakeChangeService, "deploy", half)
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 3)
        await pilot.press("ctrl+s")
        await wait_for_text(pilot, "Deploying…")
        await pilot.press("ctrl+c", "ctrl+c")
        await wait_for(pilot, lambda: app_of(pilot).exiting, "the end", 60)
        printed = str(app_of(pilot)._exit_renderables)
        assert app_of(pilot).return_code == 1
    assert "Deploying was not finished: created: Deployment" in printed


# -- going back ---------------------------------------------------------------------------------


def current_place(pilot: object) -> tuple[str, str]:
    """The screen in front, and what in it stands in front of the rest."""
    app = pilot.app  # type: ignore[attr-defined]
    name = type(app.screen).__name__
    if app.screen is app.servings:
        parts = [
            *(["status"] if app.servings.popover.is_open else []),
            *(["filter"] if app.servings.filter_line.display else []),
        ]
        return name, " ".join(parts)
    if getattr(app.screen, "step", 0) == 3:
        return name, app.screen.plan_view.current_view
    return name, ""


BACK_CASES = [
    (("slash", *"llama", "enter", "space"), [("ServingsScreen", "filter"), ("ServingsScreen", "")]),
    (("slash", *"llama"), [("ServingsScreen", "")]),
    (("colon", "x"), [("ServingsScreen", "")]),
    (("N",), [("ServingsScreen", "")]),
    (("ctrl+k",), [("ServingsScreen", "")]),
    (("question_mark",), [("ServingsScreen", "")]),
    (("space", "c"), [("ServingsScreen", "status"), ("ServingsScreen", "")]),
    (("space", "1", "question_mark"), [("ServingScreen", ""), ("ServingsScreen", "status")]),
    (("n",), [("ServingsScreen", "")]),
    (
        ("n", "a", "tab", "space"),
        [("CreateScreen", ""), ("ConfirmDialog", ""), ("CreateScreen", "")],
    ),
    (
        ("n", "a", "ctrl+o", "x"),
        [("CreateScreen", ""), ("ConfirmDialog", ""), ("CreateScreen", "")],
    ),
    (
        ("n", *"abc", "ctrl+n", *MODEL, "ctrl+n", "y", "y"),
        [("CreateScreen", "review"), ("ConfirmDialog", ""), ("CreateScreen", "review")],
    ),
]


@pytest.mark.parametrize(("keys", "ways"), BACK_CASES)
async def test_esc_goes_back_one_level(
    change_service: FakeChangeService, keys: Sequence[str], ways: Sequence[tuple[str, str]]
) -> None:
    app = make_app(change_service=change_service)
    async with app.run_test(size=(80, 24)) as pilot:
        post_keys(pilot, *keys)
        await app._key_queue.wait_until_idle()
        for way in ways:
            await pilot.press("escape")
            await app._key_queue.wait_until_idle()
            assert current_place(pilot) == way


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [("", "r"), ("down", "s"), ("down down", "c"), ("up", "c"), ("j", "s"), ("tab", "s")],
)
async def test_arrows_and_letters_move_the_cursor_of_a_dialog(keys: str, chosen: str) -> None:
    results: list[str | None] = []
    options = [DialogOption("r", "restart"), DialogOption("s", "stop"), DialogOption("c", "cancel")]
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(ConfirmDialog("Restart?", ["A sentence."], options), results.append)
        await pilot.press(*keys.split(), "enter")
        assert results == [chosen]


async def test_a_click_on_a_letter_in_the_footer_of_a_dialog_chooses_its_option() -> None:
    results: list[str | None] = []
    options = [DialogOption("r", "restart"), DialogOption("c", "cancel")]
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(ConfirmDialog("Restart?", ["A sentence."], options), results.append)
        await wait_for_text(pilot, "r restart  c cancel  enter choose")
        assert await pilot.click(KeyFooter, offset=(12, 0))
        await pilot.pause()
    assert results == ["c"]


async def test_the_option_under_the_cursor_is_in_sight_in_a_small_terminal() -> None:
    options = [DialogOption(str(number), f"draft-{number}") for number in range(9)]
    app = make_app()
    async with app.run_test(size=(80, 10)) as pilot:
        app.push_screen(ConfirmDialog("Drafts", ["A sentence."], options))
        await wait_for_text(pilot, "A sentence.", "▌ 0  draft-0")
        await pilot.press("up")
        screen = await wait_for_text(pilot, "A sentence.", "▌ 8  draft-8")
        assert "draft-0" not in screen
        await pilot.resize_terminal(80, 24)
        await wait_for_text(pilot, "draft-0", "▌ 8  draft-8")


async def test_esc_with_nothing_to_leave_says_so() -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("escape")
        await wait_for_text(pilot, "Nothing to close or clear; q quits.")


# -- keys without a meaning ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (("x",), "x: no action here; ? lists the keys."),
        (("tab",), "tab: no action here; ? lists the keys."),
        (("f8",), "f8: no action here; ? lists the keys."),
        (("slash", "f8"), "f8: no action here; f1 lists the keys."),
        (("space", "9"), "9: the serving has 1 Pod."),
        (("c", "z"), "z: no action here; ? lists the keys."),
        (("l", "f8"), "f8: no action here; ? lists the keys."),
        (("question_mark", "z"), "z: no action here; the footer lists the keys."),
        (("colon", "f8"), "f8: no action here; the footer lists the keys."),
        (("n", "f8"), "f8: no action here; f1 lists the keys."),
        (("n", "a", "escape", "z"), "z: no action here; the footer lists the keys."),
        (("n", "ctrl+o", "f8"), "f8: no action here; the footer lists the keys."),
    ],
)
async def test_an_unbound_key_is_reported(
    change_service: FakeChangeService, keys: Sequence[str], expected: str
) -> None:
    async with make_app(change_service=change_service).run_test(size=(80, 24)) as pilot:
        post_keys(pilot, *keys)
        await wait_for_text(pilot, expected)


async def test_text_pasted_where_no_field_is_does_nothing_and_says_so() -> None:

    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(events.Paste("qqq"))
        await wait_for_text(pilot, "The pasted text is ignored", "press / to filter first")
        assert not app.exiting


# -- slow clusters ------------------------------------------------------------------------------


async def test_esc_stops_what_keys_wait_for(
    change_service: FakeChangeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.key_queue.BUSY_MESSAGE_DELAY", 0.05)
    monkeypatch.setattr("tui.key_queue.QUIT_TIMEOUT", 0.05)

    async def never(_self: FakeChangeService, _key: object, **_: object) -> object:
        return await asyncio.Event().wait()

    monkeypatch.setattr(FakeChangeService, "import_serving", never)
    app = make_app(change_service=change_service)
    async with app.run_test(size=(80, 24)) as pilot:
        post_keys(pilot, "C", "l", "q")
        await wait_for_text(pilot, "Reading search/embed-large…; esc cancels it.")
        assert app.screen is app.servings and not app.exiting
        post_keys(pilot, "escape")
        await wait_for_text(pilot, "Reading search/embed-large: canceled; 2 keys were dropped.")
        post_keys(pilot, "question_mark")
        await wait_for_text(pilot, "Serving list")
        post_keys(pilot, "escape", "C", "ctrl+c")
        await wait_for(pilot, lambda: app.exiting, "the end", 60)


async def test_keys_are_handled_while_the_app_is_never_idle() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        going = True

        async def again() -> None:
            await asyncio.sleep(0)
            if going:
                app.servings.table.call_later(again)

        await again()
        post_keys(pilot, "slash", "q", "x")
        # Pilot would wait for an app at rest.
        await wait_until(lambda: app.servings.filter_line.text == "qx", "the filter")
        going = False


async def test_digits_behind_the_key_of_the_filter_are_text_of_the_filter() -> None:
    """They are in the same packet; on the list a digit changes the namespace."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        shown = app.servings.namespace
        post_keys(pilot, "slash", *"srv29")
        await wait_for(pilot, lambda: app.servings.filter_line.text == "srv29", "the filter")
        assert app.servings.namespace == shown


# -- undo ---------------------------------------------------------------------------------------


def test_what_is_typed_into_a_field_is_one_change() -> None:
    draft = Draft(namespace="a")
    history = UndoHistory(draft)
    for text in ("l", "ll", "lla"):
        draft.texts["name"] = text
        history.record("name", typed=True)
    history.end_typing()
    draft.texts["name"] = "other"
    history.record("name", typed=True)
    draft.rows["env"].append({"name": "A"})
    history.record("env.0")
    assert [history.undo() for _ in range(4)] == ["env.0", "name", "name", None]
    assert draft == Draft(namespace="a")
    assert [history.redo() for _ in range(4)] == ["name", "name", "env.0", None]
    assert draft.texts["name"] == "other" and draft.rows["env"] == [{"name": "A"}]


async def test_undo_brings_a_removed_row_back_with_its_values_and_place(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        form = form_of(pilot)
        await go_to_step(pilot, 2)
        await focus_field(pilot, "add.env")
        post_keys(pilot, "enter", *"A=1", "down", "enter", *"B=2", "up", "up", "ctrl+r")
        await wait_for_text(pilot, "Removed A; ctrl+z undoes it.")
        rows = form.draft.rows["env"]
        assert [row["name"] for row in rows] == ["B"]
        post_keys(pilot, "ctrl+z")
        await wait_for_text(pilot, "Undone; ctrl+x redoes it.")
        rows = form.draft.rows["env"]
        assert [(row["name"], row["value"]) for row in rows] == [("A", "1"), ("B", "2")]
        assert getattr(form.focused, "path", "") == "env.0.name"
        post_keys(pilot, "ctrl+x")
        await wait_for_text(pilot, "Redone.")
        assert [row["name"] for row in form.draft.rows["env"]] == ["B"]


async def test_undo_goes_to_the_step_of_the_change_and_takes_templates_back(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        form = form_of(pilot)
        before = form.draft.to_dict()
        await focus_field(pilot, "template")
        post_keys(pilot, "right")
        await wait_for(pilot, lambda: form.draft.to_dict() != before, "another template", 60)
        await focus_field(pilot, "name")
        post_keys(pilot, *"abc", "ctrl+n")
        await wait_for(pilot, lambda: form.step == 2, "step 2", 60)
        post_keys(pilot, "ctrl+z")
        await wait_for(pilot, lambda: form.step == 1, "step 1", 60)
        assert form.draft.texts["name"] == ""
        post_keys(pilot, "ctrl+z", "ctrl+z")
        await wait_for_text(pilot, "Nothing to undo.")
        assert form.draft.to_dict() == before


# -- small things -------------------------------------------------------------------------------


async def test_sorting_skips_columns_without_room_and_shows_the_whole_mark() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        seen = set()
        for _ in range(12):
            await pilot.press("greater_than_sign")
            await pilot.pause()
            header = screen_text(app).splitlines()[3]
            label = next(
                c.label for c in app.servings.table.columns if c.key == app.servings.sort_column
            )
            assert f"{label} ▴" in header or f"{label} ▾" in header
            seen.add(label)
        assert {"NAME", "STATUS", "READY", "AGE"} <= seen


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("pods", "no command 'pods'; the status of a serving lists its Pods"),
        ("svc", "no command 'svc'; Connect shows a serving's Service"),
        ("deploy", "no command 'deploy'; the list shows the Deployments"),
        ("nodes", "no command 'nodes'; the create form lists the nodes"),
        ("xyz", "no command 'xyz'; esc closes."),
        ("failing", "no command 'failing'; the arrows choose one of these."),
    ],
)
async def test_a_word_that_is_no_command_runs_nothing(typed: str, expected: str) -> None:
    app = make_app()
    async with app.run_test(size=(120, 24)) as pilot:
        post_keys(pilot, "colon", *typed, "enter")
        await wait_for_text(pilot, expected)
        assert type(app.screen).__name__ == "CommandScreen"


async def test_a_click_on_a_pod_opens_its_log() -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        post_keys(pilot, "j", "space")
        screen = await wait_for_text(pilot, "View logs")
        lines = screen.splitlines()
        y = next(y for y, line in enumerate(lines) if "vv7tz" in line and "2 " in line)
        await pilot.click(offset=(lines[y].index("vv7tz"), y))
        await wait_for(pilot, lambda: type(app.screen).__name__ == "ServingScreen", "the log", 60)
        await wait_for_text(pilot, "llama-70b-chat-6b8f-vv7tz")


async def test_a_section_that_is_gone_to_begins_at_the_top(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        form = form_of(pilot)
        await go_to_step(pilot, 2)
        post_keys(pilot, "pagedown")

        def top() -> str:
            return screen_text(pilot.app).splitlines()[form.form.region.y + 1]

        await app_of(pilot)._key_queue.wait_until_idle()
        await wait_for(
            pilot, lambda: form.form.scroll_y and "──" in top(), "a heading at the top", 60
        )


async def test_what_was_typed_before_a_signal_comes_to_its_field(
    change_service: FakeChangeService,
) -> None:
    app = make_app(change_service=change_service)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: screen_text(app).strip(), "the first paint")
        await pilot.press("n")
        await wait_for_text(pilot, "Service Name")
        post_keys(pilot, *"llama", "ctrl+n", *"lost")
        app.exit_on_signal(15)
        await wait_for(pilot, lambda: app.exiting, "the end")
        assert app.return_code == 143
    (left,) = DraftStore("https://127.0.0.1:6443", change_service.drafts_dir).list_saved()
    assert left.draft.texts["name"] == "llama"


async def test_a_letter_that_would_answer_a_dialog_is_not_pressed_after_a_signal(
    change_service: FakeChangeService,
) -> None:
    app = make_app(change_service=change_service)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: screen_text(app).strip(), "the first paint")
        await pilot.press("n")
        await wait_for_text(pilot, "Service Name")
        await pilot.press(*"llama", "escape")
        await wait_for_text(pilot, "is kept until you deploy or discard it")
        post_keys(pilot, "d")  # discard
        app.exit_on_signal(15)
        await wait_for(pilot, lambda: app.exiting, "the end")
    assert len(DraftStore("https://127.0.0.1:6443", change_service.drafts_dir).list_saved()) == 1


async def test_ctrl_c_ends_where_a_part_of_the_screen_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tui.key_queue.QUIT_TIMEOUT", 0.1)
    app, hangs = make_app(), asyncio.Event()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: screen_text(app).strip(), "the first paint")
        app.servings.table.call_later(hangs.wait)
        post_keys(pilot, "j", "ctrl+c")
        await wait_until(lambda: app.exiting, "the end")
        hangs.set()


async def test_ctrl_c_is_handled_after_earlier_keys(
    change_service: FakeChangeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr("tui.key_queue.monotonic", lambda: now)  # none of them takes any time
    monkeypatch.setattr("tui.key_queue.QUIT_TIMEOUT", 0.001)
    app = make_app(change_service=change_service)
    async with app.run_test(size=(80, 24)) as pilot:
        post_keys(pilot, "n", "a", "ctrl+c")
        await wait_for(pilot, lambda: app.exiting, "the end")
    assert change_service.draft_store is not None
    assert [one.draft.texts["name"] for one in change_service.draft_store.list_saved()] == ["a"]


async def test_a_key_flood_is_dropped_and_ctrl_c_still_quits() -> None:
    app, hangs = make_app(), asyncio.Event()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: screen_text(app).strip(), "the first paint")
        app.servings.table.call_later(hangs.wait)
        post_keys(pilot, *"j" * 1100, "/", "q")
        await wait_until(lambda: "were dropped" in screen_text(app), "the dropped keys")
        hangs.set()
        await app._key_queue.wait_until_idle()
        assert not app.exiting and app.screen is app.servings
        hangs.clear()
        app.servings.table.call_later(hangs.wait)
        app._key_queue._overflowed_at = 0.0
        post_keys(pilot, *"j" * 1100, "ctrl+c")
        await wait_until(lambda: app.exiting, "the end")
        hangs.set()


async def test_input_typed_after_a_suspension_is_dropped_and_reported() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: screen_text(app).strip(), "the first paint")
        post_keys(pilot, "q")  # is not handled before this task waits
        app.handle_suspend()
        app.handle_resume()
        await wait_for_text(pilot, "One key was dropped: typed after servedeck was suspended.")
        assert not app.exiting
        await pilot.press("slash", "q")
        assert not app.exiting


async def test_a_message_to_a_screen_that_is_not_mounted_yet_is_shown() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: screen_text(app).strip(), "the first paint")
        app.push_screen(HelpScreen(("servings",)))
        app.show_message("Something went wrong.")
        await wait_for_text(pilot, "Something went wrong.")


async def test_changes_of_the_cluster_wait_until_a_key_has_its_effect(monkeypatch):
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "llama-70b-chat")
        assert not source.is_busy(), "no terminal, no input"
        read_at = monotonic()
        monkeypatch.setattr(app, "last_input_at", lambda: read_at)
        monkeypatch.setattr("tui.unpainted_input.HOLD_SECONDS", 600.0)
        assert source.is_busy()
        await pilot.press("j")
        await wait_for(pilot, lambda: not source.is_busy(), "the paint")
        read_at = monotonic()
        assert source.is_busy()
        monkeypatch.setattr("tui.unpainted_input.HOLD_SECONDS", 0.0)
        assert not source.is_busy(), "a key without an effect"


async def test_a_paint_before_a_key_was_handled_is_not_its_effect(monkeypatch):
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "llama-70b-chat")
        read_at = monotonic()
        monkeypatch.setattr(app, "last_input_at", lambda: read_at)
        monkeypatch.setattr("tui.unpainted_input.HOLD_SECONDS", 600.0)
        painted = app.post_display_hook
        paints = []
        monkeypatch.setattr(app, "post_display_hook", lambda: (painted(), paints.append(1)))
        app.servings.refresh()
        app.post_display_hook()
        assert paints
        assert source.is_busy(), "the key was read and not handled"
        await pilot.press("j")
        await wait_for(pilot, lambda: not source.is_busy(), "the paint")


@pytest.mark.parametrize(
    ("phase", "interval", "is_painted"),
    [
        (InputPhase.HANDLING, 0.0, False),
        (InputPhase.UNPAINTED, 600.0, True),
        (InputPhase.PAINTED, 600.0, False),
        (InputPhase.PAINTED, 0.0, True),
    ],
)
async def test_the_effect_of_a_key_is_painted_at_once_and_nothing_before_it(
    monkeypatch, phase, interval, is_painted
):
    app = make_app(fakes.FakeSource().add_views(*fakes.fleet()))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "llama-70b-chat")
        screen, painted = app.screen, []
        monkeypatch.setattr("tui.screens.base.PAINT_INTERVAL", interval)
        monkeypatch.setattr("tui.screens.base.paint_now", painted.append)
        monkeypatch.setattr(type(app), "input_phase", phase)
        screen._last_paint_at = monotonic()
        screen.refresh()
        await screen.on_idle(events.Idle())
        assert painted == ([screen] if is_painted else [])
