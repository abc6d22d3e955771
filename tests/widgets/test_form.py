from __future__ import annotations

from typing import Any

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from servedeck.serving.spec.issues import error, warning
from tests.tui.helpers import wait_for
from widgets.field_input import FieldInput, from_display, to_display
from widgets.form import Form
from widgets.form_rows import (
    ButtonRow,
    ChoiceField,
    FieldRow,
    FormField,
    FormRow,
    HeadingRow,
    TextField,
    VariableRow,
)
from widgets.styled_line import plain_text


class FormApp(App[None]):
    def __init__(self, *rows: FormRow) -> None:
        super().__init__()
        self.rows = rows
        self.form = Form()
        self.received: list[object] = []

    def compose(self) -> ComposeResult:
        yield self.form

    def on_mount(self) -> None:
        self.form.set_rows(self.rows)
        self.form.focus_field(self.form.fields[0])

    def on_field_input_lines_pasted(self, message: FieldInput.LinesPasted) -> None:
        self.received.append((message.path, message.text))

    def on_form_neighbor_requested(self, message: Form.NeighborRequested) -> None:
        self.received.append((message.path, message.step))

    def on_form_options_requested(self, message: Form.OptionsRequested) -> None:
        self.received.append((message.path, message.typed))

    def on_form_pressed(self, message: Form.Pressed) -> None:
        self.received.append(message.button.path)


def text_row(path: str, text: str = "", label: str = "", **options: Any) -> FieldRow:
    return FieldRow(label or path.upper(), TextField(path, text), **options)


def choice_row(path: str, value: str) -> FieldRow:
    return FieldRow(path.upper(), ChoiceField(path, value))


def variable_row(path: str, *, masked: bool = False, **texts: str) -> VariableRow:
    row = dict.fromkeys(("name", "value", "source", "ref", "key"), "")
    return VariableRow(path, row | texts, masked=masked)


def many_rows(count: int = 30) -> list[FieldRow]:
    return [text_row(f"field{number}", str(number)) for number in range(count)]


def field_of(form: Form, path: str) -> FormField:
    return next(one for one in form.fields if one.path == path)


def lines_of(form: Form) -> list[str]:
    return [form.render_line(y).text.rstrip() for y in range(form.size.height)]


async def click(pilot: Pilot[None], path: str, x: int = 0) -> None:
    form = pilot.app.query_one(Form)
    at = form.field_region(field_of(form, path)).offset
    await pilot.click(offset=(at.x + x, at.y))
    await pilot.pause()


@pytest.mark.parametrize("text", ["plain", "two\nlines", "a\tb", "-----\nMIIC\n-----\n", ""])
def test_a_value_of_several_lines_comes_back_from_an_input_of_one(text: str) -> None:
    assert to_display(text).isprintable()
    assert from_display(to_display(text)) == text


def test_escapes_of_a_value_do_not_reach_the_input() -> None:
    assert "\x1b" not in to_display("\x1b]52;c;eA==\x07x")


async def test_escapes_of_a_value_do_not_reach_the_terminal_without_the_focus() -> None:
    row = text_row("image", "\x1b]52;c;eA==\x07x")
    async with FormApp(text_row("name"), row).run_test(size=(60, 10)) as pilot:
        await pilot.pause()
        assert "x" in lines_of(pilot.app.query_one(Form))[1]
        assert not any("\x1b" in line for line in lines_of(pilot.app.query_one(Form)))


# -- rows ---------------------------------------------------------------------------------------


async def test_errors_come_first_and_the_row_grows_by_what_is_wrong() -> None:
    row, other = text_row("cpu", "lots"), text_row("name", "llama")
    app = FormApp(row, other)
    async with app.run_test(size=(60, 10)) as pilot:
        await pilot.pause()
        assert app.form.field_region(other.field).y == 1
        row.set_issues([warning("cpu", "Is that meant?"), error("cpu", "It is no number.")])
        app.form.update_layout()
        assert app.form.field_region(other.field).y == 3
        lines = [plain_text(line).strip() for line in row.detail_lines]
        assert lines == ["✗ It is no number.", "! Is that meant?"]
        assert [line.strip() for line in lines_of(app.form)[1:3]] == lines
        row.set_issues(())
        app.form.update_layout()
        assert app.form.field_region(other.field).y == 1


async def test_an_input_is_no_wider_than_its_kind_needs_and_the_hint_stands_beside_it() -> None:
    row, other = text_row("cpu", "1", max_input_width=16), text_row("name")
    app = FormApp(row, other)
    async with app.run_test(size=(90, 10)) as pilot:
        await pilot.pause()
        assert app.form.editor.size.width == 16
        assert app.form.field_region(other.field).width == 90 - 25
        assert row.show_hint("Number of CPU cores: 0.5, 500m, 8")
        assert "Number of CPU cores: 0.5, 500m, 8" in app.form.render_line(0).text
        assert not row.show_hint("x" * 60)
        assert not other.show_hint("Lowercase letters, digits and hyphens")
        assert row.show_hint("Number of CPU cores: 0.5, 500m, 8")
        app.form.move_focus(1)
        assert "Number" not in app.form.render_line(0).text


async def test_an_empty_input_is_seen_without_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    rows = [text_row(path, max_input_width=16) for path in ("cpu", "memory")]
    app = FormApp(*rows)
    async with app.run_test(size=(60, 10)) as pilot:
        await pilot.pause()
        assert app.form.editor.render_line(0).text.count("_") == 15
        assert app.form.render_line(1).text.count("_") == 15


@pytest.mark.parametrize(("width", "expected"), [(90, 65), (40, 24), (20, 14)])
async def test_the_label_leaves_the_input_room_in_a_narrow_terminal(
    width: int, expected: int
) -> None:
    app = FormApp(text_row("image", "vllm:1", label="Container Image"))
    async with app.run_test(size=(width, 10)) as pilot:
        await wait_for(pilot, lambda: app.form.editor.size.width == expected, "the width")


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("source", ["", "secret", "config_map", "line"])
async def test_the_fields_of_a_variable_are_beside_each_other_in_any_terminal(
    width: int, source: str
) -> None:
    row = variable_row("env.0", source=source)
    app = FormApp(row)
    async with app.run_test(size=(width, 10)) as pilot:
        await pilot.pause()
        ends = [0]
        for place in row.places:
            assert place.x >= ends[-1]
            assert place.width >= 1
            ends.append(place.x + place.width)
        assert ends[-1] <= width


async def test_the_rows_are_fitted_to_a_terminal_that_changes_its_size() -> None:
    app = FormApp(HeadingRow("Container"), *many_rows(5))
    async with app.run_test(size=(60, 10)) as pilot:
        await pilot.pause()
        assert len(lines_of(app.form)[1]) == 59
        await pilot.resize_terminal(40, 4)
        await pilot.pause()
        assert app.form.show_vertical_scrollbar
        app.form.scroll_to(y=0, animate=False)
        assert len(lines_of(app.form)[1]) == 38


# -- the focus ----------------------------------------------------------------------------------


async def test_only_one_input_is_mounted_whatever_the_form_shows() -> None:
    rows = [*many_rows(), *(variable_row(f"env.{number}") for number in range(10))]
    app = FormApp(*rows)
    async with app.run_test(size=(60, 10)) as pilot:
        await pilot.pause()
        assert len(app.form.walk_children()) == 1
        for _ in app.form.fields:
            app.form.move_focus(1)
            await pilot.pause()
            assert list(app.query(FieldInput)) == [app.form.editor]
            assert app.form.focused_field is not None
            assert app.form.editor.region == app.form.field_region(app.form.focused_field)
            assert app.form.region.contains_region(app.form.editor.region)


async def test_the_focus_goes_through_all_fields_and_wraps_at_the_ends() -> None:
    app = FormApp(text_row("name"), choice_row("template", "vLLM"), ButtonRow("add", "+ Add", ""))
    async with app.run_test() as pilot:
        seen = []
        for _ in range(4):
            seen.append(app.form.path)
            app.form.move_focus(1)
        assert seen == ["name", "template", "add", "name"]
        app.form.move_focus(-2)
        await pilot.pause()
        assert app.form.path == "add"
        assert app.form.is_last_focused


async def test_a_jump_to_a_section_shows_its_heading_at_the_top() -> None:
    app = FormApp(*many_rows(8), HeadingRow("Second"), *many_rows(20))
    async with app.run_test(size=(60, 8)) as pilot:
        await pilot.pause()
        app.form.focus_section(1)
        assert app.form.focused_field is app.form.fields[8]
        assert "Second" in lines_of(app.form)[1]
        app.form.focus_section(1)
        assert app.form.focused_field is app.form.fields[8]


async def test_the_input_moves_with_its_field_when_the_view_is_scrolled() -> None:
    app = FormApp(*many_rows())
    async with app.run_test(size=(60, 10)) as pilot:
        app.form.focus_field(app.form.fields[5])
        await pilot.pause()
        assert app.form.editor.region.y == 5
        app.form.scroll_to(y=3, animate=False)
        await pilot.pause()
        assert app.form.editor.region.y == 2


async def test_what_is_typed_into_one_field_after_another_goes_where_it_is_meant() -> None:
    rows = [text_row(path) for path in ("name", "image", "cpu")]
    app = FormApp(*rows)
    async with app.run_test() as pilot:
        for field, keys in zip(list(app.form.fields), ("ab", "cd", "ef"), strict=True):
            app.form.focus_field(field)
            await pilot.press(*keys)
        app.form.take_typed_text()
        assert [row.field.text for row in rows if isinstance(row.field, TextField)] == [
            "ab",
            "cd",
            "ef",
        ]


async def test_text_that_the_input_has_not_reported_yet_stays_with_its_field() -> None:
    first, second = text_row("name"), text_row("image", "vllm:1")
    app = FormApp(first, second)
    async with app.run_test() as pilot:
        await pilot.pause()
        app.form.editor.insert_text_at_cursor("llama")
        app.form.focus_field(second.field)  # before the message of the input is handled
        await pilot.pause()
        assert isinstance(first.field, TextField)
        assert isinstance(second.field, TextField)
        assert (first.field.text, second.field.text) == ("llama", "vllm:1")


async def test_a_field_gets_its_cursor_back() -> None:
    app = FormApp(text_row("name", "llama"), text_row("image", "vllm:1"))
    async with app.run_test() as pilot:
        await pilot.press("home", "right")
        app.form.move_focus(1)
        assert app.form.editor.cursor_position == len("vllm:1")
        app.form.move_focus(1)
        assert app.form.editor.cursor_position == 1


async def test_a_long_text_shows_its_cursor_and_without_the_focus_its_start() -> None:
    app = FormApp(text_row("image", "a" * 50 + "END", max_input_width=16), text_row("name"))
    async with app.run_test(size=(60, 10)) as pilot:
        await pilot.pause()
        assert "END" in app.form.editor.render_line(0).text
        app.form.move_focus(1)
        await pilot.pause()
        assert lines_of(app.form)[0].endswith("a" * 16)
        assert app.form.editor.scroll_offset.x == 0


async def test_a_masked_text_is_masked_with_and_without_the_focus() -> None:
    row = variable_row("env.0", name="HF_TOKEN", value="hf_secret", masked=True)
    app = FormApp(row)
    async with app.run_test() as pilot:
        await pilot.pause()
        assert "•" * 9 in lines_of(app.form)[0]
        app.form.move_focus(1)
        assert "hf_secret" not in app.form.editor.render_line(0).text
        app.form.show_masked(row.value, False)
        assert "hf_secret" in app.form.editor.render_line(0).text
        app.form.move_focus(1)
        assert "hf_secret" in lines_of(app.form)[0]


async def test_a_key_lays_nothing_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layout of the screen takes longer than all else that a key does."""
    app = FormApp(text_row("image", "vllm:1"))
    async with app.run_test(size=(60, 10)) as pilot:
        await pilot.pause()
        layouts: list[object] = []
        refresh = FieldInput.refresh

        def note(self: FieldInput, *regions: Any, layout: bool = False, **more: Any) -> Any:
            if layout:
                layouts.append(self)
            return refresh(self, *regions, layout=layout, **more)

        monkeypatch.setattr(FieldInput, "refresh", note)
        await pilot.press("a", "b", "backspace")
        assert app.form.editor.text == "vllm:1a"
        assert layouts == []


async def test_a_text_shown_from_outside_keeps_the_cursor() -> None:
    row = text_row("image", "vllm:1")
    app = FormApp(row)
    async with app.run_test(size=(60, 10)) as pilot:
        await pilot.press("home", "right")
        assert isinstance(row.field, TextField)
        app.form.show_text(row.field, "other:22")
        await pilot.press("x")
        assert app.form.editor.text == "oxther:22"


# -- keys, pastes and the mouse -----------------------------------------------------------------


async def test_several_pasted_lines_are_reported_and_one_is_taken_as_it_is() -> None:
    row = variable_row("env.0")
    app = FormApp(row)
    async with app.run_test() as pilot:
        app.form.editor.post_message(events.Paste("A=1\nB=2\n"))
        await pilot.pause()
        assert app.received == [("env.0.name", "A=1\nB=2\n")]
        assert app.form.editor.value == ""
        app.form.move_focus(1)
        app.form.editor.post_message(events.Paste("one"))
        await pilot.pause()
        assert row.value.text == "one"
        assert len(app.received) == 1


async def test_a_choice_requests_its_neighbors_and_its_list() -> None:
    app = FormApp(choice_row("template", "vLLM"))
    async with app.run_test() as pilot:
        await pilot.press("left", "right", "space", "c")
        assert [what for _path, what in app.received] == [-1, 1, "", "c"]  # type: ignore[misc]


async def test_a_button_is_pressed_by_space_and_by_no_letter() -> None:
    app = FormApp(ButtonRow("add.env", "+ Add Variable", ""))
    async with app.run_test() as pilot:
        await pilot.press("x", "left", "space")
        assert app.received == ["add.env"]


async def test_a_click_puts_the_cursor_into_the_text_under_it() -> None:
    app = FormApp(text_row("name", "llama"), variable_row("env.0", name="LEVEL", value="debug"))
    async with app.run_test(size=(80, 10)) as pilot:
        await pilot.pause()
        for path, x in (("env.0.value", 3), ("env.0.name", 1), ("name", 0)):
            await click(pilot, path, x)
            assert (app.form.path, app.form.editor.cursor_position) == (path, x)
            assert app.screen.focused is app.form.editor


async def test_text_is_selected_by_dragging_over_a_field_without_the_focus() -> None:
    app = FormApp(text_row("name"), text_row("image", "vllm:1"))
    async with app.run_test(size=(80, 10)) as pilot:
        await pilot.pause()
        at = app.form.field_region(app.form.fields[1]).offset
        await pilot.mouse_down(offset=(at.x + 1, at.y))
        await pilot.pause()
        await pilot.hover(offset=(at.x + 4, at.y))
        await pilot.mouse_up(offset=(at.x + 4, at.y))
        assert app.form.editor.selected_text == "llm"


async def test_a_click_on_a_choice_and_on_a_button_is_like_their_key() -> None:
    app = FormApp(text_row("name"), choice_row("template", "vLLM"), ButtonRow("add", "+ Add", ""))
    async with app.run_test(size=(80, 10)) as pilot:
        await pilot.pause()
        await click(pilot, "template")
        await click(pilot, "add")
        assert app.received == [("template", ""), "add"]
        assert app.form.path == "add"


async def test_a_click_beside_the_fields_changes_nothing() -> None:
    app = FormApp(HeadingRow("Container"), text_row("name"), choice_row("template", "vLLM"))
    async with app.run_test(size=(120, 10)) as pilot:
        await pilot.pause()
        for x, y in ((5, 1), (5, 3), (110, 3), (60, 8)):
            await pilot.click(offset=(x, y))
            await pilot.pause()
            assert app.form.path == "name"
        assert app.received == []


async def test_a_click_meets_the_field_that_is_drawn_there_after_scrolling() -> None:
    app = FormApp(*many_rows())
    async with app.run_test(size=(60, 10)) as pilot:
        await pilot.pause()
        app.form.scroll_to(y=12, animate=False)
        await pilot.pause()
        await pilot.click(offset=(30, 4))
        await pilot.pause()
        assert app.form.path == "field16"
