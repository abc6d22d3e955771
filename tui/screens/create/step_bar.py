"""The line at the top of the create form: its steps, and the number of errors."""

from __future__ import annotations

from servedeck.serving.text import format_count
from tui.screens.create.steps import STEP_TITLES
from widgets.styled_line import Line, Span, align_left_right


def step_bar_line(step: int, error_count: int, width: int) -> Line:
    """The line for the current step."""
    spans: list[Span] = [(" Create a serving ", "title"), (" ", "")]
    wide = width >= 100
    for number, name in enumerate(STEP_TITLES, 1):
        here = number == step
        spans.append((f" {number} ", "key" if here else "muted"))
        spans.append(
            (name if here or wide else name.split(" ", 1)[0], "strong" if here else "muted")
        )
        spans.append((" › " if number < len(STEP_TITLES) else "", "muted"))
    count = format_count(error_count, "error") if error_count else "✓ complete"
    right: Line = ((count, "warning" if error_count else "ready"), (" ", ""))
    return align_left_right(tuple(spans), right, max(width, 1))
