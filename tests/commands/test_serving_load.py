"""What a serving has to do at the moment, in the plans of commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servedeck import cli
from servedeck.changes.operations.operation import Operation, OperationKind
from servedeck.commands import serving_load
from servedeck.commands.operations import Confirmation, OperationRunner
from servedeck.demo.process import spawn
from servedeck.metrics.load import ServingLoad
from tests.changes.operations.factories import PATH, deployment
from tests.changes.operations.fake_cluster import FakeCluster
from tests.waiting import wait_until

LOAD = ServingLoad(12.5, 3, "prometheus", 120)
SENTENCE = "  It handles 12.5 requests per second (in the last 2 minutes); 3 in progress."


class Loads:
    """Answers with a load; None if it never does."""

    def __init__(self, load: ServingLoad | None = LOAD, *, is_configured: bool = False) -> None:
        self.is_configured = is_configured
        self.asked: list[str] = []
        self._load = load

    async def read_serving(self, namespace: str, name: str) -> ServingLoad:
        self.asked.append(f"{namespace}/{name}")
        if self._load is None:
            await wait_until(lambda: False, "nothing")
        assert self._load is not None
        return self._load


class Answers:
    """Answers questions in place of a terminal."""

    def __init__(self, *, is_terminal: bool = True) -> None:
        self.is_terminal = is_terminal

    async def ask(self, _question: str) -> str:
        return "n"


async def plan(
    loads: Loads,
    kind: OperationKind = OperationKind.RESTART,
    confirmation: Confirmation | None = None,
    *,
    is_terminal: bool = True,
    dry_run: bool = False,
    **more: Any,
) -> list[str]:
    """The lines of a plan that is asked for, or of a dry run."""
    lines: list[str] = []
    runner = OperationRunner(
        FakeCluster({PATH: deployment()}).connection,
        confirmation or Confirmation(),
        Answers(is_terminal=is_terminal),
        stderr=lines.append,
        dry_run=dry_run,
        loads=loads,
    )
    report = await runner.run(Operation(kind, "chat", "llama", **more))
    if report.load is not None:
        lines.append(f"report: {report.load.sentence}")
    return lines


async def test_the_plan_that_is_asked_for_says_it():
    loads = Loads()
    lines = await plan(loads)
    assert SENTENCE in lines
    assert loads.asked == ["chat/llama"]


async def test_a_dry_run_says_it():
    assert await plan(Loads(), is_terminal=False, dry_run=True) == [f"report:{SENTENCE[1:]}"]


async def test_nothing_is_read_where_no_plan_is_shown():
    loads = Loads()
    await plan(loads, confirmation=Confirmation(assume_yes=True))
    await plan(loads, is_terminal=False)
    assert loads.asked == []


async def test_a_plan_that_ends_no_pod_does_not_say_it():
    # It is asked for, since the plan is not known at that time, and not waited for.
    for loads in (Loads(), Loads(None)):
        assert await plan(loads, OperationKind.SCALE, replicas=50, dry_run=True) == []


async def test_fewer_replicas_say_it():
    lines = await plan(Loads(), OperationKind.SCALE, replicas=1, dry_run=True)
    assert lines == [f"report:{SENTENCE[1:]}"]


@pytest.mark.parametrize(
    ("is_configured", "said"),
    [
        (False, "report: "),
        (
            True,
            "report: Requests per second unknown: The metrics did not arrive within 0 s.",
        ),
    ],
)
async def test_metrics_that_do_not_arrive_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, is_configured: bool, said: str
):
    monkeypatch.setattr(serving_load, "LOAD_TIMEOUT", 0.01)
    loads = Loads(None, is_configured=is_configured)
    assert await plan(loads, dry_run=True) == [said]


async def test_an_unexpected_error_does_not_stop_the_plan(monkeypatch: pytest.MonkeyPatch):
    loads = Loads(is_configured=True)

    async def fail(*_: str) -> ServingLoad:
        raise RuntimeError("a bug")

    monkeypatch.setattr(loads, "read_serving", fail)
    assert await plan(loads, dry_run=True) == [
        "report: Requests per second unknown: Unexpected RuntimeError: a bug."
    ]


# -- on the demo --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[Path]:
    with spawn() as file:
        yield file


@pytest.fixture
def output(
    kubeconfig: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Any:
    """What a command prints on the demo, whose Pods are read at once."""
    monkeypatch.setattr(serving_load, "POD_INTERVALS", (0.1,))
    monkeypatch.setattr(serving_load, "LOAD_TIMEOUT", 60.0)

    def run(*words: str) -> str:
        assert cli.main([*words, "--kubeconfig", str(kubeconfig)]) == 0
        return capsys.readouterr().out

    return run


COMMANDS = [
    ("restart", "chat/llama-31-8b", "--dry-run"),
    ("set", "chat/llama-31-8b", "image=vllm/vllm-openai:v0.34.0", "--dry-run"),
]


@pytest.mark.parametrize("words", COMMANDS)
def test_a_dry_run_reads_the_pods(output: Any, words: tuple[str, ...]):
    lines = output(*words).splitlines()
    [said] = [one for one in lines if "requests per second" in one or "No request was" in one]
    assert "in progress" in said


@pytest.mark.parametrize("words", COMMANDS)
def test_json_has_it(output: Any, words: tuple[str, ...]):
    load = json.loads(output(*words, "-o", "json"))["load"]
    assert load["source"] == "pods"
    assert load["requestsPerSecond"] >= 0 and load["runningRequests"] >= 0
    assert load["seconds"] > 0 and load["reason"] is None


@pytest.mark.parametrize("words", COMMANDS)
def test_it_can_be_turned_off(output: Any, words: tuple[str, ...], monkeypatch: Any):
    monkeypatch.setenv("SERVEDECK_POD_METRICS", "false")
    assert json.loads(output(*words, "-o", "json"))["load"] is None


@pytest.mark.parametrize("words", COMMANDS)
def test_a_prometheus_that_fails_is_said(output: Any, words: tuple[str, ...], monkeypatch: Any):
    monkeypatch.setenv("SERVEDECK_PROMETHEUS_SERVICE", "monitoring/thanos:9090")
    reason = "There is no Service monitoring/thanos, or it leads to no Pod."
    assert f"  Requests per second unknown: {reason}" in output(*words).splitlines()
