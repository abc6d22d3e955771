"""The lines of edit mode around the form."""

from __future__ import annotations

import pytest

from servedeck.serving.edit.differences import FieldDifference
from servedeck.serving.spec.issues import Issue, error
from tui.screens.edit.edit_lines import save_bar_lines
from widgets.styled_line import plain_text


def difference(label: str, old: str, new: str) -> FieldDifference:
    return FieldDifference((label,), label, old, new, restarts=False)


def shown(
    differences: list[FieldDifference], width: int, count: int = 0, issues: tuple[Issue, ...] = ()
) -> list[str]:
    lines = save_bar_lines(
        count or len(differences), differences, issues, width, save_key="ctrl+s", close_key="esc"
    )
    return [plain_text(line).strip() for line in lines]


HEAD = "ctrl+s Save  esc Discard or keep as a draft"
CPU = difference("CPU", "8", "16")


def test_without_a_change_nothing_is_offered() -> None:
    assert shown([], 80) == ["No changes"]


def test_a_short_change_is_beside_what_can_be_done() -> None:
    assert shown([CPU], 80) == [f"1 change  {HEAD}   CPU 8 → 16"]


def test_errors_are_counted_before_what_can_be_done() -> None:
    assert shown([CPU], 100, 2, (error("memory", "Wrong."),))[0].startswith("2 changes  1 error  ")


@pytest.mark.parametrize("width", range(60, 66))
def test_a_blank_is_left_before_the_button(width: int) -> None:
    head = shown([CPU], width, 1, (error("memory", "Wrong."),))[0]
    whole = f"1 change  1 error  {HEAD}"
    assert len(whole) + 1 == 63
    assert head.startswith(whole if width > 63 else "1 change  1 error  ctrl+s Save  esc Leave")
    assert len(head) + 1 < width


@pytest.mark.parametrize("width", [60, 80])
def test_what_does_not_fit_has_a_line_of_its_own(width: int) -> None:
    changes = [difference("Image", "vllm/vllm-openai:v0.10.0", "vllm/vllm-openai:v0.11.0"), CPU]
    head, second = shown(changes, width)
    assert head == f"2 changes  {HEAD}"
    assert second.startswith("Image ")
    assert second.endswith("CPU 8 → 16")
    assert len(second) < width


def test_values_whose_difference_is_cut_are_left_out() -> None:
    model = difference("Model", f"{'m' * 60}-a", f"{'m' * 60}-b")
    assert shown([model, CPU], 80) == [f"2 changes  {HEAD}   Model  CPU 8 → 16"]
