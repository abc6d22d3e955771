"""Series for the tests of charts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import strategies as st
from textual.app import App

from servedeck.metrics.units import Unit
from styles.themes import DARK, DEFAULT_VARIABLES
from widgets.chart_data import ChartData, ChartLine, ChartMark
from widgets.styled_line import STYLE_CLASSES

START = 1_764_378_000.0
"""2025-11-29 01:00:00 UTC."""
STEP = 15.0

Values = Sequence[float | None]

any_values = st.lists(
    st.none() | st.floats() | st.sampled_from([0.0, 1e-9, 1e6, 1e18, -1.0, math.nan, math.inf]),
    max_size=400,
)
texts = st.text(max_size=12)
any_data = st.builds(
    ChartData,
    title=texts,
    unit=st.sampled_from(Unit),
    start=st.floats() | st.just(START),
    step=st.floats(allow_nan=False) | st.just(STEP),
    lines=st.lists(st.builds(ChartLine, texts, any_values), max_size=7).map(tuple),
    marks=st.lists(
        st.builds(
            ChartMark,
            st.floats(START - 100, START + 6000) | st.floats(),
            st.sampled_from(["R", "r", "S", "N", "✗", "", "\x1b", "長"]),
            texts,
        ),
        max_size=5,
    ).map(tuple),
    limit=st.none() | st.floats(),
    limit_label=texts,
    note=texts,
    reason=texts,
)


def chart(*series: Values, unit: Unit = Unit.COUNT, **fields: object) -> ChartData:
    """A chart with a line for each series."""
    lines = tuple(ChartLine(f"L{number}", values) for number, values in enumerate(series))
    return ChartData("Chart", unit, START, STEP, lines, **fields)  # type: ignore[arg-type]


def wave(count: int, low: float, high: float, periods: float = 2) -> list[float | None]:
    middle, swing = (low + high) / 2, (high - low) / 2
    return [middle + swing * math.sin(at / count * periods * math.tau) for at in range(count)]


class ChartApp(App[None]):
    """An app with our styles."""

    COMPONENT_CLASSES = STYLE_CLASSES
    CSS_PATH = ["../../styles/base.tcss"]

    def __init__(self, theme: str = DARK.name) -> None:
        super().__init__()
        self.register_theme(DARK)
        self.theme = theme

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return dict(DEFAULT_VARIABLES)
