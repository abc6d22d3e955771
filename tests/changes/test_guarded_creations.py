"""Objects of settings that an edit creates and deletes, on the demo cluster: with lost answers,
other editors, finalizers, and nothing of others overwritten."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from servedeck.changes.edit import guarded_writes
from servedeck.changes.edit.edit import Edit, EditPlan, begin_edit, plan_edit
from servedeck.changes.edit.save import (
    SaveResult,
    SaveState,
    UndoExpiredError,
    begin_undo,
    resolve_unknown,
    save_edit,
)
from servedeck.changes.edit_draft import EditDraft
from servedeck.changes.inventory import ClusterInventory
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import (
    ApiError,
    ClusterError,
    ConnectionFailedError,
    ConnectionLostError,
)
from servedeck.commands import set as set_command
from servedeck.commands.apply import apply_all
from servedeck.commands.errors import CommandError
from servedeck.commands.export import export_serving
from servedeck.commands.set import SetOptions, set_fields
from servedeck.demo.cluster import DemoCluster
from servedeck.serving.edit.assignments import parse_assignment
from servedeck.serving.edit.merge import Side
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.document import from_yaml

NAME = "llama-33-70b"
SCALED_OBJECTS = "/apis/keda.sh/v1alpha1/namespaces/chat/scaledobjects"
PATH = f"{SCALED_OBJECTS}/{NAME}"
DEPLOYMENT = f"/apis/apps/v1/namespaces/chat/deployments/{NAME}"
REF = f"ScaledObject chat/{NAME}"
ON = {"auto_scaling": "response-time", "max_replicas": 4}
LOST = ConnectionLostError("The connection to https://demo was lost.")
REFUSED = ConnectionFailedError("Connection refused by https://demo.")
WEBHOOK = ApiError(500, "InternalError", 'failed calling webhook "vscaledobject.kb.io"')
DENIED = ApiError(403, "Forbidden", 'scaledobjects.keda.sh is forbidden: "me" cannot create')


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    async with DemoCluster(live=False) as cluster:
        opened = await Connection.open(ConnectionOptions(kubeconfig=(cluster.kubeconfig,)))
        yield opened
        await opened.close()


@pytest.fixture
async def inventory(connection: Connection) -> AsyncIterator[ClusterInventory]:
    made = ClusterInventory(connection, "chat")
    made.start()
    await made.wait_until_listed()
    yield made
    await made.close()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_writes, "_PAUSES", (0.0,) * 5)


async def begin(connection: Connection, **fields: Any) -> Edit:
    edit = await begin_edit(connection, "chat", NAME)
    return replace(edit, wanted=edit.wanted.replace(**fields))


async def plan_of(connection: Connection, inventory: ClusterInventory, **fields: Any) -> EditPlan:
    plan = await plan_edit(connection, await begin(connection, **fields), inventory)
    assert plan.can_save, plan.issues
    return plan


async def save(connection: Connection, inventory: ClusterInventory, **fields: Any) -> SaveResult:
    plan = await plan_of(connection, inventory, **fields)
    return await save_edit(connection, plan, inventory)


async def turn_on(connection: Connection, inventory: ClusterInventory) -> None:
    assert (await save(connection, inventory, **ON)).state is SaveState.SAVED


async def read_spec(connection: Connection) -> Any:
    return (await begin_edit(connection, "chat", NAME)).base.spec


async def scaled_object(connection: Connection) -> Any:
    """The ScaledObject as it is; None if there is none."""
    try:
        return await connection.get_json(PATH)
    except ApiError as error:
        assert error.code == 404
        return None


async def patch(connection: Connection, body: Any, path: str = PATH) -> None:
    await connection.request(
        "PATCH",
        path,
        params=[("fieldManager", "kubectl-edit")],
        body=body,
        content_type="application/merge-patch+json",
    )


def foreign_scaled_object(target: str) -> Any:
    trigger = {"type": "cron", "metadata": {"timezone": "UTC", "desiredReplicas": "3"}}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": NAME, "namespace": "chat"},
        "spec": {"scaleTargetRef": {"name": target}, "triggers": [trigger]},
    }


class Hook:
    """Does something with the first write of one method on the ScaledObject."""

    def __init__(
        self,
        connection: Connection,
        method: str,
        *,
        error: ClusterError | None = None,
        executed: bool = False,
        before: Callable[[], Awaitable[None]] | None = None,
        reads_fail: bool = False,
    ) -> None:
        self._connection = connection
        self.bodies: list[Any] = []
        """Of all such writes that were no dry runs."""
        self._late: tuple[tuple[str, str], dict[str, Any]] | None = None
        request: Callable[..., Awaitable[Any]] = connection.request
        self._request = request

        async def hooked(verb: str, path: str, **options: Any) -> Any:
            body = options.get("body", b"")
            is_dry_run = ("dryRun", "All") in options.get("params", ()) or "dryRun" in str(body)
            if verb == "GET" and reads_fail and self.bodies:
                raise REFUSED
            if verb != method or path != PATH or is_dry_run:
                return await request(verb, path, **options)
            self.bodies.append(json.loads(body))
            if len(self.bodies) == 1:
                if before is not None:
                    await before()
                if error is not None:
                    if executed:
                        await request(verb, path, **options)
                    self._late = ((verb, path), options)
                    raise error
            return await request(verb, path, **options)

        connection.request = hooked  # type: ignore[method-assign, assignment]

    def end(self) -> None:
        del self._connection.request

    async def arrive(self) -> None:
        """The API server executes the write that it was not heard of."""
        assert self._late is not None
        place, options = self._late
        await self._request(*place, **options)


# -- on, off, undo ------------------------------------------------------------------------------


async def test_on_creates_and_off_deletes_and_both_are_undone(
    connection: Connection, inventory: ClusterInventory
) -> None:
    before = await read_spec(connection)
    plan = await plan_of(connection, inventory, **ON)
    assert [(one.ref.kind, one.body is not None) for one in plan.change_plan.writes][-1] == (
        "ScaledObject",
        True,
    )
    assert (plan.deleted_objects, plan.restarts_pods) == ((), False)
    on = await save_edit(connection, plan, inventory)
    assert (on.state, [str(one) for one in on.applied]) == (SaveState.SAVED, [REF])
    assert on.undo is not None
    undo = await begin_undo(connection, on.undo)
    plan = await plan_edit(connection, undo, inventory)
    assert [str(one) for one in plan.deleted_objects] == [REF]
    assert (await save_edit(connection, plan, inventory)).state is SaveState.SAVED
    assert await read_spec(connection) == before
    assert await scaled_object(connection) is None

    await turn_on(connection, inventory)
    made = await read_spec(connection)
    off = await save(connection, inventory, auto_scaling="off")
    assert (off.state, [str(one) for one in off.applied]) == (SaveState.SAVED, [REF])
    assert off.undo is not None
    plan = await plan_edit(connection, await begin_undo(connection, off.undo), inventory)
    assert (await save_edit(connection, plan, inventory)).state is SaveState.SAVED
    assert await read_spec(connection) == made


async def test_an_undo_ends_when_somebody_changed_the_scaler(
    connection: Connection, inventory: ClusterInventory
) -> None:
    on = await save(connection, inventory, **ON)
    assert on.undo is not None
    await patch(connection, {"spec": {"maxReplicaCount": 9}})
    with pytest.raises(UndoExpiredError):
        await begin_undo(connection, on.undo)


async def test_a_deletion_is_of_the_object_as_it_was_read(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    live = await scaled_object(connection)
    hook = Hook(connection, "DELETE")
    assert (await save(connection, inventory, auto_scaling="off")).state is SaveState.SAVED
    metadata = {key: live["metadata"][key] for key in ("uid", "resourceVersion")}
    assert [one["preconditions"] for one in hook.bodies] == [metadata]


# -- others at the same time --------------------------------------------------------------------


async def test_a_scaler_of_that_name_for_something_else_is_left_alone(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await connection.request("POST", SCALED_OBJECTS, body=foreign_scaled_object("bert"))
    before = await scaled_object(connection)
    plan = await plan_edit(connection, await begin(connection, **ON), inventory)
    [issue] = plan.errors
    assert (issue.field, "is for something else" in issue.message) == ("auto_scaling", True)
    assert (await save_edit(connection, plan, inventory)).state is SaveState.BLOCKED
    assert await scaled_object(connection) == before


@pytest.mark.parametrize("target", ["bert", NAME])
async def test_one_that_somebody_creates_meanwhile_is_not_overwritten(
    connection: Connection, inventory: ClusterInventory, target: str
) -> None:
    plan = await plan_of(connection, inventory, **ON)

    async def create() -> None:
        await connection.request("POST", SCALED_OBJECTS, body=foreign_scaled_object(target))

    hook = Hook(connection, "PATCH", before=create)
    result = await save_edit(connection, plan, inventory)
    assert result.state is SaveState.REPLANNED
    assert len(hook.bodies) == 1
    found = await scaled_object(connection)
    assert [one["type"] for one in found["spec"]["triggers"]] == ["cron"]
    assert "maxReplicaCount" not in found["spec"]
    assert not result.plan.can_save
    if target == NAME:
        [conflict] = result.plan.conflicts
        assert conflict.theirs.startswith("custom")


async def test_one_that_somebody_changes_meanwhile_is_not_deleted(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    plan = await plan_of(connection, inventory, auto_scaling="off")

    async def change() -> None:
        await patch(connection, {"spec": {"maxReplicaCount": 9}})

    Hook(connection, "DELETE", before=change)
    result = await save_edit(connection, plan, inventory)
    assert result.state is SaveState.REPLANNED
    assert (await scaled_object(connection))["spec"]["maxReplicaCount"] == 9
    [conflict] = result.plan.conflicts
    assert conflict.mine == "off"
    assert "maxReplicas 9" in conflict.theirs
    assert [one.name for one in conflict.changed_by][:1] == ["kubectl-edit"]


async def test_one_whose_status_alone_changes_meanwhile_is_deleted(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    plan = await plan_of(connection, inventory, auto_scaling="off")

    async def report() -> None:
        await patch(connection, {"status": {"hpaName": "keda-hpa"}}, f"{PATH}/status")

    hook = Hook(connection, "DELETE", before=report)
    assert (await save_edit(connection, plan, inventory)).state is SaveState.SAVED
    assert len(hook.bodies) == 2
    assert await scaled_object(connection) is None


async def test_one_that_somebody_deletes_meanwhile_is_gone(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    plan = await plan_of(connection, inventory, auto_scaling="off")

    request = connection.request

    async def delete() -> None:
        await request("DELETE", PATH)

    Hook(connection, "DELETE", before=delete)
    assert (await save_edit(connection, plan, inventory)).state is SaveState.SAVED
    assert await scaled_object(connection) is None


async def test_one_that_waits_for_its_finalizers_is_off_and_cannot_be_created_again_yet(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    await patch(connection, {"metadata": {"finalizers": ["finalizer.keda.sh"]}})
    result = await save(connection, inventory, auto_scaling="off")
    assert (result.state, result.message) == (SaveState.SAVED, "The change was saved.")
    waiting = await scaled_object(connection)
    assert waiting["metadata"]["deletionTimestamp"]
    assert (await read_spec(connection)).auto_scaling == "off"
    plan = await plan_edit(connection, await begin(connection, **ON), inventory)
    assert [one.message for one in plan.errors] == [
        f"{REF} is being deleted still; try again when it is gone."
    ]
    await patch(connection, {"metadata": {"finalizers": None}})
    assert await scaled_object(connection) is None
    await turn_on(connection, inventory)


# -- a lost connection --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "executed", "state"),
    [
        (LOST, True, SaveState.SAVED),
        (LOST, False, SaveState.UNKNOWN),
        (REFUSED, False, SaveState.NOT_SAVED),
        (WEBHOOK, False, SaveState.REJECTED),
        (DENIED, False, SaveState.REJECTED),
    ],
)
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_what_became_of_a_write_is_read_back_and_it_is_never_sent_twice(
    connection: Connection,
    inventory: ClusterInventory,
    method: str,
    error: ClusterError,
    executed: bool,
    state: SaveState,
) -> None:
    if method == "DELETE":
        await turn_on(connection, inventory)
    fields = ON if method == "PATCH" else {"auto_scaling": "off"}
    plan = await plan_of(connection, inventory, **fields)
    hook = Hook(connection, method, error=error, executed=executed)
    result = await save_edit(connection, plan, inventory)
    assert result.state is state, result.message
    assert len(hook.bodies) == 1
    done = "saved" if method == "PATCH" else "deleted"
    what = "The change" if method == "PATCH" else REF
    assert {
        SaveState.SAVED: "The change was saved.",
        SaveState.NOT_SAVED: f"{what} was not {done}.",
        SaveState.UNKNOWN: f"was {done}, and the API server may still {done.rstrip('d')} it",
        SaveState.REJECTED: f"{REF}: ",
    }[state] in result.message
    is_there = await scaled_object(connection) is not None
    assert is_there is ((method == "PATCH") is executed)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("executed", [False, True])
async def test_a_new_plan_tells_what_became_of_a_lost_write(
    connection: Connection, inventory: ClusterInventory, method: str, executed: bool
) -> None:
    if method == "DELETE":
        await turn_on(connection, inventory)
    fields = ON if method == "PATCH" else {"auto_scaling": "off"}
    plan = await plan_of(connection, inventory, **fields)
    hook = Hook(connection, method, error=LOST, executed=executed, reads_fail=True)
    lost = await save_edit(connection, plan, inventory)
    assert lost.state is SaveState.UNKNOWN
    hook.end()  # the API server answers again
    if not executed:
        for _ in range(2):
            lost = resolve_unknown(lost, await plan_edit(connection, plan.edit, inventory))
            assert lost.state is SaveState.UNKNOWN
            assert "does not have the change so far" in lost.message
        await hook.arrive()
    result = resolve_unknown(lost, await plan_edit(connection, plan.edit, inventory))
    assert result.state is SaveState.SAVED
    assert [str(one) for one in result.applied] == [REF]
    assert result.undo is not None


async def test_a_lost_creation_is_not_saved_once_another_one_has_its_name(
    connection: Connection, inventory: ClusterInventory
) -> None:
    plan = await plan_of(connection, inventory, **ON)
    hook = Hook(connection, "PATCH", error=LOST, reads_fail=True)
    lost = await save_edit(connection, plan, inventory)
    hook.end()
    await connection.request("POST", SCALED_OBJECTS, body=foreign_scaled_object("bert"))
    result = resolve_unknown(lost, await plan_edit(connection, plan.edit, inventory))
    assert result.state is SaveState.UNKNOWN  # the plan does not have what is not the serving's
    with pytest.raises(ApiError):  # but it changes nothing any more
        await hook.arrive()
    found = await scaled_object(connection)
    assert found["spec"]["scaleTargetRef"] == {"name": "bert"}


async def test_what_was_saved_before_the_scaler_is_said(
    connection: Connection, inventory: ClusterInventory
) -> None:
    plan = await plan_of(connection, inventory, **ON, description="new")
    hook = Hook(connection, "PATCH", error=WEBHOOK)
    result = await save_edit(connection, plan, inventory)
    hook.end()
    assert result.state is SaveState.REJECTED
    assert result.message.endswith(f"Deployment chat/{NAME} was saved before.")
    again = await plan_edit(connection, result.plan.edit, inventory)
    assert [one.name for one in again.fields] == ["autoScaling"]
    assert (await save_edit(connection, again, inventory)).state is SaveState.SAVED


# -- two editors --------------------------------------------------------------------------------


async def test_the_fields_of_a_scaler_are_merged_one_by_one_while_it_stays_on(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    edit = await begin(connection, max_replicas=6)
    await patch(connection, {"spec": {"minReplicaCount": 2}})
    plan = await plan_edit(connection, edit, inventory)
    assert (plan.conflicts, plan.spec.min_replicas, plan.spec.max_replicas) == ((), 2, 6)
    assert [one.name for one in plan.fields] == ["maxReplicas"]
    await patch(connection, {"spec": {"maxReplicaCount": 9}})
    [conflict] = (await plan_edit(connection, edit, inventory)).conflicts
    assert (conflict.name, conflict.base, conflict.theirs, conflict.mine) == (
        "maxReplicas",
        "4",
        "9",
        "6",
    )
    assert [one.name for one in conflict.changed_by] == ["kubectl-edit"]


async def test_on_and_off_are_one_value_with_the_fields_of_the_scaler(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    edit = await begin(connection, auto_scaling="waiting-requests", target_waiting=5)
    await patch(connection, {"spec": {"maxReplicaCount": 9}})
    [conflict] = (await plan_edit(connection, edit, inventory)).conflicts
    assert conflict.name == "autoScaling"
    assert conflict.theirs.startswith("response-time, minReplicas 1, maxReplicas 9")
    assert conflict.mine.startswith("waiting-requests, minReplicas 1, maxReplicas 4")
    assert conflict.changed_by[0].name == "kubectl-edit"
    decided = replace(edit, choices={conflict.conflict: Side.MINE})
    plan = await plan_edit(connection, decided, inventory, force=True)
    assert (plan.conflicts, plan.spec.auto_scaling, plan.spec.max_replicas) == (
        (),
        "waiting-requests",
        4,
    )


async def test_who_created_a_scaler_meanwhile_is_said(
    connection: Connection, inventory: ClusterInventory
) -> None:
    edit = await begin(connection, **ON)
    await connection.request(
        "POST",
        SCALED_OBJECTS,
        params=[("fieldManager", "kubectl-create")],
        body=foreign_scaled_object(NAME),
    )
    [conflict] = (await plan_edit(connection, edit, inventory)).conflicts
    assert "kubectl-create" in [one.name for one in conflict.changed_by]


async def test_a_field_that_another_manager_set_is_a_conflict_until_it_is_forced(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    await patch(connection, {"spec": {"maxReplicaCount": 9}})
    edit = await begin(connection, max_replicas=6)
    plan = await plan_edit(connection, edit, inventory)
    [issue] = plan.errors
    assert issue.field == "auto_scaling"
    assert "kubectl-edit" in issue.message
    forced = await plan_edit(connection, edit, inventory, force=True, earlier=plan)
    result = await save_edit(connection, forced, inventory, force=True)
    assert result.state is SaveState.SAVED
    assert (await read_spec(connection)).max_replicas == 6


async def test_a_resumed_draft_turns_on_what_it_did_before(
    connection: Connection, inventory: ClusterInventory
) -> None:
    base = (await begin_edit(connection, "chat", NAME)).base
    form = EditDraft(base.spec)
    form.draft.texts |= {"auto_scaling": "waiting-requests", "target_waiting": "3"}
    saved = json.loads(json.dumps(form.draft.to_saved_dict()))
    resumed = EditDraft(base.spec)
    loaded = type(form.draft).from_saved_dict(saved)
    assert loaded is not None
    resumed.draft = loaded
    wanted, issues = resumed.validate()
    assert wanted is not None, issues
    plan = await plan_edit(connection, Edit(base, wanted), inventory)
    assert (await save_edit(connection, plan, inventory)).state is SaveState.SAVED
    spec = await read_spec(connection)
    assert (spec.auto_scaling, spec.target_waiting, spec.max_replicas) == (
        "waiting-requests",
        3,
        10,
    )


# -- commands -----------------------------------------------------------------------------------


async def run_set(
    connection: Connection, *texts: str, **options: Any
) -> tuple[bool, list[str], list[str]]:
    out: list[str] = []
    err: list[str] = []
    saved = await set_fields(
        connection,
        "chat",
        NAME,
        [parse_assignment(one) for one in texts],
        SetOptions(**options),
        stdout=out.append,
        stderr=err.append,
    )
    return saved, out, err


async def test_set_turns_it_on_at_once_and_asks_before_it_turns_it_off(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, out, err = await run_set(connection, "autoScaling=response-time", "maxReplicas=4")
    assert saved, err
    assert out[-1] == f"scaledobject.keda.sh/{NAME} created"
    spec = await read_spec(connection)
    assert (spec.auto_scaling, spec.max_replicas) == ("response-time", 4)
    with pytest.raises(CommandError, match=f"add -y to delete {REF}, or --dry-run"):
        await run_set(connection, "autoScaling=off")

    class Terminal:
        is_terminal = True
        question = ""

        async def ask(self, question: str) -> str:
            Terminal.question = question
            return "n"

    with monkeypatch.context() as patched:
        patched.setattr(set_command, "TerminalPrompt", Terminal)
        saved, _, err = await run_set(connection, "autoScaling=off")
    assert not saved
    assert Terminal.question == f"Delete {REF}? [y/N]"
    assert err[-1] == "Not confirmed; nothing was changed."
    assert await scaled_object(connection) is not None
    saved, out, err = await run_set(connection, "autoScaling=off", assume_yes=True)
    assert saved, err
    assert out[-1] == f"scaledobject.keda.sh/{NAME} deleted"
    assert any(f"ScaledObject {NAME} is deleted." in line for line in err)
    assert await scaled_object(connection) is None


async def test_the_answer_of_set_names_what_it_deletes(connection: Connection) -> None:
    await run_set(connection, "autoScaling=response-time")
    _, out, _ = await run_set(connection, "autoScaling=off", dry_run=True, as_json=True)
    answer = json.loads(out[-1])
    assert answer["deletes"] == [{"kind": "ScaledObject", "name": NAME}]


@pytest.mark.parametrize(
    ("texts", "needed"),
    [
        (["maxReplicas=4"], "autoScaling=response-time or autoScaling=waiting-requests"),
        (["autoScaling=response-time", "targetWaiting=3"], "autoScaling=waiting-requests"),
        (["loadBalancingHeader=X-A"], "loadBalancing=header"),
        (["temperatureSeconds=5"], "temperaturePolicy=on"),
    ],
)
async def test_a_part_of_a_setting_that_is_off_is_no_silent_success(
    connection: Connection, texts: list[str], needed: str
) -> None:
    with pytest.raises(CommandError) as caught:
        await run_set(connection, *texts)
    path = texts[-1].partition("=")[0]
    assert str(caught.value) == f"{path}: This applies only with {needed}; add it."


async def run_apply(connection: Connection, text: str) -> tuple[bool, list[str], list[str]]:
    out: list[str] = []
    err: list[str] = []
    good = await apply_all(
        connection,
        [from_yaml(text)],
        PlatformSettings(),
        dry_run=False,
        stdout=out.append,
        stderr=err.append,
    )
    return good, out, err


async def test_a_file_that_says_nothing_of_it_leaves_the_scaler_alone(
    connection: Connection,
) -> None:
    before = await export_serving(connection, "chat", NAME)
    assert "autoScaling" not in before.yaml
    await run_set(connection, "autoScaling=response-time", "maxReplicas=4")
    made = await scaled_object(connection)
    good, out, err = await run_apply(connection, before.yaml)
    assert good, err
    assert {line.rpartition(" ")[2] for line in out} == {"unchanged"}
    assert await scaled_object(connection) == made
    after = (await export_serving(connection, "chat", NAME)).yaml
    assert "  autoScaling: response-time\n" in after
    good, out, err = await run_apply(
        connection, after.replace("autoScaling: response-time", 'autoScaling: "off"')
    )
    assert good, err
    assert f"scaledobject.keda.sh/{NAME} deleted" in out
    assert await scaled_object(connection) is None


async def test_an_applied_file_keeps_the_replicas_that_the_scaler_has_set(
    connection: Connection,
) -> None:
    await run_set(connection, "autoScaling=response-time", "maxReplicas=4")
    text = (await export_serving(connection, "chat", NAME)).yaml
    now = (await read_spec(connection)).replicas
    scale = {"spec": {"replicas": now + 2}}
    await patch(connection, scale, f"{DEPLOYMENT}/scale")
    good, _, err = await run_apply(connection, text.replace("scaleInDelay: 60", "scaleInDelay: 90"))
    assert good, err
    spec = await read_spec(connection)
    assert (spec.replicas, spec.scale_in_delay) == (now + 2, 90)
    note = f"ScaledObject {NAME} sets the replicas, {now + 2} now; the {now} here are not applied."
    assert [line for line in err if "replicas" in line] == [f"note: {NAME}: spec.replicas: {note}"]
