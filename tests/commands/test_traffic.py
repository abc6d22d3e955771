"""`servedeck traffic` as used by a script and on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from servedeck import cli
from servedeck.changes.live_objects import LiveObjects
from servedeck.changes.operations.operation import Outcome
from servedeck.changes.traffic_split.plan import (
    TrafficAction,
    TrafficOptions,
    TrafficPlan,
    TrafficResult,
)
from servedeck.changes.traffic_split.side import Side
from servedeck.changes.traffic_split.state import TrafficState
from servedeck.cluster.apply import ObjectRef, Preview
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.rejection import Rejection, RejectionReason
from servedeck.commands import traffic
from servedeck.commands.traffic import TrafficRunner, print_outcome
from servedeck.commands.traffic_text import operation_json
from servedeck.demo.process import spawn
from servedeck.serving.objects.field_changes import FieldChange, FieldConflict

SERVING, OTHER = "chat/llama-31-8b", "llama-33-70b"
"""Of the demo."""
OPTIONS = TrafficOptions(TrafficAction.SPLIT, "chat", "llama", "llama-2", 10)
STATE = TrafficState(
    "chat", "llama", LiveObjects(), Side("llama", None, {}), Side("llama-2", None, {})
)
PLAN = TrafficPlan(
    OPTIONS,
    STATE,
    effects=("Restarts no Pods.",),
    warnings=("Argo CD may revert it.",),
    differences=(FieldChange("HTTPRoute llama", "llama 100 %", "llama 90 %, llama-2 10 %"),),
)
QUESTION = "Send 10 % of the requests of chat/llama to llama-2? [y/N]"


class Prompt:
    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = list(answers), list[str]()

    @property
    def is_terminal(self) -> bool:
        return bool(self.answers)

    async def ask(self, question: str) -> str:
        self.asked.append(question)
        return self.answers.pop(0)


class Fake:
    """The plan, and what running it says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plan = PLAN
        self.result = TrafficResult(OPTIONS, Outcome.DONE, "llama-2 gets 10 %.")
        self.run_count = 0
        self.err: list[str] = []
        monkeypatch.setattr(traffic, "plan_traffic", self._plan)
        monkeypatch.setattr(traffic, "run_traffic", self._run)

    async def _plan(self, *_: object) -> TrafficPlan:
        return self.plan

    async def _run(self, *_: object) -> TrafficResult:
        self.run_count += 1
        return self.result

    async def run(self, *answers: str, **options: bool) -> tuple[str, str]:
        """Outcome and message."""
        self.prompt = Prompt(*answers)
        runner = TrafficRunner(
            cast(Connection, None), self.prompt, stderr=self.err.append, **options
        )
        _, outcome, message = await runner.run(OPTIONS)
        return outcome, message


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(monkeypatch)


async def test_without_a_terminal_it_needs_y(fake: Fake) -> None:
    outcome, message = await fake.run()
    assert outcome == "refused" and "add -y to do it" in message
    assert fake.run_count == 0
    assert await fake.run(assume_yes=True) == (Outcome.DONE, "llama-2 gets 10 %.")
    assert fake.run_count == 1


async def test_on_a_terminal_the_plan_is_shown_and_asked(fake: Fake) -> None:
    assert (await fake.run("n"))[1] == "Not confirmed; nothing was changed."
    assert fake.run_count == 0
    assert (await fake.run("y"))[0] == Outcome.DONE
    assert fake.prompt.asked == [QUESTION]
    assert fake.err[:4] == [
        "send 10 % of the requests of chat/llama to llama-2",
        "  Restarts no Pods.",
        "  warning: Argo CD may revert it.",
        "  HTTPRoute llama: llama 100 % -> llama 90 %, llama-2 10 %",
    ]


async def test_nothing_is_asked_where_nothing_is_done(fake: Fake) -> None:
    for plan, outcome in (
        (replace(PLAN, blocked="No."), Outcome.REJECTED),
        (replace(PLAN, unchanged="It is so."), Outcome.UNCHANGED),
    ):
        fake.plan = plan
        assert (await fake.run("y"))[0] == outcome
        assert fake.prompt.asked == []
    fake.plan = PLAN
    assert (await fake.run(dry_run=True))[0] == "planned"
    assert fake.run_count == 0


def test_conflicts_are_printed_with_both_values() -> None:
    conflict = FieldConflict("spec.rules", "flux", "[a]", "[b]")
    rejection = Rejection(RejectionReason.CONFLICT, "It conflicts.", (), (conflict,))
    ref = ObjectRef("gateway.networking.k8s.io/v1", "HTTPRoute", "chat", "llama")
    plan = replace(PLAN, blocked="It conflicts.", rejections=(Preview(ref, None, rejection),))
    out: list[str] = []
    err: list[str] = []
    print_outcome(plan, Outcome.REJECTED, plan.blocked, out.append, err.append)
    assert out == []
    assert err[1] == "  spec.rules: flux set [a], the weight needs [b]"
    assert err[2] == "  To overwrite them, use --force-conflicts."
    found = operation_json(plan, Outcome.REJECTED, plan.blocked)
    assert [one["manager"] for one in found["conflicts"]] == ["flux"]


# -- on a demo cluster ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[Path]:
    with spawn() as file:
        yield file


class Command:
    def __init__(self, kubeconfig: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._kubeconfig, self._capsys = kubeconfig, capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        try:
            code = cli.main(["traffic", *words, "--kubeconfig", str(self._kubeconfig)])
        except SystemExit as error:  # argparse
            code = int(str(error.code))
        written = self._capsys.readouterr()
        return code, written.out, written.err


@pytest.fixture
def command(
    kubeconfig: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Command:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return Command(kubeconfig, capsys)


def test_a_share_of_the_demo_is_sent_raised_promoted_and_taken_back(command: Command) -> None:
    code, out, err = command(SERVING)
    assert code == 0, err
    assert out.startswith(f"{SERVING}: all requests of its endpoint go to it\n")
    code, out, err = command(SERVING, "split", OTHER, "--weight", "10", "-y")
    assert (code, out) == (0, f"{OTHER} gets 10 % of the requests of {SERVING}.\n")
    assert "serves the model" in err

    code, out, err = command(SERVING)
    assert code == 0, err
    header, rule, first, second = out.splitlines()[:4]
    assert header == f"{SERVING}: the requests of its endpoint are divided with {OTHER}"
    assert rule == f"  HTTPRoute llama-31-8b, /{SERVING}: llama-31-8b 90 %, {OTHER} 10 %"
    assert first.startswith("  llama-31-8b: 3 of 3 replicas ready, ")
    assert second.startswith(f"  {OTHER}: 2 of 2 replicas ready, ")
    assert " req/s, errors " in first and ", P95 " in second

    code, out, err = command(SERVING, "-o", "json")
    found = json.loads(out)
    assert (found["kind"], found["isSplit"], found["other"]) == ("Traffic", True, OTHER)
    assert [one["share"] for one in found["rules"][0]["backends"]] == ["90 %", "10 %"]
    assert {"requestsPerSecond", "errorShare", "p95Seconds"} <= found["servings"][0].keys()

    code, out, err = command(SERVING, "promote", "--dry-run", "-o", "json")
    found = json.loads(out)
    assert (found["kind"], found["outcome"], found["weight"]) == (
        "TrafficOperation",
        "planned",
        100,
    )
    assert any("clients change nothing" in one for one in found["effects"])
    code, out, err = command(SERVING, "promote", "-y")
    assert (code, out) == (0, f"All requests of {SERVING} go to {OTHER}.\n")
    code, out, err = command(f"chat/{OTHER}")
    assert f"  also gets a share of HTTPRoute llama-31-8b, /{SERVING}: " in out
    code, out, err = command(SERVING, "abort", "-y")
    assert (code, out) == (0, f"All requests of {SERVING} go to it again.\n")
    code, out, err = command(SERVING, "abort", "-y")
    assert (code, out) == (0, f"{SERVING} unchanged: All requests of {SERVING} go to it already.\n")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((SERVING, "split", OTHER), 2, "--weight"),
        ((SERVING, "split", OTHER, "--weight", "101"), 2, "from 0 to 100, not 101."),
        ((SERVING, "split", OTHER, "--weight", "x"), 2, "invalid int value"),
        ((SERVING, "split", "--weight", "10"), 2, "OTHER"),
        (
            (SERVING, "split", "none", "--weight", "10", "-y"),
            1,
            "no Deployment and no Service none",
        ),
        ((SERVING, "split", "search/bge-m3", "--weight", "1", "-y"), 1, "ReferenceGrant"),
        ((SERVING, "promote", "-y"), 1, "there is nothing to promote"),
        (("chat/none",), 1, "There is no Deployment none in namespace chat."),
        (("chat/none", "abort", "-y"), 1, "There is no Deployment none in namespace chat."),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    command: Command, words: tuple[str, ...], code: int, message: str
) -> None:
    found, out, err = command(*words)
    assert found == code and message in err and not out


def test_readonly_allows_a_dry_run_only(command: Command) -> None:
    words = (SERVING, "split", OTHER, "--weight", "10", "--readonly")
    code, _, err = command(*words, "-y")
    assert code == 1 and "runs with --readonly" in err
    code, out, _ = command(*words, "--dry-run")
    assert code == 0 and f"10 % of the requests go to {OTHER}" in out
