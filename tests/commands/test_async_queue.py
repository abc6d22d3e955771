"""`servedeck async-queue` as used by a script and on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from servedeck import cli
from servedeck.changes.async_queue.plan import (
    AsyncQueueAction,
    AsyncQueueOptions,
    AsyncQueuePlan,
    AsyncQueueResult,
)
from servedeck.changes.async_queue.turn_on import AsyncQueueDefaults
from servedeck.changes.operations.operation import Outcome
from servedeck.cluster.apply import ObjectRef, Preview
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.rejection import Rejection, RejectionReason
from servedeck.commands import async_queue
from servedeck.commands.async_queue import AsyncQueueRunner, print_outcome
from servedeck.commands.async_queue_text import operation_json
from servedeck.demo.process import spawn
from servedeck.serving.async_limits import LIMITS, LimitChange
from servedeck.serving.objects.field_changes import FieldConflict

OPTIONS = AsyncQueueOptions(AsyncQueueAction.OFF, "chat", "llama")
PLAN = AsyncQueuePlan(
    OPTIONS,
    effects=("No task is pending or processing.",),
    kept=("Secret llama-async",),
    warnings=("Argo CD may revert it.",),
    limit_changes=(LimitChange("max_depth", 1000, 50),),
)
SERVING = "chat/exaone-40-32b"
"""Of the demo."""
DEFAULTS = AsyncQueueDefaults("gateway:1", "valkey://v:6379", "")


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
        self.result = AsyncQueueResult(OPTIONS, Outcome.DONE, "It is off.")
        self.later = self.result
        self.runs: list[dict[str, Any]] = []
        self.err: list[str] = []
        monkeypatch.setattr(async_queue, "plan_async_queue", self._plan)
        monkeypatch.setattr(async_queue, "run_async_queue", self._run)
        monkeypatch.setattr(async_queue, "look_again", self._look)
        monkeypatch.setattr(async_queue, "LOOK_AGAIN_INTERVAL", 0.0)

    async def _plan(self, *_: object) -> AsyncQueuePlan:
        return self.plan

    async def _run(self, *_: object, **options: Any) -> AsyncQueueResult:
        self.runs.append(options)
        return self.result

    async def _look(self, *_: object) -> AsyncQueueResult:
        return self.later

    async def run(self, *answers: str, **options: bool) -> tuple[str, str]:
        """Outcome and message."""
        self.prompt = Prompt(*answers)
        runner = AsyncQueueRunner(
            cast(Connection, None), DEFAULTS, self.prompt, stderr=self.err.append, **options
        )
        _, outcome, message = await runner.run(OPTIONS)
        return outcome, message


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(monkeypatch)


async def test_without_a_terminal_it_needs_y(fake: Fake) -> None:
    outcome, message = await fake.run()
    assert outcome == "refused" and "add -y to turn it off" in message
    assert fake.runs == []
    assert await fake.run(assume_yes=True) == (Outcome.DONE, "It is off.")
    assert fake.runs[0]["may_cancel"] is False


@pytest.mark.parametrize("unfinished", [2, None])
async def test_y_does_not_confirm_that_tasks_are_cancelled(
    fake: Fake, unfinished: int | None
) -> None:
    fake.plan = replace(PLAN, unfinished=unfinished)
    for options in ({"assume_yes": True}, {}):
        outcome, message = await fake.run(**options)
        assert outcome == "refused" and "add --cancel-tasks" in message
    outcome, message = await fake.run(may_cancel=True)
    assert outcome == "refused" and "add -y" in message
    assert fake.runs == []
    assert (await fake.run(assume_yes=True, may_cancel=True))[0] == Outcome.DONE
    assert fake.runs[0]["may_cancel"] is True


@pytest.mark.parametrize(
    ("unfinished", "question"),
    [
        (0, "Turn the async queue of chat/llama off? [y/N]"),
        (1, "Turn the async queue of chat/llama off, and cancel 1 task? [y/N]"),
        (None, "Turn the async queue of chat/llama off, and give up tasks that may wait? [y/N]"),
    ],
)
async def test_on_a_terminal_the_plan_is_shown_and_asked(
    fake: Fake, unfinished: int | None, question: str
) -> None:
    fake.plan = replace(PLAN, unfinished=unfinished)
    assert (await fake.run("n"))[1] == "Not confirmed; nothing was changed."
    assert fake.runs == []
    assert (await fake.run("y"))[0] == Outcome.DONE
    assert fake.prompt.asked == [question]
    assert fake.runs[0]["may_cancel"] is (unfinished != 0)
    assert fake.err[:5] == [
        "turn the async queue of chat/llama off",
        "  No task is pending or processing.",
        "  stays: Secret llama-async",
        "  warning: Argo CD may revert it.",
        "  Max Queue Depth: 1000 -> 50",
    ]


async def test_nothing_is_asked_where_nothing_is_done(fake: Fake) -> None:
    for plan, outcome in (
        (replace(PLAN, blocked="No."), Outcome.REJECTED),
        (replace(PLAN, unchanged="It is off."), Outcome.UNCHANGED),
    ):
        fake.plan = plan
        assert (await fake.run("y"))[0] == outcome
        assert fake.prompt.asked == []
    fake.plan = PLAN
    assert (await fake.run(dry_run=True))[0] == "planned"
    assert fake.runs == []


async def test_a_lost_answer_is_looked_for(fake: Fake) -> None:
    fake.result = AsyncQueueResult(OPTIONS, Outcome.UNKNOWN, "Lost.")
    assert (await fake.run(assume_yes=True))[0] == Outcome.DONE
    assert fake.err == ["Lost. Waiting up to 30 s for an answer."]


def test_conflicts_are_printed_with_both_values(capsys: pytest.CaptureFixture[str]) -> None:
    conflict = FieldConflict("spec.rules", "helm", "[a]", "[b]")
    rejection = Rejection(RejectionReason.CONFLICT, "It conflicts.", (), (conflict,))
    ref = ObjectRef("gateway.networking.k8s.io/v1", "HTTPRoute", "chat", "llama")
    plan = replace(PLAN, blocked="It conflicts.", rejections=(Preview(ref, None, rejection),))
    out: list[str] = []
    err: list[str] = []
    print_outcome(plan, Outcome.REJECTED, plan.blocked, out.append, err.append)
    assert out == []
    assert err[1] == "  spec.rules: helm set [a], the async queue needs [b]"
    assert err[2] == "  To overwrite them, use --force-conflicts."
    found = operation_json(plan, Outcome.REJECTED, plan.blocked)
    assert found["conflicts"] == [
        {
            "object": "HTTPRoute chat/llama",
            "path": "spec.rules",
            "manager": "helm",
            "current": "[a]",
            "desired": "[b]",
        }
    ]


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
            code = cli.main(["async-queue", *words, "--kubeconfig", str(self._kubeconfig)])
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


def test_a_serving_without_a_queue(command: Command) -> None:
    name = SERVING
    code, out, err = command("status", name)
    assert code == 0, err
    assert out == f"{name}: the async queue is off\n"
    code, out, err = command("status", name, "-o", "json")
    found = json.loads(out)
    assert (found["kind"], found["state"], found["queue"]) == ("AsyncQueue", "off", None)
    code, out, err = command("off", name, "-y")
    assert (code, out) == (0, f"{name} unchanged: The async queue is off already.\n")
    code, out, err = command("status", "chat/nothing")
    assert code == 1 and "There is no Deployment nothing in namespace chat." in err


def test_without_a_store_it_says_what_to_set(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "servedeck" / "settings.toml"
    file.parent.mkdir()
    file.write_text('async_store = ""\n')
    code, out, err = command("on", SERVING, "-y")
    assert code == 1 and "set async_store, as in valkey://" in err and not out


def test_a_queue_of_the_demo_is_turned_on_off_and_on_again(command: Command) -> None:
    name = SERVING
    for _ in range(2):
        code, out, err = command("on", name, "-y", "--max-depth", "50")
        assert (code, out) == (0, f"The async queue of {name} is on.\n"), err
        code, out, err = command("status", name, "-o", "json")
        found = json.loads(out)
        assert (found["state"], found["available"], found["missing"]) == ("on", True, []), err
        assert found["settings"]["max_depth"] == 50
        assert not found["queueProblem"] and found["queue"]["counts"]["pending"] == 0
        code, out, err = command("on", name, "-y")
        assert code == 0 and out.startswith(f"{name} unchanged: The async queue is on"), err
        code, out, err = command("off", name, "-y")
        assert (code, out) == (0, f"The async queue of {name} is off.\n"), err
    assert command("status", name)[1] == f"{name}: the async queue is off\n"


@pytest.mark.parametrize("name", ["npu-lab/exaone-35-78b", "chat/llama-33-70b"])
def test_the_queues_that_the_demo_starts_with_are_as_servedeck_makes_them(
    command: Command, name: str
) -> None:
    code, out, err = command("on", name, "-y")
    assert (code, err) == (0, "")
    assert out == f"{name} unchanged: The async queue is on with these settings already.\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("on", "a/b/c"), "is not NAME or NAMESPACE/NAME"),
        (("on", "chat/x", "--lifetime", "soon"), "--lifetime: "),
        (("on", "chat/x", "--max-body", "big"), "--max-body: "),
        (("on", "chat/x", "--pod-concurrency", "x"), "is not a whole number"),
        (("on", "chat/x", "--max-attempts", "0"), "--max-attempts: Max Attempts must be from 1 to"),
        (("on", "chat/x", "--keep-failed", "400d"), "--keep-failed: Failed Tasks Kept must be"),
        (("off", "chat/x", "--pod-concurrency", "1"), "unrecognized arguments"),
    ],
)
def test_wrong_usage_exits_with_2(command: Command, words: tuple[str, ...], message: str) -> None:
    code, out, err = command(*words)
    assert code == 2 and message in err and not out


def test_limits_that_do_not_go_together_are_refused(command: Command) -> None:
    code, out, err = command("on", SERVING, "-y", "--lifetime", "5m")
    assert code == 1 and not out
    assert "Task Lifetime (5m) is shorter than Attempt Timeout (15m)" in err
    code, out, err = command("on", SERVING, "--dry-run", "--max-attempts", "50")
    assert code == 0, err
    assert "  Max Attempts: none -> 50\n" in out and "  Task Lifetime: none -> 6h\n" in out
    assert "  warning: 50 attempts of Attempt Timeout (15m) do not fit into Task Lifetime" in out
    code, out, err = command("on", SERVING, "--dry-run", "--lifetime", "2h", "-o", "json")
    found = {one["path"]: (one["old"], one["new"]) for one in json.loads(out)["differences"]}
    assert found["lifetime"] == ("none", "7200") and found["max_depth"] == ("none", "1000")
    assert command("status", SERVING)[1] == f"{SERVING}: the async queue is off\n"


def test_the_state_and_the_help_have_the_labels_of_the_form(command: Command) -> None:
    code, out, err = command("status", "npu-lab/exaone-35-78b")
    assert code == 0, err
    code, help_text, _ = command("on", "--help")
    assert code == 0
    flowing = " ".join(help_text.split())
    for limit in LIMITS.values():
        assert f"  {limit.label}: {limit.format(limit.default)}\n" in out
        assert f"{limit.option} {limit.kind.value} {limit.label}: {limit.meaning};" in flowing


def test_readonly_allows_a_dry_run_only(command: Command) -> None:
    code, _, err = command("off", SERVING, "-y", "--readonly")
    assert code == 1 and "runs with --readonly" in err
    code, out, _ = command("off", SERVING, "--dry-run", "--readonly")
    assert code == 0 and "off already" in out
