"""The dialog of an operation: plan, confirmation, result."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from servedeck.changes.operations.operation import (
    Operation,
    OperationKind,
    OperationPlan,
    OperationResult,
    Outcome,
)
from tests.tui import fakes
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import post_keys, screen_text, wait_for, wait_for_text
from tests.tui.operations import (
    CONFIRM,
    LLAMA,
    MISTRAL,
    make_source,
    open_dialog,
    operation,
    operations_app,
    patch_plan,
    set_generation,
)
from tui.screens.operation_dialog import OperationDialog
from tui.screens.servings import ServingsScreen

RESTART = operation(OperationKind.RESTART)
LOST = "The connection was closed."


def footer(screen: str) -> str:
    return screen.splitlines()[-1].strip()


@pytest.fixture
def service(change_service: FakeChangeService) -> FakeChangeService:
    """Plans a restart of llama-8b at generation 1, and its scaling to 0 to 9."""
    change_service.operation_plans[RESTART] = patch_plan(RESTART, "Its 2 Pods are replaced.")
    for number in range(10):
        scale = operation(OperationKind.SCALE, replicas=number)
        plan = patch_plan(scale, f"2 → {number} replicas.")
        unchanged = "It has 2 replicas already." if number == 2 else ""
        change_service.operation_plans[scale] = replace(plan, unchanged=unchanged)
    return change_service


async def test_the_dialog_shows_target_context_effects_and_command(service):
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", CONFIRM, "context prod-seoul")
        await wait_for_text(pilot, "Its 2 Pods are replaced.", "kubectl change llama-8b")


async def test_enter_alone_restarts_nothing(service):
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Its 2 Pods")
        assert footer(screen_text(app)).startswith("enter cancel")
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, ServingsScreen), "the list")
        assert service.run_operations == []


@pytest.mark.parametrize("keys", [("y",), ("down", "enter"), ("k", "enter"), ("tab", "enter")])
async def test_a_restart_is_confirmed_by_y_or_the_chosen_option(service, keys):
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Its 2 Pods")
        await pilot.press(*keys)
        await wait_for_text(pilot, "Deployment team-a/llama-8b is changed.")
        assert service.run_operations == [RESTART]


@pytest.mark.parametrize("key", ["n", "escape"])
async def test_n_and_esc_change_nothing(service, key):
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Its 2 Pods")
        await pilot.press(key)
        await wait_for(pilot, lambda: isinstance(app.screen, ServingsScreen), "the list")
        assert service.run_operations == []


async def test_a_confirmation_typed_before_the_plan_is_shown_runs_nothing(service):
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        post_keys(pilot, "r", "y")
        await wait_for_text(pilot, "Its 2 Pods", "press it again")
        assert service.run_operations == []
        await pilot.press("y")
        await wait_for_text(pilot, "is changed")


async def test_a_confirmation_while_the_plan_is_made_is_not_run_later(service):
    service.plan_gate = asyncio.Event()
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Asking the API server")
        await pilot.press("y")
        await wait_for_text(pilot, "Waiting for the API server; confirm when the plan is shown.")
        service.plan_gate.set()
        await wait_for_text(pilot, "Its 2 Pods")
        await wait_for(pilot, lambda: "Waiting for the API" not in screen_text(app), "no message")
        await pilot.press("j")
        assert service.run_operations == []


async def test_keys_typed_before_the_plan_is_shown_leave_the_cursor_on_cancel(service):
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        post_keys(pilot, "r", "y", "down")
        await wait_for_text(pilot, "Its 2 Pods", "press it again")
        assert footer(screen_text(app)).startswith("enter cancel")
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, ServingsScreen), "the list")
        assert service.run_operations == []


async def test_enter_alone_does_not_resume_a_rollout_that_replaces_pods(service):
    resume = operation(OperationKind.RESUME)
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        for needs_confirmation in (True, False):
            plan = patch_plan(resume, "It goes on.", needs_confirmation=needs_confirmation)
            service.operation_plans[resume] = plan
            app.screen.operation_flow.open([resume])
            await wait_for_text(pilot, "It goes on.")
            await pilot.press("enter")
            await wait_for(pilot, lambda: isinstance(app.screen, ServingsScreen), "the list")
            assert service.run_operations == ([] if needs_confirmation else [resume])


async def test_an_operation_keeps_the_filter_and_the_cursor(service):
    """Also of a serving that the filter does not show: an undo may be of any."""
    source = make_source()
    app = operations_app(service, source)

    def selected():
        view = app.servings.selected_serving
        return view.key if view is not None else None

    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("slash", *"mistral", "enter")
        await wait_for(pilot, lambda: selected() == MISTRAL, "the filter")
        app.servings._on_operations_done([RESTART])
        source.notify_changed([LLAMA])
        await wait_for_text(pilot, "esc hides this")
        assert app.servings.filter_line.text == "mistral"
        assert selected() == MISTRAL


async def test_a_plan_that_cannot_be_shown_cannot_be_confirmed(service, monkeypatch):
    def fail():
        raise KeyError("unexpected")

    monkeypatch.setattr(service.inventory, "node_capacities", fail)
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Unexpected KeyError")
        await pilot.press("y")
        assert service.run_operations == []


async def test_an_unexpected_error_of_the_plan_is_shown(service, monkeypatch):
    async def fail(operation):
        raise ValueError("unexpected")

    monkeypatch.setattr(service, "plan_operation", fail)
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "unexpected", "Close")


async def test_a_second_key_typed_ahead_opens_no_second_dialog(service):
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        post_keys(pilot, "r", "s", "r")
        await wait_for_text(pilot, CONFIRM, "r: no action here; the footer lists the keys")
        assert len(app.screen_stack) == 2


# -- the object changes ---------------------------------------------------------------------------


async def test_the_plan_is_made_anew_when_the_object_changes(service):
    source = make_source()
    app = operations_app(service, source)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Its 2 Pods are replaced.")
        service.operation_plans[RESTART] = patch_plan(RESTART, "Its 7 Pods.", generation=2)
        service.plan_gate = asyncio.Event()
        set_generation(source, LLAMA, 2)
        await wait_for_text(pilot, "Asking the API server")
        await pilot.press("y")
        assert service.run_operations == []
        service.plan_gate.set()
        await wait_for_text(
            pilot, "Its 7 Pods.", "The serving was changed meanwhile; the plan was made again."
        )
        await pilot.press("y")
        await wait_for_text(pilot, "is changed")


async def test_the_cursor_is_on_cancel_when_the_plan_was_made_again(service):
    source = make_source()
    pause = operation(OperationKind.PAUSE)
    service.operation_plans[pause] = patch_plan(pause, "First.", needs_confirmation=False)
    app = operations_app(service, source)
    async with app.run_test(size=(80, 24)) as pilot:
        for key, made in (("r", RESTART), ("P", pause)):
            set_generation(source, LLAMA, 1)
            service.operation_plans[made] = plan = patch_plan(made, "First.")
            service.operation_plans[made] = replace(plan, needs_confirmation=made is RESTART)
            await open_dialog(pilot, key, "First.")
            if made is RESTART:
                await pilot.press("down")
            await wait_for_text(pilot, f"enter {app.screen._label.lower()}")
            service.operation_plans[made] = patch_plan(
                made, "Second.", generation=2, needs_confirmation=False
            )
            set_generation(source, LLAMA, 2)
            await wait_for_text(
                pilot, "Second.", "The serving was changed meanwhile", "enter cancel"
            )
            await pilot.press("enter")
            await wait_for(pilot, lambda: isinstance(app.screen, ServingsScreen), "the list")
        assert service.run_operations == []


async def test_a_number_that_was_entered_for_another_plan_is_confirmed_again(service):
    source = make_source()
    app = operations_app(service, source)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "s", "It has 2 replicas")
        await pilot.press("5")
        await wait_for_text(pilot, "2 → 5 replicas")
        scale = operation(OperationKind.SCALE, replicas=5)
        service.operation_plans[scale] = patch_plan(scale, "9 → 5 replicas.", generation=2)
        set_generation(source, LLAMA, 2)
        await wait_for_text(pilot, "9 → 5 replicas", "The serving was changed meanwhile")
        await pilot.press("enter")
        await wait_for_text(pilot, "press enter again to confirm it")
        assert service.run_operations == []
        await pilot.press("enter")
        await wait_for_text(pilot, "is changed")


@pytest.mark.parametrize("key", ["r", "ctrl+d"])
async def test_the_plan_stays_while_only_pods_change(service, key):
    """A crashing Pod changes several times a second: nothing could be confirmed otherwise."""
    source = make_source()
    app = operations_app(service, source)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, key, "kubectl change")
        source.notify_changed([LLAMA])
        await pilot.pause()
        assert len(service.planned_operations) == 1
        await pilot.press("y")
        await wait_for_text(pilot, "is changed")


async def test_the_dialog_of_a_deleted_serving_only_closes(service):
    source = make_source()
    app = operations_app(service, source)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Its 2 Pods")
        gone = "Deployment team-a/llama-8b does not exist."
        service.operation_plans[RESTART] = OperationPlan(RESTART, blocked=gone)
        del source.fleet.deployments[LLAMA]
        source.remove_view(LLAMA)
        screen = await wait_for_text(pilot, gone, "Close")
        assert "y  Restart" not in screen
        assert footer(screen).startswith("enter close")
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, ServingsScreen), "the list")


async def test_the_dialog_of_a_pod_says_that_it_is_gone(service):
    source = make_source()
    app = operations_app(service, source)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("enter")
        await wait_for_text(pilot, "llama-8b-7d9c-x2x1q")
        deletion = Operation(OperationKind.DELETE_POD, "team-a", "llama-8b-7d9c-x2x1q")
        service.operation_plans[deletion] = OperationPlan(deletion, effects=("It goes.",))
        app.screen.operation_flow.open([deletion])
        await wait_for_text(pilot, "It goes.")
        gone = "Pod team-a/llama-8b-7d9c-x2x1q does not exist."
        service.operation_plans[deletion] = OperationPlan(deletion, blocked=gone)
        view = source.fleet.by_key[LLAMA]
        source.add_views(replace(view, pods=view.pods[1:]))
        await wait_for_text(pilot, gone)


async def test_the_plan_is_made_again_when_the_api_server_is_back(service):
    service.connection_error = LOST
    source = make_source()
    app = operations_app(service, source)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", LOST)
        service.connection_error = ""
        source.set_state(message="")
        await wait_for_text(pilot, "Its 2 Pods")


# -- the result -----------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.OUTDATED, Outcome.UNKNOWN])
async def test_what_was_not_done_stays_in_the_dialog_with_a_new_plan(service, outcome):
    service.operation_results = [OperationResult(RESTART, outcome, "This is why.")]
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Its 2 Pods")
        await pilot.press("y")
        await wait_for_text(pilot, "This is why.", "Its 2 Pods")
        assert len(service.planned_operations) == 2
        assert len(service.run_operations) == 1


async def test_an_operation_whose_response_was_lost_is_looked_for_when_the_server_is_back(service):
    service.operation_results = [OperationResult(RESTART, Outcome.UNKNOWN, "It is not known.")]
    source = make_source()
    app = operations_app(service, source)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Its 2 Pods")
        service.connection_error = LOST
        await pilot.press("y")
        await wait_for_text(pilot, "It is not known.", LOST)
        service.connection_error = ""
        done = OperationResult(RESTART, Outcome.DONE, "It restarts.")
        service.looked_up_results[RESTART] = done
        source.set_state(message="")
        screen = await wait_for_text(pilot, "It restarts.", "Close")
        assert footer(screen).startswith("enter close")
        await pilot.press("enter")
        await wait_for_text(pilot, "NAME", "It restarts.")
        assert service.run_operations == [RESTART]


async def test_a_key_repeated_while_it_is_done_confirms_no_second_time(service):
    service.operation_results = [OperationResult(RESTART, Outcome.REJECTED, "This is why.")]
    service.run_gate = asyncio.Event()
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Its 2 Pods")
        await pilot.press("y")
        await wait_for_text(pilot, "Waiting for the API server")
        post_keys(pilot, "y", "enter", "n", "j", "y")
        await wait_for_text(pilot, "The request was sent")
        service.run_gate.set()
        await wait_for_text(pilot, "This is why.", "Its 2 Pods")
        assert service.run_operations == [RESTART]


async def test_esc_does_not_cancel_what_was_sent(service):
    service.run_gate = asyncio.Event()
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Its 2 Pods")
        await pilot.press("y", "escape")
        await wait_for_text(pilot, "The request was sent and cannot be canceled.")
        assert "cancel" not in footer(screen_text(app))
        service.run_gate.set()
        await wait_for_text(pilot, "Deployment team-a/llama-8b is changed.", "NAME")


async def test_quitting_while_it_is_done_asks_once_and_says_what_is_not_known(service):
    service.run_gate = asyncio.Event()
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Its 2 Pods")
        await pilot.press("y", "ctrl+c")
        await wait_for_text(
            pilot, "Restart: it is finished first; press ctrl+c again to quit at once."
        )
        assert app.screen.exit_notice() == (
            "Restart Deployment team-a/llama-8b: sent, but the API server had not answered; it is "
            "not known whether it was done."
        )
        await pilot.press("ctrl+c")
        await wait_for(pilot, lambda: app.exiting, "the exit")


async def test_it_quits_when_the_response_is_there(service):
    service.run_gate = asyncio.Event()
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Its 2 Pods")
        await pilot.press("y", "ctrl+c")
        await wait_for_text(pilot, "it is finished first")
        service.run_gate.set()
        await wait_for(pilot, lambda: app.exiting, "the exit")
        assert app.return_code == 0


async def test_it_stays_to_show_what_failed_after_ctrl_c(service):
    service.run_gate = asyncio.Event()
    service.operation_results = [OperationResult(RESTART, Outcome.REJECTED, "This is why.")]
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Its 2 Pods")
        await pilot.press("y", "ctrl+c")
        await wait_for_text(pilot, "it is finished first")
        service.run_gate.set()
        await wait_for_text(pilot, "This is why.", "Its 2 Pods")
        assert not app.exiting


async def test_an_error_of_servedeck_itself_is_shown(service, monkeypatch):
    async def fail(plan):
        raise ValueError("unexpected")

    monkeypatch.setattr(service, "run_operation", fail)
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Its 2 Pods")
        await pilot.press("y")
        await wait_for_text(pilot, "unexpected", "Its 2 Pods")


async def test_warnings_of_the_api_server_are_shown_before_it_closes(service):
    done = OperationResult(RESTART, Outcome.DONE, "It restarts.", warnings=("deprecated field",))
    service.operation_results = [done]
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Its 2 Pods")
        await pilot.press("y")
        screen = await wait_for_text(pilot, "It restarts.", "deprecated field", "Close")
        assert footer(screen).startswith("enter close")
        await pilot.press("enter")
        await wait_for_text(pilot, "NAME", "It restarts.")


async def test_the_command_is_copied(service):
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Its 2 Pods")
        await pilot.press("ctrl+y")
        await wait_for(pilot, lambda: app.screen.has_message, "a message")
        assert "The command" in screen_text(app)


# -- the number of replicas -----------------------------------------------------------------------


async def test_a_digit_replaces_the_proposed_number(service):
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "s", "It has 2 replicas already.")
        await pilot.press("5")
        await wait_for_text(pilot, "2 → 5 replicas.")
        await pilot.press("enter")
        await wait_for_text(pilot, "is changed")
        assert service.run_operations == [operation(OperationKind.SCALE, replicas=5)]


async def test_enter_never_runs_the_plan_of_another_number(service):
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "s", "It has 2 replicas already.")
        await pilot.press("5")
        await wait_for_text(pilot, "2 → 5 replicas.")
        post_keys(pilot, "backspace", "7", "enter")
        await wait_for_text(pilot, "2 → 7 replicas.")
        assert service.run_operations == []
        await pilot.press("enter")
        await wait_for_text(pilot, "is changed")
        assert service.run_operations == [operation(OperationKind.SCALE, replicas=7)]


async def test_a_plan_that_comes_late_for_another_number_is_not_shown(service):
    service.plan_gate = asyncio.Event()
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        dialog = await open_dialog(pilot, "s", "Asking the API server")
        await pilot.press("5", "backspace")
        await wait_for_text(pilot, "Enter the number of replicas, 0 or more.")
        service.plan_gate.set()
        await pilot.press("enter")
        assert service.run_operations == []
        assert "replicas." not in "".join(
            text for line in dialog.text_view.lines for text, _ in line
        )


@pytest.mark.parametrize("typed", ["-1", "x", "1x", "1.5", "9999999999"])
async def test_what_is_no_number_of_replicas_cannot_be_confirmed(service, typed):
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        dialog = await open_dialog(pilot, "s", "It has 2 replicas already.")
        await pilot.press(*typed)
        screen = await wait_for_text(
            pilot, f"! {typed!r} is not a number of replicas; enter 0 or more."
        )
        field = next(n for n, line in enumerate(screen.splitlines()) if " Replicas " in line)
        assert "is not a number" in screen.splitlines()[field + 2]  # beside the field
        assert screen.count("is not a number") == 1
        await pilot.press("enter")
        await wait_for(pilot, lambda: dialog.has_message, "the message")
        assert service.run_operations == []


async def test_up_and_down_change_the_number_by_one(service):
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "s", "It has 2 replicas already.")
        await pilot.press("up")
        await wait_for_text(pilot, "2 → 3 replicas.")
        await pilot.press("down", "down", "down", "down")
        screen = await wait_for_text(pilot, "2 → 0 replicas.")
        assert footer(screen).startswith("enter scale  ↓/↑ add or subtract 1")


async def test_a_number_that_stops_the_serving_is_confirmed_twice(service):
    scale = operation(OperationKind.SCALE, replicas=0)
    plan = patch_plan(scale, "All 2 Pods stop.")
    service.operation_plans[scale] = replace(plan, needs_confirmation=True)
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "s", "It has 2 replicas already.")
        await pilot.press("0")
        await wait_for_text(pilot, "All 2 Pods stop.")
        await pilot.press("enter")
        await wait_for_text(pilot, "This stops the serving; press enter again to confirm it.")
        await pilot.press("up", "down")  # another plan
        await wait_for_text(pilot, "All 2 Pods stop.")
        await pilot.press("enter")
        await wait_for_text(pilot, "This stops the serving; press enter again to confirm it.")
        assert service.run_operations == []
        await pilot.press("enter")
        await wait_for_text(pilot, "is changed")
        assert service.run_operations == [scale]
        assert isinstance(app.screen, ServingsScreen)
        assert app.screen.rollout_progress.key is None  # nothing is rolled out


async def test_a_number_that_is_changed_while_another_is_done_gets_its_own_plan(service):
    service.run_gate = asyncio.Event()
    scale = operation(OperationKind.SCALE, replicas=5)
    service.operation_results = [OperationResult(scale, Outcome.REJECTED, "This is why.")]
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "s", "It has 2 replicas already.")
        await pilot.press("5")
        await wait_for_text(pilot, "2 → 5 replicas.")
        await pilot.press("enter")
        await wait_for_text(pilot, "Waiting for the API server")
        await pilot.press("backspace", "8")
        service.run_gate.set()
        await wait_for_text(pilot, "2 → 8 replicas.")


# -- a production context -------------------------------------------------------------------------


async def test_in_a_production_context_the_name_is_typed_before_a_deletion(service):
    app = operations_app(service, is_production_context=lambda name: name == "prod-seoul")
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(
            pilot,
            "ctrl+d",
            "Type llama-8b to delete; prod-seoul is a production context.",
            "kubectl",
        )
        await pilot.press("enter")
        await wait_for_text(pilot, "Type llama-8b to confirm.")
        await pilot.press(*"llama-8", "enter", "y", "enter")
        assert service.run_operations == []
        await pilot.press("backspace", "b", "enter")
        await wait_for_text(pilot, "is changed")
        assert service.run_operations == [operation(OperationKind.DELETE)]


async def test_only_a_deletion_asks_for_the_name(service):
    app = operations_app(service, is_production_context=lambda _name: True)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "y  Restart")


async def test_a_very_long_name_can_be_read_and_typed(service):
    name = "a" * 120 + "-" + "b" * 132
    source = make_source(fakes.serving(name))
    app = operations_app(service, source, is_production_context=lambda _name: True)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("ctrl+d")
        await wait_for_text(pilot, "kubectl change")
        flowing = "".join(screen_text(app).split())
        assert f"Type{name}todelete" in flowing
        await pilot.press(*name, "enter")
        await wait_for(pilot, lambda: len(service.run_operations) == 1, "the deletion")


# -- untrusted text, small terminals --------------------------------------------------------------


async def test_escapes_and_markup_of_the_cluster_are_plain_text(service):
    service.operation_plans[RESTART] = patch_plan(RESTART, "[red]\x1b[31mIts Pods[/] \u202eare")
    hostile = OperationResult(RESTART, Outcome.REJECTED, "denied \x1b]0;x\x07 [/nothing] [b]")
    service.operation_results = [hostile]
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "[red]", "Its Pods[/]")
        await pilot.press("y")
        screen = await wait_for_text(pilot, "denied", "[/nothing] [b]")
        assert "\x1b" not in screen and "\u202e" not in screen


@pytest.mark.parametrize("size", [(20, 10), (20, 5), (10, 3), (80, 1)])
@pytest.mark.parametrize("key", ["r", "s", "ctrl+d"])
async def test_tiny_terminals(service, size, key):
    app = operations_app(service, is_production_context=lambda _name: True)
    async with app.run_test(size=size) as pilot:
        await pilot.press(key)
        await wait_for(pilot, lambda: isinstance(app.screen, OperationDialog), "the dialog")
        await wait_for(pilot, lambda: service.planned_operations, "a plan")
        await pilot.press("escape")
        await wait_for(pilot, lambda: isinstance(app.screen, ServingsScreen), "the list")


async def test_the_dialog_fits_20x10(service):
    app = operations_app(service)
    async with app.run_test(size=(20, 10)) as pilot:
        await pilot.press("r")
        await wait_for_text(pilot, "team-a/llama-8b", "y  Restart", "n  Cancel", "esc cancel")
