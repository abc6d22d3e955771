"""`servedeck traffic NAME canary` and `finish` as used by a script and on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from servedeck.changes.edit.edit import begin_edit
from servedeck.changes.plan import ChangePlan
from servedeck.changes.traffic_split.revisions import RevisionStart, Takeover
from servedeck.cluster.apply import ApplyResult, ObjectRef
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.rejection import Rejection, RejectionReason
from servedeck.commands import traffic_revision
from servedeck.commands.traffic_revision import CanaryRunner
from servedeck.demo.process import spawn
from servedeck.serving.edit.differences import find_field_differences
from servedeck.serving.edit.entries import UNKNOWN
from servedeck.serving.edit.merge import MergeConflict
from servedeck.serving.objects.manifests import build_manifests
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.objects.unmanaged_fields import UnmanagedField
from servedeck.serving.spec.spec import ServingSpec
from tests.commands.test_traffic import Command, Prompt

SERVING, CANARY = "chat/llama-31-8b", "llama-31-8b-canary"


class Inventory:
    def __init__(self, *_: object) -> None: ...

    def start(self) -> None: ...

    async def wait_until_listed(self) -> None: ...

    async def close(self) -> None: ...


class Fake:
    """The start of a second revision, and what creating it says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        main = ServingSpec(
            name="llama", namespace="chat", template="vllm", image="a:1", settings={"model": "m"}
        )
        spec = main.replace(name="llama-canary", revision_of="llama")
        left = UnmanagedField("Deployment llama", "spec.template.spec.nodeSelector", {"a": "b"})
        self.start = RevisionStart(main, spec, "m", (left,))
        self.result = ApplyResult(())
        self.apply_count = 0
        self.err: list[str] = []
        monkeypatch.setattr(traffic_revision, "ClusterInventory", Inventory)
        monkeypatch.setattr(traffic_revision, "start_revision", self._start)
        monkeypatch.setattr(traffic_revision, "make_plan", self._plan)
        monkeypatch.setattr(traffic_revision, "apply_writes", self._apply)

    async def _start(self, *_: object, **__: object) -> RevisionStart:
        return self.start

    async def _plan(self, _: object, spec: ServingSpec, *__: object, **___: object) -> ChangePlan:
        built = tuple(build_manifests(spec))
        return ChangePlan(spec, built, (), (), (), "", ())

    async def _apply(self, *_: object, **__: object) -> ApplyResult:
        self.apply_count += 1
        return self.result

    async def run(self, *answers: str, **options: bool) -> tuple[str, str]:
        """Outcome and message."""
        self.prompt = Prompt(*answers)
        connection = cast(Connection, None)
        runner = CanaryRunner(
            connection, PlatformSettings(), self.prompt, stderr=self.err.append, **options
        )
        found = await runner.run("chat", "llama")
        return found.outcome, found.message


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(monkeypatch)


async def test_without_a_terminal_it_needs_y(fake: Fake) -> None:
    outcome, message = await fake.run()
    assert outcome == "refused" and "add -y to do it" in message
    assert fake.apply_count == 0
    outcome, message = await fake.run(assume_yes=True)
    assert outcome == "done" and fake.apply_count == 1
    assert message.endswith("servedeck traffic chat/llama split llama-canary --weight 1")


async def test_on_a_terminal_the_plan_is_shown_and_asked(fake: Fake) -> None:
    assert (await fake.run("n"))[1] == "Not confirmed; nothing was created."
    assert fake.apply_count == 0
    assert fake.prompt.asked == ["Create chat/llama-canary? [y/N]"]
    assert fake.err[0] == "new revision chat/llama-canary of chat/llama"
    assert any("nodeSelector" in one and "warning: It does not have" in one for one in fake.err)
    assert (await fake.run("y"))[0] == "done"
    assert (await fake.run(dry_run=True))[0] == "planned"
    assert fake.apply_count == 1


async def test_what_was_created_before_a_rejection_is_named(fake: Fake) -> None:
    ref = ObjectRef("v1", "Service", "chat", "llama-canary")
    rejection = Rejection(RejectionReason.SERVER_ERROR, "No room.")
    fake.result = ApplyResult((), rejection, ref)
    outcome, message = await fake.run(assume_yes=True)
    assert outcome == "rejected" and message == f"{ref} was not created: No room."


# -- on a demo cluster ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[Path]:
    with spawn() as file:
        yield file


@pytest.fixture
def command(
    kubeconfig: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Command:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return Command(kubeconfig, capsys)


def test_a_canary_of_the_demo_is_planned_and_created(command: Command) -> None:
    words = (SERVING, "canary", "settings.maxModelLen=8192")
    code, out, err = command(*words, "--dry-run")
    assert code == 0, err
    assert out.startswith(f"new revision chat/{CANARY} of {SERVING} (server dry run)\n")
    assert "  settings.maxModelLen: 32768 -> 8192\n" in out
    code, out, err = command(*words, "-y", "-o", "json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["kind"], found["operation"], found["outcome"], found["other"]) == (
        "TrafficOperation",
        "canary",
        "done",
        CANARY,
    )
    paths = {one["path"] for one in found["differences"]}
    assert {"settings.maxModelLen", "replicas"} <= paths and "name" not in paths
    code, out, err = command(SERVING)
    assert "  HTTPRoute llama-31-8b, /chat/llama-31-8b: llama-31-8b 100 %" in out
    assert f"{CANARY}, a revision of llama-31-8b" in out
    code, out, err = command(SERVING, "-o", "json")
    found = json.loads(out)
    assert found["revision"]["name"] == CANARY
    assert [one["path"] for one in found["revision"]["differences"]] == ["settings.maxModelLen"]
    assert CANARY in found["nextStep"]


class Finish:
    """The takeover of the demo's serving, as a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.obstacle = ""
        self.has_base = True
        self.has_conflict = False
        monkeypatch.setattr(traffic_revision, "start_takeover", self._start)
        monkeypatch.setattr(traffic_revision, "find_takeover_obstacle", self._find_obstacle)

    async def _start(
        self,
        connection: Connection,
        namespace: str,
        name: str,
        *,
        prometheus_url: str,
        force: bool,
    ) -> Takeover:
        edit = await begin_edit(connection, namespace, name, prometheus_url=prometheus_url)
        spec = edit.base.spec
        wanted = spec.replace(description="of the canary", objectives="p95=2s")
        found = replace(edit, wanted=wanted)
        if self.has_conflict and not force:
            path = ("description",)
            conflict = MergeConflict(path, UNKNOWN, spec.description, wanted.description)
            kept = wanted.replace(description=spec.description)
            found = replace(edit, wanted=kept, conflicts=(conflict,))
        differences = find_field_differences(spec, wanted)
        return Takeover(found, CANARY, differences, False, wanted, has_base=self.has_base)

    async def _find_obstacle(self, _: Connection, namespace: str, name: str, other: str) -> str:
        assert (namespace, name, other) == ("chat", "llama-31-8b", CANARY)
        return self.obstacle


@pytest.fixture
def finish(monkeypatch: pytest.MonkeyPatch) -> Finish:
    return Finish(monkeypatch)


def test_what_both_changed_is_refused_also_with_y(command: Command, finish: Finish) -> None:
    finish.has_conflict = True
    for option in ("-y", "--dry-run"):
        code, out, err = command(SERVING, "finish", option)
        assert code == 1 and "somebody else changed description meanwhile: another value -> " in err
        assert "this change says of the canary." in err and "use --force-conflicts" in err
    code, out, err = command(SERVING, "finish", "-y", "-o", "json")
    assert (code, json.loads(out)["result"]) == (1, "blocked")
    code, out, err = command(SERVING, "finish", "--dry-run", "--force-conflicts")
    assert code == 0 and "-> of the canary" in out, err


def test_before_it_is_saved_it_is_asked_again_whether_it_still_answers(
    command: Command, finish: Finish
) -> None:
    finish.obstacle = f"{CANARY} has no ready replica."
    code, out, err = command(SERVING, "finish", "-y")
    assert code == 1 and f"{CANARY} has no ready replica. Nothing was saved." in err
    finish.obstacle = ""
    code, out, err = command(SERVING, "finish", "--dry-run")
    assert code == 0 and "-> of the canary" in out, "nothing was saved before"


def test_what_may_be_reverted_is_said(command: Command, finish: Finish) -> None:
    finish.has_base = False
    code, _, err = command(SERVING, "finish", "--dry-run")
    assert code == 0
    assert f"warning: {SERVING}: It is not known what {CANARY} began from" in err
    assert "changed in llama-31-8b since: description, objectives." in err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("canary", "image"), 2, "is not FIELD=VALUE"),
        (("canary", "no=1"), 2, "There is no field no"),
        (("canary", "name=other"), 2, "The name of a serving cannot be changed"),
        (("canary", "revisionOf=other"), 2, "leave revisionOf out"),
        (("canary", "--revision", "0"), 2, "Revisions count from 1"),
        (("canary", "--revision", "99", "-y"), 1, "There is no revision 99; choose from"),
        (("canary", "--name", "llama-33-70b", "-y"), 1, "llama-33-70b is taken"),
        (("canary", "--name", "No", "-y"), 1, "may contain only lowercase letters"),
        (("canary", "replicas=-1", "-y"), 1, "replicas"),
        (("finish", "-y"), 1, "there is nothing to finish"),
        (("canary", "--readonly", "-y"), 1, "runs with --readonly"),
        (("finish", "--readonly", "-y"), 1, "runs with --readonly"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    command: Command, words: tuple[str, ...], code: int, message: str
) -> None:
    found, out, err = command(SERVING, *words)
    assert found == code and message in err and not out


def test_a_serving_that_does_not_exist_has_no_revisions(command: Command) -> None:
    for word in ("canary", "finish"):
        code, out, err = command("chat/none", word, "-y")
        assert (code, out) == (1, "") and "There is no Deployment none in namespace chat." in err
