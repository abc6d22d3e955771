"""The sentences of the objectives above the graphs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.metrics.test_objective_status import status
from tui.metrics.figures import objective_lines


@given(
    st.none() | st.floats(0.0, 4000.0),
    st.lists(st.none() | st.floats(0.0, 4000.0), min_size=61, max_size=61),
    st.none() | st.floats(0.0, 99.0),
)
def test_a_line_of_80_cells_has_all_of_it(value, values, burnt):
    found = status(value, values, burnt)
    [line] = objective_lines([found], 1, 80)
    text = "".join(one for one, _ in line).rstrip()
    assert text.endswith((f"{found.sentence}.", f"{found.short_sentence}."))
    assert len(text) <= 80
