"""Small charts of many Pods: size, order, scale and pages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import ComposeResult

from servedeck.metrics.units import Unit
from tests.widgets.chart_samples import ChartApp, Values, any_values, texts
from widgets.chart_data import ChartLine
from widgets.small_multiples import SmallMultiples, small_multiple_lines
from widgets.styled_line import line_width, plain_text

SECONDS = Unit.SECONDS


def pods(count: int) -> list[ChartLine]:
    return [ChartLine(f"pod-{number:02}", [0.1 * (number + 1)] * 20) for number in range(count)]


def draw(rows: list[ChartLine], width: int, height: int, **options: object) -> list[str]:
    options.setdefault("is_utf8", True)
    lines = small_multiple_lines(rows, SECONDS, width, height, **options)  # type: ignore[arg-type]
    return [plain_text(line) for line in lines]


@given(
    st.lists(st.builds(ChartLine, texts, any_values), max_size=12),
    st.sampled_from(Unit),
    st.integers(0, 300),
    st.integers(0, 80),
    st.booleans(),
    st.integers(-5, 60),
)
def test_any_values_in_any_size(
    rows: list[ChartLine], unit: Unit, width: int, height: int, is_utf8: bool, first: int
) -> None:
    lines = small_multiple_lines(rows, unit, width, height, is_utf8=is_utf8, first=first)
    assert len(lines) == height
    assert {line_width(line) for line in lines} <= {width}
    if not is_utf8:
        assert all(plain_text(line).isascii() for line in lines)


def test_the_highest_last_value_is_first_and_the_scale_is_said() -> None:
    rows = [
        ChartLine("low", [9.0, 0.5]),
        ChartLine("gone", [9.0, None]),
        ChartLine("high", [0.0, 2.3]),
    ]
    found = draw(rows, 40, 4)
    assert found[0].split() == ["scale", "0–9", "s", "3", "Pods"]
    assert [row.split()[0] for row in found[1:]] == ["high", "low", "gone"]
    assert [row.split()[-1] for row in found[1:]] == ["s", "ms", "–"]


def test_the_scale_is_one_for_all() -> None:
    rows = [ChartLine("a", [8.0] * 4), ChartLine("b", [4.0] * 4)]
    found = draw(rows, 30, 3)
    assert "████" in found[1] and "████" not in found[2] and "▅▅▅▅" in found[2]


def test_as_few_columns_as_are_needed() -> None:
    assert [row.count("pod-") for row in draw(pods(12), 120, 5)] == [0, 3, 3, 3, 3]
    assert [row.count("pod-") for row in draw(pods(3), 60, 4)] == [0, 1, 1, 1]
    high = draw(pods(2), 80, 8)
    assert "████" in high[2] or "████" in high[1], "bars are higher where there is room"


def test_what_does_not_fit_is_on_other_pages() -> None:
    found = draw(pods(50), 40, 11, first=10)
    assert found[0].rstrip().endswith("11–20 of 50 Pods")
    assert [row.split()[0] for row in found[1:]] == [f"pod-{n}" for n in range(39, 29, -1)]
    assert draw(pods(50), 40, 11, first=49)[0].rstrip().endswith("50–50 of 50 Pods")
    assert draw(pods(5), 40, 11, first=3)[0].rstrip().endswith("5 Pods")


def test_the_end_of_a_long_name_is_kept() -> None:
    rows = [ChartLine("a" * 60 + "-x7k2p", [1.0]), ChartLine("a" * 60 + "-q9f3z", [2.0])]
    found = draw(rows, 60, 3)
    assert "-q9f3z " in found[1] and "-x7k2p " in found[2]
    assert all(row.startswith("…") for row in found[1:])


class MultiplesApp(ChartApp):
    def compose(self) -> ComposeResult:
        yield SmallMultiples(is_utf8=True)


@pytest.mark.parametrize("values", [[], [None], [0.0]], ids=str)
async def test_the_widget_turns_pages(values: Values) -> None:
    app = MultiplesApp()
    async with app.run_test(size=(40, 11)) as pilot:
        charts = app.query_one(SmallMultiples)
        charts.set_rows([*pods(24), ChartLine("last", values)], SECONDS)
        await pilot.pause()
        charts.turn_pages(1)
        assert charts.first == 10
        charts.turn_pages(5)
        assert charts.first == 20
        await pilot.pause()
        texts = [charts.render_line(y).text for y in range(11)]
        assert texts[0].rstrip().endswith("21–25 of 25 Pods")
        assert texts[5].startswith("last")
        charts.turn_pages(-9)
        assert charts.first == 0
        charts.set_rows([], SECONDS)
        await pilot.pause()
        charts.turn_pages(1)
        assert charts.first == 0
