"""The engine of Prometheus over given series: `promtool test rules`, which needs no server."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from servedeck.promql.samples import is_stale
from tests.control_plane.prometheus import require_prometheus
from tests.promql.generated import GeneratedSeries, GeneratedSource
from tests.waiting import WAIT_SECONDS

Labels = tuple[tuple[str, str], ...]

_RESULT = re.compile(
    r'expr: "(?P<expression>(?:[^"\\]|\\.)*)", time: (?P<time>\S+),\s*exp:[^\n]*\n\s*'
    r"got:\s*(?P<got>[^\n]*)"
)
_SAMPLE = re.compile(
    r"(?P<name>[a-zA-Z_:][\w:]*)?(?:\{(?P<labels>(?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*)\})? "
    r"(?P<value>[-+\w.]+)(?:, |$)"
)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Question(NamedTuple):
    expression: str
    milliseconds: int
    """The time."""


def require_promtool() -> Path:
    """Path of the program, which is beside prometheus. Skips, or fails where
    SERVEDECK_REQUIRE_SERVERS is 1, without it."""
    found = Path(require_prometheus()).with_name("promtool")
    if not found.exists():
        reason = f"no promtool beside {found.with_name('prometheus')}"
        if os.environ.get("SERVEDECK_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def ask_promtool(
    folder: Path, groups: Iterable[tuple[GeneratedSource, Sequence[Question]]]
) -> list[dict[Question, dict[Labels, float]]]:
    """What Prometheus has for each question of each group: values by labels, with `__name__`.
    Questions of different groups must differ."""
    groups = list(groups)
    tests = [
        {
            "interval": f"{source.interval}s",
            "input_series": [_write_series(one) for one in source.series],
            "promql_expr_test": [
                {
                    "expr": one.expression,
                    "eval_time": f"{one.milliseconds}ms",
                    # Nothing has this label, so each result is printed.
                    "exp_samples": [{"labels": '{nothing="has this"}', "value": 1}],
                }
                for one in questions
            ],
        }
        for source, questions in groups
    ]
    file = folder / "tests.yml"
    # Samples are loaded up to the last evaluation of rules, of which there are none. JSON is YAML.
    file.write_text(json.dumps({"evaluation_interval": "1s", "tests": tests}))
    done = subprocess.run(
        [require_promtool(), "test", "rules", str(file)],
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    output = done.stdout + done.stderr
    results = _RESULT.findall(output)
    asked = [one for _source, questions in groups for one in questions]
    assert len(results) == len(asked), output[:4000]
    for (expression, _time, _got), one in zip(results, asked, strict=True):
        assert json.loads(f'"{expression}"') == one.expression
    answers = iter([_read_samples(got) for _expression, _time, got in results])
    return [{one: next(answers) for one in questions} for _source, questions in groups]


def _write_series(series: GeneratedSeries) -> dict[str, str]:
    labels = ",".join(f"{name}={json.dumps(value)}" for name, value in series.labels.items())
    return {
        "series": f"{series.name}{{{labels}}}",
        "values": " ".join(map(_write_value, series.values)),
    }


def _write_value(value: float | None) -> str:
    if value is None:
        return "_"
    if is_stale(value):
        return "stale"
    return (
        repr(value)
        if math.isfinite(value)
        else {math.inf: "Inf", -math.inf: "-Inf"}.get(value, "NaN")
    )


def _read_samples(text: str) -> dict[Labels, float]:
    found: dict[Labels, float] = {}
    at = 0
    while text != "nil" and at < len(text):
        match = _SAMPLE.match(text, at)
        assert match is not None, text[at:]
        labels = {
            name: json.loads(f'"{value}"') for name, value in _LABEL.findall(match["labels"] or "")
        }
        if match["name"]:
            labels["__name__"] = match["name"]
        found[tuple(sorted(labels.items()))] = float(match["value"])
        at = match.end()
    return found
