"""One meaning for each key, on every screen: leaving, going back, undoing, and saying so where a
key has none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from textual.binding import Binding

from servedeck.changes.draft import Draft
from servedeck.changes.draft_store import Shelf
from servedeck.cluster.apply import Made, Outcome
from tests.tui.bench import FakeBench
from tests.tui.helpers import burst, make_app, screen_text, shows, wait_for
from tests.tui.test_create import MODEL, app_of, form_of, form_on, go_to, to_step, type_text
from tests.waiting import until
from tui.actions import ACTIONS
from tui.screens.create.undo_history import History
from tui.screens.help import HelpScreen
from widgets.line_input import EDITING
from widgets.review_list import ReviewList
from widgets.status_popover import StatusPopover
from widgets.stream_log import StreamLog
from widgets.table import FleetTable

TAKEN = {"ctrl+a", "ctrl+b"}
"""Of GNU screen and tmux."""
SAME = {"ctrl+i", "ctrl+m", "ctrl+h", "ctrl+left_square_bracket"}
"""They arrive as tab, enter, backspace and esc."""


@pytest.fixture
def bench(tmp_path: Path) -> FakeBench:
    return FakeBench(tmp_path / "drafts")


def test_no_key_is_used_that_does_not_arrive_or_arrives_as_another() -> None:
    keys = {key for action in ACTIONS for key in action.keys.split(",")}
    for widget in (FleetTable, StatusPopover, StreamLog, ReviewList):
        for one in widget.BINDINGS:
            assert isinstance(one, Binding)
            keys |= set(one.key.split(","))
    assert not keys & (TAKEN | SAME)
    assert "ctrl+c" not in EDITING


# -- leaving ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        (),
        ("slash", "x"),
        ("space",),
        ("colon", "x"),
        ("ctrl+n",),
        ("question_mark",),
        ("c",),
        ("l",),
        ("n", "a", "tab"),
        ("n", "a", "tab", "space"),
        ("n", "a", "ctrl+o", "x"),
        ("n", "a", "escape"),
    ],
)
async def test_ctrl_c_leaves_from_everywhere(bench: FakeBench, keys: Sequence[str]) -> None:
    app = make_app(workbench=bench)
    async with app.run_test(size=(80, 24)) as pilot:
        burst(pilot, *keys, "ctrl+c")
        await wait_for(pilot, lambda: app.leaving, "the end", 60)
    if "n" in keys:
        assert bench.shelf is not None
        assert [one.draft.texts["name"] for one in bench.shelf.left()] == ["a"]


async def test_a_form_that_cannot_be_kept_is_left_only_by_a_second_ctrl_c(
    bench: FakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeBench, "shelf", property(lambda _self: None))
    async with form_on(bench) as pilot:
        await type_text(pilot, "llama")
        await pilot.press("ctrl+c")
        await shows(pilot, "The draft cannot be kept", "ctrl+c again leaves without it")
        assert not app_of(pilot).leaving
        await pilot.press("ctrl+c")
        await wait_for(pilot, lambda: app_of(pilot).leaving, "the end", 60)


async def test_ctrl_c_while_it_deploys_finishes_first(
    bench: FakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()
    whole = FakeBench.deploy

    async def slowly(self: FakeBench, *arguments: object) -> Outcome:
        await gate.wait()
        return await whole(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeBench, "deploy", slowly)
    async with form_on(bench) as pilot:
        await to_step(pilot, 3)
        await pilot.press("ctrl+s")
        await shows(pilot, "Deploying…")
        await pilot.press("ctrl+c")
        await shows(pilot, "Deploying: it is finished first; ctrl+c again leaves at once.")
        assert not app_of(pilot).leaving
        gate.set()
        await wait_for(pilot, lambda: app_of(pilot).leaving, "the end", 60)
    assert [place.kind for place in bench.stored] == ["Deployment", "Service", "HTTPRoute"]


async def test_a_second_ctrl_c_while_it_deploys_says_what_was_made(
    bench: FakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def half(self: FakeBench, manifests: object, own: object, on_made: object) -> Outcome:
        from servedeck.cluster.apply import Place

        on_made(Made(Place.of(manifests[0]), "uid", True))  # type: ignore[index, operator]
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(FakeBench, "deploy", half)
    async with form_on(bench) as pilot:
        await to_step(pilot, 3)
        await pilot.press("ctrl+s")
        await shows(pilot, "Deploying…")
        await pilot.press("ctrl+c", "ctrl+c")
        await wait_for(pilot, lambda: app_of(pilot).leaving, "the end", 60)
        told = str(app_of(pilot)._exit_renderables)
        assert app_of(pilot).return_code == 1
    assert "Deploying was not finished: created were Deployment" in told


# -- going back ---------------------------------------------------------------------------------


def place(pilot: object) -> tuple[str, str]:
    """The screen in front, and what in it stands in front of the rest."""
    app = pilot.app  # type: ignore[attr-defined]
    name = type(app.screen).__name__
    if app.screen is app.servings:
        parts = [
            *(["status"] if app.servings.popover.is_open else []),
            *(["filter"] if app.servings.filter_line.display else []),
        ]
        return name, " ".join(parts)
    return name, getattr(app.screen, "_view", "") if getattr(app.screen, "step", 0) == 3 else ""


BACK = [
    (("slash", *"llama", "enter", "space"), [("ServingsScreen", "filter"), ("ServingsScreen", "")]),
    (("slash", *"llama"), [("ServingsScreen", "")]),
    (("colon", "x"), [("ServingsScreen", "")]),
    (("ctrl+n",), [("ServingsScreen", "")]),
    (("ctrl+k",), [("ServingsScreen", "")]),
    (("question_mark",), [("ServingsScreen", "")]),
    (("space", "c"), [("ServingsScreen", "status"), ("ServingsScreen", "")]),
    (("space", "1", "question_mark"), [("LogScreen", ""), ("ServingsScreen", "status")]),
    (("n",), [("ServingsScreen", "")]),
    (("n", "a", "tab", "space"), [("CreateScreen", ""), ("AskScreen", ""), ("CreateScreen", "")]),
    (("n", "a", "ctrl+o", "x"), [("CreateScreen", ""), ("AskScreen", ""), ("CreateScreen", "")]),
    (
        ("n", *"abc", "ctrl+n", *MODEL, "ctrl+n", "y", "y"),
        [("CreateScreen", "review"), ("AskScreen", ""), ("CreateScreen", "review")],
    ),
]


@pytest.mark.parametrize(("keys", "ways"), BACK)
async def test_esc_goes_back_one_level(
    bench: FakeBench, keys: Sequence[str], ways: Sequence[tuple[str, str]]
) -> None:
    app = make_app(workbench=bench)
    async with app.run_test(size=(80, 24)) as pilot:
        burst(pilot, *keys)
        await app._keyqueue.done()
        for way in ways:
            await pilot.press("escape")
            await app._keyqueue.done()
            assert place(pilot) == way


async def test_esc_with_nothing_to_leave_says_so() -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("escape")
        await shows(pilot, "Nothing to close or to clear; q quits.")


# -- keys without a meaning ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (("d",), "d: no action here; ? lists the keys."),
        (("tab",), "tab: no action here; ? lists the keys."),
        (("f9",), "f9: no action here; ? lists the keys."),
        (("slash", "f9"), "f9: no action here; f1 lists the keys."),
        (("space", "9"), "9: the serving has 1 Pod."),
        (("c", "z"), "z: no action here; ? lists the keys."),
        (("l", "z"), "z: no action here; ? lists the keys."),
        (("question_mark", "z"), "z: no action here; the line below lists the keys."),
        (("colon", "f9"), "f9: no action here; the line below lists the keys."),
        (("n", "f9"), "f9: no action here; f1 lists the keys."),
        (("n", "a", "escape", "z"), "z: no action here; the line below lists the keys."),
        (("n", "ctrl+o", "f9"), "f9: no action here; the line below lists the keys."),
    ],
)
async def test_a_key_without_a_meaning_says_so(
    bench: FakeBench, keys: Sequence[str], said: str
) -> None:
    async with make_app(workbench=bench).run_test(size=(80, 24)) as pilot:
        burst(pilot, *keys)
        await shows(pilot, said)


async def test_text_pasted_where_no_field_is_does_nothing_and_says_so() -> None:
    from textual import events

    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(events.Paste("qqq"))
        await shows(pilot, "The pasted text is ignored", "press / to filter first")
        assert not app.leaving


# -- slow clusters ------------------------------------------------------------------------------


async def test_esc_stops_what_keys_wait_for(
    bench: FakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.key_queue.SAID_AFTER", 0.05)
    monkeypatch.setattr("tui.key_queue.ENDS_AFTER", 0.05)

    async def never(_self: FakeBench, _key: object) -> object:
        return await asyncio.Event().wait()

    monkeypatch.setattr(FakeBench, "read", never)
    app = make_app(workbench=bench)
    async with app.run_test(size=(80, 24)) as pilot:
        burst(pilot, "C", "l", "q")
        await shows(pilot, "Reading search/embed-large…; esc stops it.")
        assert app.screen is app.servings and not app.leaving
        burst(pilot, "escape")
        await shows(pilot, "Reading search/embed-large: stopped; 2 keys were dropped.")
        burst(pilot, "question_mark")
        await shows(pilot, "Serving list")
        burst(pilot, "escape", "C", "ctrl+c")
        await wait_for(pilot, lambda: app.leaving, "the end", 60)


async def test_keys_go_on_while_something_never_rests() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        going = True

        async def again() -> None:
            await asyncio.sleep(0)
            if going:
                app.servings.table.call_later(again)

        await again()
        burst(pilot, "slash", "q", "x")
        # Pilot would wait for an app at rest.
        await until(lambda: app.servings.filter_line.text == "qx", "the filter")
        going = False


# -- undo ---------------------------------------------------------------------------------------


def test_what_is_typed_into_a_field_is_one_change() -> None:
    draft = Draft(project="a")
    history = History(draft)
    for text in ("l", "ll", "lla"):
        draft.texts["name"] = text
        history.note("name", typed=True)
    history.leave()
    draft.texts["name"] = "other"
    history.note("name", typed=True)
    draft.rows["env"].append({"name": "A"})
    history.note("env.0")
    assert [history.undo() for _ in range(4)] == ["env.0", "name", "name", None]
    assert draft == Draft(project="a")
    assert [history.redo() for _ in range(4)] == ["name", "name", "env.0", None]
    assert draft.texts["name"] == "other" and draft.rows["env"] == [{"name": "A"}]


async def test_undo_brings_a_removed_row_back_with_its_values_and_place(bench: FakeBench) -> None:
    async with form_on(bench) as pilot:
        form = form_of(pilot)
        await to_step(pilot, 2)
        await go_to(pilot, "add.env")
        burst(pilot, "enter", *"A=1", "down", "enter", *"B=2", "up", "up", "ctrl+r")
        await shows(pilot, "Removed A; ctrl+z brings it back.")
        rows = form.draft.rows["env"]
        assert [row["name"] for row in rows] == ["B"]
        burst(pilot, "ctrl+z")
        await shows(pilot, "Taken back; ctrl+x does it again.")
        rows = form.draft.rows["env"]
        assert [(row["name"], row["value"]) for row in rows] == [("A", "1"), ("B", "2")]
        assert getattr(form.focused, "path", "") == "env.0.name"
        burst(pilot, "ctrl+x")
        await shows(pilot, "Done again.")
        assert [row["name"] for row in form.draft.rows["env"]] == ["B"]


async def test_undo_goes_to_the_step_of_the_change_and_takes_templates_back(
    bench: FakeBench,
) -> None:
    async with form_on(bench) as pilot:
        form = form_of(pilot)
        before = form.draft.dump()
        await go_to(pilot, "template")
        burst(pilot, "right")
        await wait_for(pilot, lambda: form.draft.dump() != before, "another template", 60)
        await go_to(pilot, "name")
        burst(pilot, *"abc", "ctrl+n")
        await wait_for(pilot, lambda: form.step == 2, "step 2", 60)
        burst(pilot, "ctrl+z")
        await wait_for(pilot, lambda: form.step == 1, "step 1", 60)
        assert form.draft.texts["name"] == ""
        burst(pilot, "ctrl+z", "ctrl+z")
        await shows(pilot, "Nothing to take back.")
        assert form.draft.dump() == before


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
    ("typed", "said"),
    [
        ("pods", "no command 'pods'; the status of a serving lists its Pods"),
        ("svc", "no command 'svc'; Connect shows a serving's Service"),
        ("deploy", "no command 'deploy'; the list shows the Deployments"),
        ("nodes", "no command 'nodes'; the create form lists the nodes"),
        ("xyz", "no command 'xyz'; esc closes."),
        ("failing", "no command 'failing'; the arrows choose one of these."),
    ],
)
async def test_a_word_that_is_no_command_runs_nothing(typed: str, said: str) -> None:
    app = make_app()
    async with app.run_test(size=(120, 24)) as pilot:
        burst(pilot, "colon", *typed, "enter")
        await shows(pilot, said)
        assert type(app.screen).__name__ == "CommandScreen"


async def test_a_click_on_a_pod_opens_its_log() -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        burst(pilot, "j", "space")
        screen = await shows(pilot, "View logs")
        lines = screen.splitlines()
        y = next(y for y, line in enumerate(lines) if "vv7tz" in line and "2 " in line)
        await pilot.click(offset=(lines[y].index("vv7tz"), y))
        await wait_for(pilot, lambda: type(app.screen).__name__ == "LogScreen", "the log", 60)
        await shows(pilot, "llama-70b-chat-6b8f-vv7tz")


async def test_a_section_that_is_gone_to_begins_at_the_top(bench: FakeBench) -> None:
    async with form_on(bench) as pilot:
        form = form_of(pilot)
        await to_step(pilot, 2)
        burst(pilot, "pagedown")

        def top() -> str:
            return screen_text(pilot.app).splitlines()[form.form.region.y + 1]

        await app_of(pilot)._keyqueue.done()
        await wait_for(
            pilot, lambda: form.form.scroll_y and "──" in top(), "a heading at the top", 60
        )


async def test_what_was_typed_before_a_signal_comes_to_its_field(bench: FakeBench) -> None:
    app = make_app(workbench=bench)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: screen_text(app).strip(), "the first paint")
        await pilot.press("n")
        await shows(pilot, "Service Name")
        burst(pilot, *"llama", "ctrl+n", *"lost")
        app.end(15)
        await wait_for(pilot, lambda: app.leaving, "the end")
        assert app.return_code == 143
    (left,) = Shelf("https://127.0.0.1:6443", bench.folder).left()
    assert left.draft.texts["name"] == "llama"


async def test_a_letter_that_would_answer_a_dialog_is_not_pressed_after_a_signal(
    bench: FakeBench,
) -> None:
    app = make_app(workbench=bench)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: screen_text(app).strip(), "the first paint")
        await pilot.press("n")
        await shows(pilot, "Service Name")
        await pilot.press(*"llama", "escape")
        await shows(pilot, "is kept until you deploy or discard it")
        burst(pilot, "d")  # discard
        app.end(15)
        await wait_for(pilot, lambda: app.leaving, "the end")
    assert len(Shelf("https://127.0.0.1:6443", bench.folder).left()) == 1


async def test_ctrl_c_ends_where_a_part_of_the_screen_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tui.key_queue.ENDS_AFTER", 0.1)
    app, hangs = make_app(), asyncio.Event()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: screen_text(app).strip(), "the first paint")
        app.servings.table.call_later(hangs.wait)
        burst(pilot, "j", "ctrl+c")
        await until(lambda: app.leaving, "the end")
        hangs.set()


async def test_ctrl_c_comes_after_the_keys_before_it_while_they_go_on(
    bench: FakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr("tui.key_queue.monotonic", lambda: now)  # none of them takes any time
    monkeypatch.setattr("tui.key_queue.ENDS_AFTER", 0.001)
    app = make_app(workbench=bench)
    async with app.run_test(size=(80, 24)) as pilot:
        burst(pilot, "n", "a", "ctrl+c")
        await wait_for(pilot, lambda: app.leaving, "the end")
    assert bench.shelf is not None
    assert [one.draft.texts["name"] for one in bench.shelf.left()] == ["a"]


async def test_too_many_keys_are_all_left_out_from_there_on_and_ctrl_c_ends() -> None:
    app, hangs = make_app(), asyncio.Event()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: screen_text(app).strip(), "the first paint")
        app.servings.table.call_later(hangs.wait)
        burst(pilot, *"j" * 1100, "/", "q")
        await until(lambda: "left out" in screen_text(app), "what was left out")
        hangs.set()
        await app._keyqueue.done()
        assert not app.leaving and app.screen is app.servings
        hangs.clear()
        app.servings.table.call_later(hangs.wait)
        app._keyqueue._flooded_at = 0.0
        burst(pilot, *"j" * 1100, "ctrl+c")
        await until(lambda: app.leaving, "the end")
        hangs.set()


async def test_what_was_typed_behind_a_suspension_is_left_out_and_said() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: screen_text(app).strip(), "the first paint")
        burst(pilot, "q")  # is not handled before this task waits
        app.suspended()
        app.resume()
        await shows(pilot, "One key was dropped: typed after servedeck was suspended.")
        assert not app.leaving
        await pilot.press("slash", "q")
        assert not app.leaving


async def test_what_is_said_to_a_screen_that_has_just_been_asked_for_is_shown() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: screen_text(app).strip(), "the first paint")
        app.push_screen(HelpScreen(("servings",)))
        app.say("Something went wrong.")
        await shows(pilot, "Something went wrong.")
