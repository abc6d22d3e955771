"""A pytest plugin: one line for all skipped tests, instead of one per test."""

from __future__ import annotations

from collections import Counter

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", ()):
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[text.removeprefix("Skipped: ")] += 1
    if reasons:
        parts = [f"{count}: {reason}" for reason, count in reasons.most_common()]
        terminalreporter.line(f"skipped {'; '.join(parts)}")
