"""`servedeck scale`, `restart`, … as used by a script and on a terminal, on a demo cluster."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from servedeck import cli
from servedeck.changes.operations.operation import (
    Operation,
    OperationKind,
    OperationPlan,
    Outcome,
)
from servedeck.commands import operations
from servedeck.commands.operation_text import OperationReport
from servedeck.commands.operations import Confirmation, OperationRunner, print_report
from servedeck.demo.process import spawn
from tests.changes.operations.factories import PATH, deployment
from tests.changes.operations.fake_cluster import (
    LOST,
    FakeCluster,
    lose_request,
    lose_response,
)
from tests.waiting import WAIT_SECONDS, wait_until_sync

PRODUCTION = "SERVEDECK_PRODUCTION_CONTEXTS"


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[Path]:
    with spawn() as file:
        yield file


class Command:
    """Runs the command in this process, without a terminal; makes servings of its own, which no
    incident of the demo touches."""

    def __init__(self, kubeconfig: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._kubeconfig = kubeconfig
        self._folder = folder
        self._capsys = capsys

    def __call__(self, *args: object) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        words = [*map(str, args), "--kubeconfig", str(self._kubeconfig)]
        try:
            code = cli.main(words)
        except SystemExit as error:  # argparse
            code = int(str(error.code))
        written = self._capsys.readouterr()
        return code, written.out, written.err

    @property
    def kubectl(self) -> str:
        """The beginning of the commands to copy: they name the cluster."""
        return f"kubectl --kubeconfig {self._kubeconfig} --context demo"

    def create(
        self,
        name: str,
        image: str = "vllm/vllm-openai:v0.33.0",
        replicas: int = 2,
        accelerator: str = "none",
    ) -> str:
        """A serving in the namespace chat, created or changed; returns NAMESPACE/NAME."""
        file = self._folder / "serving.yaml"
        file.write_text(
            "apiVersion: servedeck.dev/v1\nkind: Serving\n"
            f"metadata: {{name: {name}, namespace: chat}}\n"
            f"spec: {{template: vllm, image: '{image}', memory: 1Gi, replicas: {replicas}, "
            f"accelerator: {accelerator}, settings: {{model: org/model}}}}\n"
        )
        code, out, err = self("apply", "-f", file)
        assert code == 0, out + err
        return f"chat/{name}"

    def wait_for_revision(self, name: str, number: int) -> None:
        """Wait until the controller has numbered the Pod template."""
        key = "deployment.kubernetes.io/revision"
        wait_until_sync(
            lambda: self.get(name)["metadata"].get("annotations", {}).get(key) == str(number),
            f"revision {number} of {name}",
        )

    def _url(self, kind: str, group: str) -> str:
        config = yaml.safe_load(self._kubeconfig.read_text())
        server = config["clusters"][0]["cluster"]["server"]
        return f"{server}/{group}/namespaces/chat/{kind}"

    def post(self, kind: str, body: Any, group: str = "apis/apps/v1") -> None:
        """Create an object as another tool."""
        request = urllib.request.Request(
            self._url(kind, group),
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=WAIT_SECONDS).close()

    def get(self, name: str, kind: str = "deployments", group: str = "apis/apps/v1") -> Any:
        """The object as the API server has it; None if it does not exist."""
        with urllib.request.urlopen(self._url(kind, group), timeout=WAIT_SECONDS) as answer:
            items = json.load(answer)["items"]
        return next((one for one in items if one["metadata"]["name"] == name), None)


@pytest.fixture
def run(
    kubeconfig: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Command:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv(PRODUCTION, raising=False)
    monkeypatch.setenv("SERVEDECK_POD_METRICS", "false")  # tested in test_serving_load.py
    return Command(kubeconfig, tmp_path, capsys)


# -- each operation -----------------------------------------------------------------------------


def test_scaling(run: Command) -> None:
    target = run.create("scaled")
    assert run("scale", target, "--replicas", 3) == (
        0,
        "Deployment chat/scaled is scaled to 3 replicas.\n",
        "",
    )
    assert run.get("scaled")["spec"]["replicas"] == 3
    assert run("scale", target, "--replicas", 3) == (
        0,
        "Deployment chat/scaled unchanged: It has 3 replicas already.\n",
        "",
    )


def test_a_dry_run_prints_the_plan_and_changes_nothing(run: Command) -> None:
    target = run.create("dry")
    before = run.get("dry")["spec"]
    assert run("scale", target, "--replicas", 5, "--dry-run") == (
        0,
        "scale Deployment chat/dry (server dry run)\n"
        "  3 new Pods: 2 → 5 replicas.\n"
        f"  same as: {run.kubectl} -n chat scale deployment/dry --replicas=5\n",
        "",
    )
    for command in (["restart"], ["stop"], ["delete"], ["pause"]):
        code, out, err = run(*command, target, "--dry-run")
        assert (code, err) == (0, "")
        assert "(server dry run)" in out
    assert run.get("dry")["spec"] == before


def test_more_replicas_than_a_quota_has_room_for_are_refused(run: Command) -> None:
    command = "scale", "research/mistral-7b", "--replicas", 5, "--dry-run"
    code, out, err = run(*command)
    assert (code, out) == (1, "")
    assert "exceeded quota" in err


def test_replicas_that_the_nodes_have_no_room_for_are_said(run: Command) -> None:
    target = run.create("large", replicas=0, accelerator="nvidia.com/gpu")
    for command in (["scale", "--replicas", 90], ["start", "--replicas", 90]):
        code, out, _ = run(*command, target, "--dry-run")
        assert code == 0
        assert "will stay Pending" in out


def test_stopping_and_starting(run: Command) -> None:
    target = run.create("stopped", replicas=3)
    assert run("stop", target, "-y")[1] == "Deployment chat/stopped is stopped.\n"
    assert run.get("stopped")["spec"]["replicas"] == 0
    assert run("start", target)[1] == "Deployment chat/stopped is started with 3 replicas.\n"
    assert run.get("stopped")["spec"]["replicas"] == 3
    assert run("scale", target, "--replicas", 0, "-y")[0] == 0
    assert run("start", target, "--replicas", 1)[0] == 0
    assert run.get("stopped")["spec"]["replicas"] == 1


def test_restarting_twice_and_rolling_back(run: Command) -> None:
    target = run.create("rolled")
    first = run.get("rolled")["spec"]["template"]
    times = []
    for number in (1, 2):
        run.wait_for_revision("rolled", number)
        assert run("restart", target, "-y")[:2] == (0, "Deployment chat/rolled restarts.\n")
        metadata = run.get("rolled")["spec"]["template"]["metadata"]
        times.append(metadata["annotations"]["kubectl.kubernetes.io/restartedAt"])
    assert times[0] != times[1]
    run.wait_for_revision("rolled", 3)
    run.create("rolled", image="vllm/vllm-openai:v0.34.0")
    run.wait_for_revision("rolled", 4)
    code, out, _ = run("rollback", target, "--to-revision", 1, "--dry-run")
    assert code == 0
    assert out.startswith("roll back Deployment chat/rolled to revision 1 (server dry run)\n")
    assert (
        "  .spec.containers[inference-server].image: vllm/vllm-openai:v0.34.0 -> "
        "vllm/vllm-openai:v0.33.0\n" in out
    )
    assert run("rollback", target, "--to-revision", 1, "-y")[:2] == (
        0,
        "Deployment chat/rolled goes back to revision 1.\n",
    )
    assert run.get("rolled")["spec"]["template"] == first
    code, _, err = run("rollback", target, "--to-revision", 77, "-y")
    assert code == 1
    assert err.startswith("error: chat/rolled: There is no revision 77; choose from ")


def test_pausing_and_resuming(run: Command) -> None:
    target = run.create("paused")
    assert run("pause", target)[:2] == (0, "The rollout of Deployment chat/paused is paused.\n")
    assert run.get("paused")["spec"]["paused"] is True
    assert run("restart", target, "-y") == (
        1,
        "",
        "error: chat/paused: Its rollout is paused; resume it first.\n",
    )
    assert run("resume", target)[:2] == (0, "The rollout of Deployment chat/paused is resumed.\n")
    assert "paused" not in run.get("paused")["spec"]
    assert run("resume", target)[1] == (
        "Deployment chat/paused unchanged: Its rollout is not paused.\n"
    )


def test_deleting_deletes_what_servedeck_made(run: Command) -> None:
    target = run.create("deleted")
    assert run.get("deleted", "services", "api/v1") is not None
    assert run("delete", target, "-y") == (0, "Deployment chat/deleted is deleted.\n", "")
    assert run.get("deleted") is None
    assert run.get("deleted", "services", "api/v1") is None
    assert run.get("deleted", "httproutes", "apis/gateway.networking.k8s.io/v1") is None
    assert run("delete", target, "-y") == (
        1,
        "",
        "error: chat/deleted: Deployment chat/deleted does not exist.\n",
    )


# -- confirmation without a terminal ------------------------------------------------------------


@pytest.mark.parametrize("command", [["restart"], ["stop"], ["scale", "--replicas", 0], ["delete"]])
def test_without_a_terminal_what_restarts_or_deletes_needs_y(
    run: Command, command: list[object]
) -> None:
    target = run.create("asked")
    before = run.get("asked")["spec"]
    assert run(*command, target) == (
        1,
        "",
        "error: chat/asked: There is no terminal to ask for a confirmation; add -y to "
        f"{command[0]} it, or --dry-run to see the plan.\n",
    )
    assert run.get("asked")["spec"] == before


def test_in_a_production_context_a_deletion_needs_the_name(
    run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = run.create("precious")
    monkeypatch.setenv(PRODUCTION, "other,dem*")
    assert run("delete", target) == (
        1,
        "",
        "error: chat/precious: demo is a production context, and there is no terminal to ask for "
        "the name; add --confirm-name chat/precious to delete it.\n",
    )
    assert run("delete", target, "-y") == (
        1,
        "",
        "error: chat/precious: demo is a production context, where -y does not confirm a deletion; "
        "add --confirm-name chat/precious to delete it.\n",
    )
    assert run("delete", target, "--confirm-name", "preciou") == (
        2,
        "",
        "servedeck: --confirm-name preciou is none of the servings to delete; correct it.\n",
    )
    assert run("delete", target, "--confirm-name", "other/precious")[::2] == (
        2,
        "servedeck: --confirm-name other/precious is none of the servings to delete; correct it.\n",
    )
    assert run("restart", target, "-y")[0] == 0  # a deletion alone needs the name
    assert run.get("precious") is not None
    assert run("delete", target, "-y", "--confirm-name", "chat/precious")[0] == 0
    assert run.get("precious") is None


def test_one_confirmed_name_confirms_no_other_serving(run: Command) -> None:
    first, second = run.create("first"), run.create("second")
    code, out, err = run("delete", first, second, "--confirm-name", "first")
    assert (code, out) == (1, "Deployment chat/first is deleted.\n")
    assert err.startswith("error: chat/second: There is no terminal")
    assert run.get("second") is not None


def test_a_name_of_several_servings_confirms_none_of_them(run: Command) -> None:
    target = run.create("twice")
    assert run("delete", target, "research/twice", "--confirm-name", "twice") == (
        2,
        "",
        "servedeck: --confirm-name twice is the name of 2 of the servings to delete; use "
        "NAMESPACE/NAME, such as chat/twice.\n",
    )
    assert run.get("twice") is not None


# -- several servings, JSON, flags --------------------------------------------------------------


def test_the_others_are_done_if_one_of_several_fails(run: Command) -> None:
    first, second = run.create("several-a"), run.create("several-b")
    code, out, err = run("scale", first, "chat/nope", second, first, "--replicas", 3)
    assert code == 1
    assert out == (
        "Deployment chat/several-a is scaled to 3 replicas.\n"
        "Deployment chat/several-b is scaled to 3 replicas.\n"
    )
    assert err == "error: chat/nope: Deployment chat/nope does not exist.\n"


def test_names_without_a_namespace_are_in_that_of_n(run: Command) -> None:
    run.create("named")
    assert run("scale", "named", "-n", "chat", "--replicas", 3)[0] == 0


def test_json_of_one_serving_is_its_object(run: Command) -> None:
    target = run.create("json")
    code, out, err = run("stop", target, "-o", "json", "--dry-run")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found == {
        "apiVersion": "servedeck.dev/v1",
        "kind": "Operation",
        "operation": "stop",
        "namespace": "chat",
        "name": "json",
        "outcome": "planned",
        "message": found["message"],
        "effects": [found["message"]],
        "load": None,
        "kept": [],
        "warnings": [],
        "differences": [],
        "creations": [],
        "command": f"{run.kubectl} -n chat scale deployment/json --replicas=0",
    }
    assert found["message"].startswith("All 2 Pods stop")
    code, out, _ = run("stop", target, "-o", "json")
    assert (code, json.loads(out)["outcome"]) == (1, "refused")


def test_json_of_several_servings_is_a_list(run: Command) -> None:
    target = run.create("json")
    code, out, _ = run("scale", target, "chat/nope", "--replicas", 4, "-o", "json")
    found = json.loads(out)
    assert (code, found["kind"]) == (1, "OperationList")
    assert [one["outcome"] for one in found["items"]] == ["done", "rejected"]


def test_readonly_allows_a_dry_run_alone(run: Command) -> None:
    target = run.create("readonly")
    assert run("scale", target, "--replicas", 3, "--readonly") == (
        1,
        "",
        "servedeck: servedeck runs with --readonly; restart it without that option to make "
        "changes.\n",
    )
    assert run("scale", target, "--replicas", 3, "--readonly", "--dry-run")[0] == 0
    assert run.get("readonly")["spec"]["replicas"] == 2


def test_a_missing_permission_names_the_verb(run: Command) -> None:
    target = run.create("viewed")
    for command in (["scale", "--replicas", "3"], ["restart", "-y"], ["delete", "-y"]):
        code, _, err = run(*command, target, "--context", "demo-viewer")
        assert code == 1
        assert ("needs delete on" if command[0] == "delete" else "cannot patch resource") in err
        assert len(err.splitlines()) == 1
    assert run.get("viewed")["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["scale", "x", "--replicas", "-1"], "--replicas must be a number from 0 to 100,000."),
        (["start", "x", "--replicas", "0"], "--replicas must be a number from 1 to 100,000."),
        (["rollback", "x", "--to-revision", "-1"], "--to-revision must be the number"),
        (["restart", "a/b/c"], "'a/b/c' is not NAME or NAMESPACE/NAME; correct it."),
        (["restart", "a/b", "-n", "c"], "a/b and -n c name two namespaces; give one."),
        (["restart", "x", "-A"], "give its namespace with -n."),
        (["scale", "x"], "the following arguments are required: --replicas"),
        (["scale", "--replicas", "1"], "the following arguments are required: NAME"),
        (["restart", "x", "--confirm-name", "x"], "unrecognized arguments"),
    ],
)
def test_wrong_usage_is_said_and_nothing_is_sent(run: Command, words: list[str], text: str) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert text in err


@pytest.mark.parametrize(
    "command", ["scale", "restart", "stop", "start", "pause", "resume", "rollback", "delete"]
)
def test_each_command_has_help(run: Command, command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert "--dry-run" in out and "--yes" in out


def test_a_name_writes_no_control_sequences(run: Command) -> None:
    for more in ([], ["-o", "json"]):
        code, out, err = run("restart", "chat/a\x1b]0;x\x07b\u202e", "-y", *more)
        assert code == 1
        assert (out + err).replace("\n", "").isprintable()


# -- on a terminal ------------------------------------------------------------------------------


class TerminalRun(NamedTuple):
    code: int
    out: str
    screen: str
    """What the terminal got: standard error, and the echo of what was typed."""


@pytest.fixture
def run_on_terminal(kubeconfig: Path, tmp_path: Path) -> Callable[..., TerminalRun]:
    def run(*args: object, question: str, answer: bytes, **variables: str) -> TerminalRun:
        """The command with a terminal as standard input and standard error; `answer` is typed once
        `question` is asked."""
        leader, terminal = pty.openpty()
        words = [*map(str, args), "--kubeconfig", str(kubeconfig)]
        environ = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), **variables}
        process = subprocess.Popen(
            [sys.executable, "-m", "servedeck", *words],
            stdin=terminal,
            stderr=terminal,
            stdout=subprocess.PIPE,
            env=environ,
        )
        os.close(terminal)
        shown = b""
        try:
            while question.encode() not in shown:
                shown += os.read(leader, 4096)
            os.write(leader, answer)
            out, _ = process.communicate(timeout=WAIT_SECONDS)
            return TerminalRun(process.returncode, out.decode(), shown.decode())
        finally:
            process.kill()
            process.wait()
            os.close(leader)

    return run


RunOnTerminal = Callable[..., TerminalRun]


def test_the_plan_is_shown_before_the_question(
    run: Command, run_on_terminal: RunOnTerminal
) -> None:
    target = run.create("terminal")
    found = run_on_terminal("stop", target, question="? [y/N] ", answer=b"y\n")
    assert (found.code, found.out) == (0, "Deployment chat/terminal is stopped.\n")
    assert found.screen.splitlines() == [
        "stop Deployment chat/terminal",
        found.screen.splitlines()[1],
        f"  same as: {run.kubectl} -n chat scale deployment/terminal --replicas=0",
        "Stop Deployment chat/terminal? [y/N] ",
    ]
    assert "nothing is served until it is started" in found.screen
    assert run.get("terminal")["spec"]["replicas"] == 0


@pytest.mark.parametrize("answer", [b"\n", b"n\n", b"yess\n", b"\x04"])
def test_everything_but_yes_changes_nothing(
    run: Command, run_on_terminal: RunOnTerminal, answer: bytes
) -> None:
    target = run.create("kept")
    found = run_on_terminal("restart", target, question="? [y/N] ", answer=answer)
    assert (found.code, found.out) == (1, "")
    template = run.get("kept")["spec"]["template"]["metadata"]
    assert "annotations" not in template


@pytest.mark.parametrize(("answer", "is_deleted"), [(b"y\n", False), (b"typed\n", True)])
def test_in_a_production_context_the_name_is_typed(
    run: Command, run_on_terminal: RunOnTerminal, answer: bytes, is_deleted: bool
) -> None:
    target = run.create("typed")
    found = run_on_terminal(
        "delete", target, question="to delete it: ", answer=answer, **{PRODUCTION: "demo"}
    )
    assert "demo is a production context. Type typed to delete it:" in found.screen
    assert found.code == (0 if is_deleted else 1)
    assert (run.get("typed") is None) is is_deleted


# -- what changes, or is lost, between plan and answer ------------------------------------------


class Answers:
    """Answers questions in place of a terminal."""

    def __init__(self, *answers: str, before: Callable[[int], None] = lambda _: None) -> None:
        self._answers = list(answers)
        self._before = before
        self.questions: list[str] = []

    @property
    def is_terminal(self) -> bool:
        return bool(self._answers) or bool(self.questions)

    async def ask(self, question: str) -> str:
        """`before` is called with the number of the question."""
        self.questions.append(question)
        self._before(len(self.questions))
        return self._answers.pop(0)


RESTART = Operation(OperationKind.RESTART, "chat", "llama")
SCALE = Operation(OperationKind.SCALE, "chat", "llama", 5)
HPAS = "/apis/autoscaling/v2/namespaces/chat/horizontalpodautoscalers"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    async def leave(_connection: object, plan: OperationPlan) -> OperationPlan:
        return plan  # it has no nodes to watch

    monkeypatch.setattr(operations, "with_room_warnings", leave)
    return FakeCluster({PATH: deployment(3), HPAS: []})


async def run_operation(
    cluster: FakeCluster,
    operation: Operation,
    prompt: Answers,
    confirmation: Confirmation | None = None,
) -> tuple[OperationReport, list[str]]:
    lines: list[str] = []
    runner = OperationRunner(
        cluster.connection, confirmation or Confirmation(), prompt, stderr=lines.append
    )
    return await runner.run(operation), lines


async def test_an_outdated_plan_is_made_anew_and_asked_again(cluster: FakeCluster) -> None:
    def scale_meanwhile(number: int) -> None:
        if number == 1:
            cluster.change(PATH, spec={"replicas": 7})

    prompt = Answers("y", "y", before=scale_meanwhile)
    report, lines = await run_operation(cluster, RESTART, prompt)
    assert (report.outcome, len(prompt.questions)) == (Outcome.DONE, 2)
    assert (
        "Deployment chat/llama was changed by somebody else at the same time. This is the plan for "
        "it as it is now:" in lines
    )
    assert any(line.startswith("  Its 7 Pods are replaced") for line in lines)
    assert len(cluster.writes) == 1


async def test_an_outdated_plan_that_is_not_confirmed_again_changes_nothing(
    cluster: FakeCluster,
) -> None:
    prompt = Answers("y", "n", before=lambda _: cluster.change(PATH, spec={"replicas": 7}))
    report, _ = await run_operation(cluster, RESTART, prompt)
    assert (report.outcome, cluster.writes) == ("refused", [])


async def test_an_outdated_plan_without_a_question_is_asked_for_then(cluster: FakeCluster) -> None:
    def scale_once() -> None:
        if [dry for _, _, dry in cluster.requests] == [True, False]:
            cluster.change(PATH, spec={"replicas": 4})

    cluster.before_write = scale_once
    prompt = Answers("y")
    report, _ = await run_operation(cluster, SCALE, prompt)
    assert (report.outcome, len(prompt.questions)) == (Outcome.DONE, 1)


async def test_an_outdated_plan_is_reported_where_nobody_is_asked(cluster: FakeCluster) -> None:
    def scale_once() -> None:
        if [dry for _, _, dry in cluster.requests] == [True, False]:
            cluster.change(PATH, spec={"replicas": 4})

    cluster.before_write = scale_once
    report, _ = await run_operation(cluster, RESTART, Answers(), Confirmation(assume_yes=True))
    assert (report.outcome, report.message) == (
        Outcome.OUTDATED,
        "Deployment chat/llama was changed by somebody else at the same time. Run the command "
        "again.",
    )
    assert not report.succeeded
    assert cluster.writes == []


async def test_an_outdated_deletion_of_a_serving_that_is_not_named_is_asked_again(
    cluster: FakeCluster,
) -> None:
    prompt = Answers("y", "y", before=lambda _: cluster.change(PATH, spec={"replicas": 7}))
    confirmation = Confirmation(names=frozenset({"chat/other"}))
    await run_operation(cluster, RESTART, prompt, confirmation)
    assert len(prompt.questions) == 2


async def test_a_deployment_that_is_deleted_meanwhile_is_said(cluster: FakeCluster) -> None:
    prompt = Answers("y", before=lambda _: cluster.objects.pop(PATH))
    report, lines = await run_operation(cluster, RESTART, prompt)
    assert report.message == "Deployment chat/llama does not exist."
    assert any("was deleted by somebody else" in line for line in lines)


async def test_a_lost_response_is_looked_into_until_the_server_is_back(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "LOOK_AGAIN_INTERVAL", 0)
    cluster.faults = [lambda execute: execute(), lose_response]

    def lose_server(_: int) -> None:
        cluster.read_error = LOST

    prompt = Answers("y", before=lose_server)
    lines: list[str] = []

    def read(line: str) -> None:
        lines.append(line)
        if "Waiting" in line:
            cluster.read_error = None

    runner = OperationRunner(cluster.connection, Confirmation(), prompt, stderr=read)
    report = await runner.run(RESTART)
    assert report.outcome is Outcome.DONE
    assert any("it is not sent again. Waiting up to 30 s for an answer." in one for one in lines)
    assert len(cluster.writes) == 1


async def test_what_stays_unknown_is_a_failure(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "LOOK_AGAIN_TIMEOUT", 0)
    cluster.faults = [lambda execute: execute(), lose_request]
    report, _ = await run_operation(cluster, SCALE, Answers())
    assert report.outcome is Outcome.UNKNOWN
    assert not report.succeeded
    assert len(cluster.requests) == 2


async def test_a_server_that_cannot_be_reached_is_a_failure(cluster: FakeCluster) -> None:
    cluster.read_error = LOST
    report, _ = await run_operation(cluster, SCALE, Answers())
    assert (report.outcome, report.message) == (Outcome.REJECTED, str(LOST))


async def test_warnings_are_printed_with_the_result(cluster: FakeCluster) -> None:
    cluster.headers = {"Warning": '299 - "deprecated"'}
    report, _ = await run_operation(cluster, SCALE, Answers())
    out: list[str] = []
    err: list[str] = []
    print_report(report, out.append, err.append)
    assert out == ["Deployment chat/llama is scaled to 5 replicas."]
    assert err == ["warning: chat/llama: deprecated"]


# -- adopting -----------------------------------------------------------------------------------

NOT_LISTED = {
    "metadata": {"name": "my-server", "labels": {"app": "my-server"}},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "my-server"}},
        "template": {
            "metadata": {"labels": {"app": "my-server"}},
            "spec": {
                "containers": [
                    {
                        "name": "main",
                        "image": "registry.example.com/my-server:1",
                        "ports": [{"containerPort": 9000}],
                        "resources": {"limits": {"nvidia.com/gpu": "1"}},
                    }
                ]
            },
        },
    },
}


@pytest.fixture
def not_listed(run: Command) -> str:
    """A Deployment that is no serving by what it runs."""
    run.post("deployments", NOT_LISTED)
    assert "my-server" not in run("get", "servings", "-n", "chat")[1]
    return "chat/my-server"


def test_adopting_what_is_not_listed(run: Command, not_listed: str) -> None:
    before = run.get("my-server")
    code, out, err = run("adopt", not_listed, "--dry-run")
    assert (code, err) == (0, "")
    assert out.startswith(f"adopt Deployment {not_listed} (server dry run)\n")
    assert "  .metadata.labels.servedeck.dev/serving: none -> my-server\n" in out
    assert f"  new Service {not_listed}:\n    apiVersion: v1\n    kind: Service\n" in out
    assert "    metadata:\n      name: my-server\n" in out
    assert run.get("my-server") == before
    code, out, err = run("adopt", not_listed)
    assert (code, out) == (1, "")
    assert "add -y to adopt it, or --dry-run to see the plan" in err
    assert run.get("my-server") == before
    assert run("adopt", not_listed, "-y") == (
        0,
        f"Deployment {not_listed} is adopted, with a new Service.\n",
        "",
    )
    assert run.get("my-server")["spec"] == before["spec"]
    assert "my-server" in run("get", "servings", "-n", "chat")[1]
    assert run("adopt", not_listed, "-y") == (
        0,
        f"Deployment {not_listed} unchanged: It is a serving of servedeck already; there is nothing"
        " to adopt.\n",
        "",
    )
    code, out, _ = run("adopt", not_listed, "-y", "--route")
    assert (code, out) == (0, f"Deployment {not_listed} is adopted, with a new HTTPRoute.\n")
    code, out, _ = run("delete", not_listed, "-y")
    assert (code, run.get("my-server")) == (0, None)
    assert run.get("my-server", "services", "api/v1") is None


def test_adopting_without_a_service(run: Command) -> None:
    manifest = json.loads(json.dumps(NOT_LISTED).replace("my-server", "other-server"))
    run.post("deployments", manifest)
    code, out, _ = run("adopt", "chat/other-server", "-y", "--no-service")
    assert (code, out) == (0, "Deployment chat/other-server is adopted.\n")
    assert run.get("other-server", "services", "api/v1") is None
