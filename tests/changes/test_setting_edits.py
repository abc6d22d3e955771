"""Edits of auto scaling on the demo cluster: two editors, saved drafts, `set` and `apply`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from servedeck.changes.async_queue.plan import AsyncQueueAction, AsyncQueueOptions
from servedeck.changes.async_queue.state import read_state
from servedeck.changes.async_queue.turn_off import plan_turning_off
from servedeck.changes.edit.edit import Edit, begin_edit, plan_edit
from servedeck.changes.edit.save import (
    SaveState,
    save_edit,
)
from servedeck.changes.edit_draft import EditDraft
from servedeck.changes.inventory import ClusterInventory
from servedeck.cluster.command_options import CommandOptions
from servedeck.cluster.http.connection import Connection
from servedeck.commands import set as set_command
from servedeck.commands.apply import apply_all
from servedeck.commands.errors import CommandError
from servedeck.commands.export import export_serving
from servedeck.commands.set import SetOptions, set_fields
from servedeck.serving.edit.assignments import parse_assignment
from servedeck.serving.edit.merge import Side
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.document import from_yaml
from tests.changes.setting_rig import (
    DEPLOYMENT,
    NAME,
    ON,
    REF,
    SCALED_OBJECTS,
    begin,
    foreign_scaled_object,
    open_demo,
    open_inventory,
    patch,
    read_spec,
    scaled_object,
    turn_on,
)


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    async with open_demo() as opened:
        yield opened


@pytest.fixture
async def inventory(connection: Connection) -> AsyncIterator[ClusterInventory]:
    async with open_inventory(connection) as made:
        yield made


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
    assert conflict.theirs.startswith("response-time, Min Replicas 1, Max Replicas 9")
    assert conflict.mine.startswith("waiting-requests, Min Replicas 1, Max Replicas 4")
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


async def test_set_asks_before_the_autoscaler_may_scale_to_zero(connection: Connection) -> None:
    texts = ["autoScaling=waiting-requests", "minReplicas=0", "maxReplicas=2"]
    wanted = [parse_assignment(one) for one in texts]
    place = (connection, "npu-lab", "exaone-35-78b")
    lines: list[str] = []
    with pytest.raises(CommandError, match="add -y to let the autoscaler scale npu-lab/exaone"):
        await set_fields(*place, wanted, SetOptions(), stdout=lines.append, stderr=lines.append)
    options = SetOptions(assume_yes=True)
    saved = await set_fields(*place, wanted, options, stdout=lines.append, stderr=lines.append)
    assert saved, lines
    # What may be is not asked for again.
    again = [parse_assignment("maxReplicas=3")]
    assert await set_fields(
        *place, again, SetOptions(), stdout=lines.append, stderr=lines.append
    ), lines


async def test_what_alone_wakes_a_serving_is_not_turned_off(connection: Connection) -> None:
    place = ("npu-lab", "exaone-35-78b")
    off = AsyncQueueOptions(AsyncQueueAction.OFF, *place)
    plan = await plan_turning_off(connection, off, await read_state(connection, *place))
    assert plan.blocked == ""
    lines: list[str] = []
    for texts in (["autoScaling=waiting-requests", "minReplicas=0"], ["minReplicas=1"]):
        assert await set_fields(
            connection,
            *place,
            [parse_assignment(one) for one in texts],
            SetOptions(assume_yes=True),
            stdout=lines.append,
            stderr=lines.append,
        ), lines
        plan = await plan_turning_off(connection, off, await read_state(connection, *place))
        options = CommandOptions.of(connection.context_name, connection.options.kubeconfig)
        assert options.context
        command = options.add_to("servedeck set npu-lab/exaone-35-78b minReplicas=1")
        is_blocked = plan.blocked.endswith(f"first: {command}")
        assert is_blocked == (texts[-1] == "minReplicas=0")


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


async def test_an_invalid_value_has_its_own_error_alone(
    connection: Connection, inventory: ClusterInventory
) -> None:
    edit = await begin(connection, tolerations=("team=ml:Foo",))
    plan = await plan_edit(connection, edit, inventory)
    [found] = [one for one in plan.issues if one.field == "tolerations"]
    assert "'Foo' is no effect of a taint" in found.message
    assert not plan.can_save
