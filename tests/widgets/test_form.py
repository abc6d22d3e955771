from __future__ import annotations

from typing import Any

import pytest
from textual import events
from textual.app import App, ComposeResult

from servedeck.serving.spec.issues import error, warning
from tests.tui.helpers import wait_for
from widgets.form import ChoiceRow, FieldInput, TextRow, VariableRow, from_display, to_display
from widgets.form_parts import FormBody
from widgets.select_field import SelectField
from widgets.styled_line import plain_text


class FormApp(App[None]):
    def __init__(self, *rows: TextRow | ChoiceRow | VariableRow) -> None:
        super().__init__()
        self.rows = rows
        self.received: list[object] = []

    def compose(self) -> ComposeResult:
        with FormBody():
            yield from self.rows

    def on_field_input_edited(self, message: FieldInput.Edited) -> None:
        self.received.append((message.input.path, message.text))

    def on_field_input_lines_pasted(self, message: FieldInput.LinesPasted) -> None:
        self.received.append(message.text)

    def on_select_field_neighbor_requested(self, message: SelectField.NeighborRequested) -> None:
        self.received.append(message.step)

    def on_select_field_options_requested(self, message: SelectField.OptionsRequested) -> None:
        self.received.append(message.typed)


@pytest.mark.parametrize("text", ["plain", "two\nlines", "a\tb", "-----\nMIIC\n-----\n", ""])
def test_a_value_of_several_lines_comes_back_from_an_input_of_one(text: str) -> None:
    assert to_display(text).isprintable()
    assert from_display(to_display(text)) == text


def test_escapes_of_a_value_do_not_reach_the_input() -> None:
    assert "\x1b" not in to_display("\x1b]52;c;eA==\x07x")


async def test_errors_come_first_and_the_row_grows_by_what_is_wrong() -> None:
    row = TextRow("cpu", "CPU", "lots")
    async with FormApp(row).run_test(size=(60, 10)) as pilot:
        await pilot.pause()
        assert row.size.height == 1
        row.set_issues([warning("cpu", "Is that meant?"), error("cpu", "It is no number.")])
        await pilot.pause()
        assert row.size.height == 3
        lines = [plain_text(line).strip() for line in row.detail_lines]
        assert lines == ["✗ It is no number.", "! Is that meant?"]
        row.set_issues(())
        await pilot.pause()
        assert row.size.height == 1


async def test_several_pasted_lines_are_reported_and_one_is_taken_as_it_is() -> None:
    texts = dict.fromkeys(("name", "value", "source", "ref", "key"), "")
    row = VariableRow("env.0", texts, masked=False)
    app = FormApp(row)
    async with app.run_test() as pilot:
        name, value = row.query(FieldInput)
        name.post_message(events.Paste("A=1\nB=2\n"))
        await pilot.pause()
        assert app.received == ["A=1\nB=2\n"]
        assert name.value == ""
        value.post_message(events.Paste("one"))
        await pilot.pause()
        assert value.value == "one"
        assert app.received[1:] == [("env.0.value", "one")]


async def test_a_select_field_requests_its_neighbors_and_its_list() -> None:
    row = ChoiceRow("template", "Service Template", "vLLM")
    app = FormApp(row)
    async with app.run_test() as pilot:
        row.select_field.focus()
        await pilot.press("left", "right", "space", "c")
        assert app.received == [-1, 1, "", "c"]


async def test_an_input_is_no_wider_than_its_kind_needs_and_the_hint_stands_beside_it() -> None:
    row, other = TextRow("cpu", "CPU", "1", max_input_width=16), TextRow("name", "Name", "")
    async with FormApp(row, other).run_test(size=(90, 10)) as pilot:
        row.query_one(FieldInput).focus()
        await pilot.pause()
        assert row.query_one(FieldInput).size.width == 16
        assert other.query_one(FieldInput).size.width == 90 - 25
        assert row.show_hint("Number of CPU cores: 0.5, 500m, 8")
        await pilot.pause()
        assert "Number of CPU cores: 0.5, 500m, 8" in row.render_line(0).text
        assert not row.show_hint("x" * 60)
        assert not other.show_hint("Lowercase letters, digits and hyphens")
        other.query_one(FieldInput).focus()
        await pilot.pause()
        assert "Number" not in row.render_line(0).text


async def test_an_empty_input_is_seen_without_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    row = TextRow("cpu", "CPU", "", max_input_width=16)
    async with FormApp(row).run_test(size=(60, 10)) as pilot:
        await pilot.pause()
        assert row.query_one(FieldInput).render_line(0).text.count("_") == 15


@pytest.mark.parametrize(("width", "expected"), [(90, 65), (40, 24), (20, 14)])
async def test_the_label_leaves_the_input_room_in_a_narrow_terminal(
    width: int, expected: int
) -> None:
    row = TextRow("image", "Container Image", "vllm:1")
    async with FormApp(row).run_test(size=(width, 10)) as pilot:
        await pilot.pause()
        await wait_for(pilot, lambda: row.query_one(FieldInput).size.width == expected, "the width")


async def test_a_key_lays_nothing_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layout of the screen takes longer than all else that a key does."""
    row = TextRow("image", "Image", "vllm:1")
    async with FormApp(row).run_test(size=(60, 10)) as pilot:
        editor = row.query_one(FieldInput)
        editor.focus()
        await pilot.pause()
        layouts: list[object] = []
        refresh = FieldInput.refresh

        def note(self: FieldInput, *regions: Any, layout: bool = False, **more: Any) -> Any:
            if layout:
                layouts.append(self)
            return refresh(self, *regions, layout=layout, **more)

        monkeypatch.setattr(FieldInput, "refresh", note)
        await pilot.press("a", "b", "backspace")
        assert editor.text == "vllm:1a"
        assert layouts == []


async def test_a_text_shown_from_outside_keeps_the_cursor() -> None:
    row = TextRow("image", "Image", "vllm:1")
    async with FormApp(row).run_test(size=(60, 10)) as pilot:
        editor = row.query_one(FieldInput)
        editor.focus()
        await pilot.press("home", "right")
        editor.show_text("other:22")
        await pilot.press("x")
        assert editor.text == "oxther:22"
