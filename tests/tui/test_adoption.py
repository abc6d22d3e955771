"""Adopting the Deployment of another tool: the key, the dialog, its choices, and undo."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servedeck.changes.operations.adoption import Adoption
from servedeck.changes.operations.operation import OperationKind, OperationPlan
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.conventions import SERVING_LABEL
from servedeck.serving.endpoint import Endpoint
from tests.tui import fakes
from tests.tui.adoption import ADOPT, adoption_plan, foreign
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import screen_text, wait_for, wait_for_text
from tests.tui.operations import LLAMA, make_source, open_dialog, operations_app
from tests.tui.test_operation_audit import audited_app
from tui.screens.adoption_dialog import AdoptionDialog
from tui.screens.servings import ServingsScreen

TITLE = "Adopt Deployment team-a/llama-8b"


def footer(text: str) -> str:
    return text.splitlines()[-1]


@pytest.fixture
def service(change_service: FakeChangeService) -> FakeChangeService:
    """Plans an adoption of llama-8b, with and without a Service and a route."""
    for with_service in (True, False):
        for route in (True, False):
            adoption = Adoption.make("team-a", "llama-8b", service=with_service, route=route)
            change_service.operation_plans[adoption] = adoption_plan(adoption)
    return change_service


# -- the key --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        (fakes.serving("llama-8b"), "servedeck made this serving; there is nothing to adopt."),
        (
            foreign(labels={SERVING_LABEL: "llama-8b"}),
            "It is adopted already.",
        ),
        (
            foreign(owner="InferenceService llama"),
            "InferenceService llama owns this Deployment, so it is not adopted; change the "
            "InferenceService llama.",
        ),
        (
            replace(foreign(), key=LLAMA._replace(kind="StatefulSet")),
            "A StatefulSet is shown read-only.",
        ),
    ],
    ids=["ours", "adopted", "owned", "another kind"],
)
async def test_the_key_is_off_with_the_reason(
    service: FakeChangeService, view: ServingView, reason: str
) -> None:
    app = operations_app(service, make_source(view))
    async with app.run_test(size=(120, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("A")
        await wait_for_text(pilot, reason)
        assert isinstance(app.screen, ServingsScreen)
    assert service.planned_operations == []


async def test_the_key_is_off_under_readonly(service: FakeChangeService) -> None:
    app = operations_app(service, make_source(foreign()), readonly=True)
    async with app.run_test(size=(120, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("A")
        await wait_for_text(pilot, "servedeck runs with --readonly")


async def test_the_key_names_a_missing_permission(service: FakeChangeService) -> None:
    reason = "Needs patch on deployments.apps in namespace team-a."
    service.operation_disabled_reasons["adopt"] = reason
    app = operations_app(service, make_source(foreign()))
    async with app.run_test(size=(120, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("A")
        await wait_for_text(pilot, reason)


async def test_an_adopted_serving_without_a_service_can_get_one(
    service: FakeChangeService,
) -> None:
    view = foreign(labels={SERVING_LABEL: "llama-8b"}, endpoint=Endpoint())
    async with operations_app(service, make_source(view)).run_test(size=(120, 40)) as pilot:
        await open_dialog(pilot, "A", TITLE, "new Service team-a/llama-8b")


# -- the dialog -----------------------------------------------------------------------------------


async def test_the_difference_is_shown_and_enter_alone_adopts_nothing(
    service: FakeChangeService,
) -> None:
    app = operations_app(service, make_source(foreign()))
    async with app.run_test(size=(120, 40)) as pilot:
        await open_dialog(
            pilot,
            "A",
            TITLE,
            "none → llama-8b",
            "Restarts no Pods.",
            "new Service team-a/llama-8b",
            "+   name: llama-8b",
            "targetPort: 8000",
        )
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, ServingsScreen), "the list")
    assert service.run_operations == []


async def test_y_adopts_it(service: FakeChangeService) -> None:
    app = operations_app(service, make_source(foreign()))
    async with app.run_test(size=(120, 40)) as pilot:
        await open_dialog(pilot, "A", "new Service")
        await pilot.press("y")
        await wait_for(pilot, lambda: isinstance(app.screen, ServingsScreen), "the list")
    assert service.run_operations == [ADOPT]


async def test_the_route_is_a_choice_and_not_made_unasked(service: FakeChangeService) -> None:
    app = operations_app(service, make_source(foreign()))
    async with app.run_test(size=(120, 40)) as pilot:
        dialog = await open_dialog(pilot, "A", "new Service")
        assert isinstance(dialog, AdoptionDialog)
        assert "r with route" in footer(screen_text(app))
        await pilot.press("r")
        await wait_for_text(pilot, "HTTPRoute", "r no route")
        await pilot.press("y")
        await wait_for(pilot, lambda: isinstance(app.screen, ServingsScreen), "the list")
    assert service.run_operations == [replace(ADOPT, route=True)]


async def test_the_service_is_a_choice(service: FakeChangeService) -> None:
    app = operations_app(service, make_source(foreign()))
    async with app.run_test(size=(120, 40)) as pilot:
        await open_dialog(pilot, "A", "new Service", "s no Service")
        await pilot.press("s")
        await wait_for_text(pilot, "s with Service")
        assert "new Service" not in screen_text(app)
        await pilot.press("y")
        await wait_for(pilot, lambda: isinstance(app.screen, ServingsScreen), "the list")
    assert service.run_operations == [replace(ADOPT, service=False)]


async def test_there_is_no_choice_where_no_service_is_created(service: FakeChangeService) -> None:
    service.operation_plans[ADOPT] = OperationPlan(ADOPT, effects=("Restarts no Pods.",))
    app = operations_app(service, make_source(foreign()))
    async with app.run_test(size=(120, 40)) as pilot:
        await open_dialog(pilot, "A", "Restarts no Pods.")
        assert "Service" not in footer(screen_text(app))
        await pilot.press("s")
        await wait_for_text(pilot, "It creates no Service.")
    assert service.planned_operations == [ADOPT]


async def test_a_service_that_is_refused_can_be_left_out(service: FakeChangeService) -> None:
    service.operation_plans[ADOPT] = OperationPlan(
        ADOPT, blocked="Service team-a/llama-8b cannot be created: exceeded quota."
    )
    app = operations_app(service, make_source(foreign()))
    async with app.run_test(size=(120, 40)) as pilot:
        await open_dialog(pilot, "A", "exceeded quota", "s no Service")
        await pilot.press("s")
        await wait_for_text(pilot, "none → llama-8b")
        await pilot.press("y")
        await wait_for(pilot, lambda: isinstance(app.screen, ServingsScreen), "the list")
    assert service.run_operations == [replace(ADOPT, service=False)]


async def test_other_dialogs_have_no_such_choice(service: FakeChangeService) -> None:
    app = operations_app(service, make_source(foreign()))
    async with app.run_test(size=(120, 40)) as pilot:
        dialog = await open_dialog(pilot, "r", "Restart Deployment")
        assert not isinstance(dialog, AdoptionDialog)
        assert "route" not in footer(screen_text(app))


# -- on the demo cluster --------------------------------------------------------------------------


async def test_an_adoption_with_a_route_and_its_undo_on_the_demo(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with audited_app(monkeypatch, is_production=False) as (auditor, recorder):
        pilot, fleet = auditor.pilot, auditor.app.source.fleet
        key = NamespacedName("research", "mistral-7b")

        def is_adopted() -> bool:
            view = fleet.view(key)
            return view is not None and view.is_adopted

        await auditor.press("slash", *"ns:research mistral", "enter", "enter")
        await wait_for_text(pilot, "A adopts it")
        await auditor.press("A", "r")
        await wait_for_text(
            pilot, "Adopt Deployment research/mistral-7b", "Restarts no Pods.", "new HTTPRoute"
        )
        await auditor.press("y")
        assert [one.method for one in recorder.writes] == ["PATCH", "POST"]
        await wait_for(pilot, is_adopted, "the label")
        view = fleet.view(key)
        assert view is not None
        assert (view.template, view.model) == ("vllm", "mistralai/Mistral-7B-Instruct-v0.3")
        await wait_for_text(pilot, "adopted by servedeck")
        await auditor.press("u")
        await wait_for_text(pilot, "Undo: take back the adoption of Deployment", "label")
        await auditor.press("y")
        assert [one.method for one in recorder.writes[2:]] == ["PATCH", "DELETE"]
        assert [one.kind for one in auditor.confirmed] == [
            OperationKind.ADOPT,
            OperationKind.RELEASE,
        ]
        auditor.assert_confirmed()
        await wait_for(pilot, lambda: not is_adopted(), "the label to be removed")
        await wait_for_text(pilot, "A adopts it")
