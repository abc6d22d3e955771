"""A second revision of a serving in the dialog of its traffic: it begins in the create form, and is
taken over in the edit form."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from servedeck.changes.edit.edit import Edit
from servedeck.changes.edit_draft import EditDraft
from servedeck.changes.live_objects import LiveObjects
from servedeck.changes.traffic_split.revisions import RevisionError, RevisionStart, Takeover
from servedeck.changes.traffic_split.side import Side
from servedeck.changes.traffic_split.state import compare_revision, find_rules
from servedeck.fleet.views import NamespacedName
from servedeck.serving.conventions import REVISION_LABEL
from servedeck.serving.edit.differences import find_field_differences
from servedeck.serving.edit.entries import UNKNOWN
from servedeck.serving.edit.merge import MergeConflict
from servedeck.serving.edit.second_revision import begin_revision
from servedeck.serving.edit.takeover import make_revision_base, take_over
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.objects.manifests import build_manifests
from servedeck.serving.objects.traffic_split import SplitTarget
from servedeck.serving.objects.unmanaged_fields import UnmanagedField
from servedeck.serving.spec.spec import ServingSpec
from tests.tui import fakes, test_rollouts
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tests.tui.traffic import KEY, OTHER, FakeTrafficService, TrafficDriver, http_route, run_traffic
from tui.screens.create.wizard import CreateScreen
from tui.screens.edit.edit_screen import EditScreen
from tui.screens.traffic_split import TrafficSplitScreen
from widgets.serving_rows import status_line
from widgets.status_paragraphs import title_line
from widgets.styled_line import plain_text

CANARY = f"{KEY.name}-canary"
MODEL = "org/model"
SPEC = ServingSpec(
    name=KEY.name,
    namespace=KEY.namespace,
    template="vllm",
    image="vllm/vllm-openai:v0.32.1",
    accelerator="nvidia.com/gpu",
    memory="48Gi",
    settings={"model": MODEL},
)
IMAGE = "vllm/vllm-openai:v0.33.0"
MAIN = import_objects(build_manifests(SPEC))
BASE = make_revision_base(MAIN, CANARY, MODEL)
START = RevisionStart(SPEC, begin_revision(MAIN, CANARY, MODEL), MODEL, (), BASE.encode())


def promoted(image: str = IMAGE) -> FakeTrafficService:
    """All requests go to a revision with this image."""
    service = FakeTrafficService()
    service.routes = [http_route((KEY.name, 0), (CANARY, 100))]
    ready = {"readyReplicas": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    objects = build_manifests(START.spec.replace(image=image))
    objects[0]["status"] = ready
    side = Side(CANARY, SplitTarget(CANARY, 80), objects[0])
    service.sides[CANARY] = side
    state = find_rules(KEY.namespace, KEY.name, LiveObjects(build_manifests(SPEC)), side)
    service.revision = compare_revision(state, side, LiveObjects(objects))
    wanted = take_over(MAIN, START.spec.replace(image=image), MODEL).spec
    differences = find_field_differences(SPEC, wanted)
    service.takeover = Takeover(
        Edit(MAIN, wanted), CANARY, differences, gets_others=False, forced=wanted
    )
    return service


@pytest.fixture
def changes(tmp_path: Any) -> FakeChangeService:
    service = FakeChangeService(tmp_path)
    service.objects[KEY] = build_manifests(SPEC)
    return service


@asynccontextmanager
async def run(
    service: FakeTrafficService, changes: FakeChangeService, **options: Any
) -> AsyncIterator[TrafficDriver]:
    async with run_traffic(service=service, change_service=changes, **options) as driver:
        yield driver


# -- it begins ------------------------------------------------------------------------------------


async def test_the_create_form_has_its_settings_and_the_new_serving_is_proposed(
    changes: FakeChangeService,
) -> None:
    service = FakeTrafficService()
    service.start = START
    async with run(service, changes) as driver:
        await driver.open("n  creates a second revision of llama-8b")
        await driver.press("n")
        await driver.wait_for_screen(CreateScreen)
        await driver.wait_for_text(CANARY, "Revision Of", "without an endpoint")
        assert service.started == [0]
        form = driver.app.screen
        assert isinstance(form, CreateScreen)
        texts = form.draft.texts
        assert (texts["image"], texts["replicas"]) == (SPEC.image, "1")
        assert texts["revision_of"] == KEY.name
        service.sides[CANARY] = Side(CANARY, SplitTarget(CANARY, 80), {})
        await driver.press("ctrl+n", "ctrl+n")
        await driver.wait_for_text("create Deployment team-a/llama-8b-canary", "ctrl+s deploy")
        assert "HTTPRoute" not in driver.text
        await driver.press("ctrl+s")
        await driver.wait_for_screen(TrafficSplitScreen)
        await driver.wait_for_text(f"{KEY.namespace}/{CANARY} was created.")
        await wait_for(driver.pilot, lambda: service.reads[-1] == CANARY, "the new one is chosen")
        assert set(changes.revision_bases) == {BASE.encode()}
        kinds = {one.kind for one in changes.applied_objects}
        assert kinds == {"Deployment", "Service"}


async def test_what_it_will_not_have_is_said_first(changes: FakeChangeService) -> None:
    service = FakeTrafficService()
    left = UnmanagedField("Deployment llama-8b", "spec.template.spec.nodeSelector", {"zone": "a"})
    service.start = replace(START, unmanaged_fields=(left,))
    async with run(service, changes) as driver:
        await driver.open("llama-8b 100 %")
        await driver.press("n")
        await driver.wait_for_text(f"New revision of {KEY}", "are not copied", "nodeSelector")
        await driver.press("x")
        await driver.wait_for_screen(TrafficSplitScreen)


async def test_why_none_can_begin_is_said(changes: FakeChangeService) -> None:
    service = FakeTrafficService()
    service.start = RevisionError("There is no revision 9; choose from 2, 1.")
    async with run(service, changes) as driver:
        await driver.open("llama-8b 100 %")
        await driver.press("n")
        await driver.wait_for_text("There is no revision 9; choose from 2, 1.")
        changes.create_disabled_reason = "Needs create on deployments.apps in namespace team-a."
        await driver.press("n")
        await driver.wait_for_text("Needs create on deployments.apps")
        assert service.started == [0]
    async with run(service, changes, readonly=True) as driver:
        await driver.open("llama-8b 100 %")
        for key in ("n", "F"):
            await driver.press(key)
            await driver.wait_for_text("servedeck runs with --readonly")
    service.routes = [{**http_route((KEY.name, 100)), "kind": "Ingress"}]
    service.started.clear()
    async with run(service, changes) as driver:
        await driver.open("the Ingress API has no weights")
        await driver.press("n")
        await driver.wait_for_text("create an HTTPRoute")
        assert service.started == []


async def test_a_revision_is_proposed_first() -> None:
    labels = {REVISION_LABEL: KEY.name}
    canary = fakes.serving("zz-canary", labels=labels)
    async with run_traffic(views=[canary]) as driver:
        await driver.open("llama-8b 100 %")
        await driver.press("w")
        text = await driver.wait_for_text("Send a share to", OTHER, "revision of llama-8b")
        assert text.index("zz-canary") < text.index(OTHER)
    assert "revision of llama-8b" in plain_text(status_line(canary))
    assert "revision of llama-8b" in plain_text(title_line(canary))
    assert "revision" not in plain_text(status_line(fakes.serving("a")))


async def test_an_older_revision_begins_on_the_tab_of_the_rollouts(
    changes: FakeChangeService,
) -> None:
    class Traffic(FakeTrafficService):
        async def start_revision(self, key: NamespacedName, number: int = 0) -> RevisionStart:
            assert key == test_rollouts.KEY
            self.started.append(number)
            return START

    service = Traffic()
    app = make_app(
        test_rollouts.make_source(),
        detail_service=test_rollouts.make_service(),
        change_service=changes,
        traffic_service=service,
    )
    async with app.run_test(size=(120, 40)) as pilot:
        await test_rollouts.open_tab(pilot, app)
        await wait_for_text(pilot, "Revision 3 is being rolled out")
        await pilot.press("j", "n")
        await wait_for(pilot, lambda: isinstance(app.screen, CreateScreen), "the form")
        assert service.started == [2]
        assert CANARY in screen_text(app)


# -- it is taken over -----------------------------------------------------------------------------


async def test_the_edit_form_has_its_settings_as_unsaved_changes(
    changes: FakeChangeService,
) -> None:
    service = promoted()
    async with run(service, changes) as driver:
        await driver.open("revision of llama-8b", "F  takes the settings of llama-8b-canary over")
        await driver.press("F")
        await driver.wait_for_screen(EditScreen)
        form = driver.app.screen
        assert isinstance(form, EditScreen)
        await wait_for(driver.pilot, lambda: len(form.differences) == 1, "the changes")
        assert [(one.name, one.new) for one in form.differences] == [("image", IMAGE)]
        await driver.wait_for_text("does not interrupt its endpoint")
        assert changes.saved_edits == []
        await driver.press("ctrl+s")
        await driver.wait_for_text("Save changes of", "1 Pod restarts", IMAGE, "y Save Changes")
        await driver.press("y")
        await wait_for(driver.pilot, lambda: len(changes.saved_edits) == 1, "the edit")
        assert changes.saved_edits[0].wanted.image == IMAGE
        await driver.wait_for_screen(TrafficSplitScreen)
        assert service.done == [], "the weights stay"


async def test_it_is_taken_over_only_while_it_answers_all_requests(
    changes: FakeChangeService,
) -> None:
    service = promoted()
    service.routes = [http_route((KEY.name, 10), (CANARY, 90))]
    async with run(service, changes) as driver:
        await driver.open("90 %", "P  then sends all requests to llama-8b-canary")
        await driver.press("F")
        await driver.wait_for_text("promote llama-8b-canary first")
        assert isinstance(driver.app.screen, TrafficSplitScreen)


async def test_the_next_step_after_it_was_taken_over_gives_the_requests_back(
    changes: FakeChangeService,
) -> None:
    service = promoted(SPEC.image)
    async with run(service, changes) as driver:
        await driver.open("llama-8b has the settings of llama-8b-canary and is being rolled out")


async def test_another_template_is_left_to_the_command(changes: FakeChangeService) -> None:
    service = promoted()
    wanted = SPEC.replace(template="custom", settings={"arguments": "serve"})
    assert isinstance(service.takeover, Takeover)
    service.takeover = replace(
        service.takeover, edit=Edit(MAIN, wanted), forced=wanted, gets_others=True
    )
    assert "asynchronous ones, still go to llama-8b" in service.takeover.safe_sentence
    async with run(service, changes) as driver:
        await driver.open("F  takes the settings")
        await driver.press("F")
        await driver.wait_for_text("another template", f"servedeck traffic {KEY} finish")
        assert isinstance(driver.app.screen, TrafficSplitScreen)


async def open_takeover(driver: TrafficDriver) -> EditScreen:
    """The form with the settings of the second revision."""
    await driver.open("F  takes the settings")
    await driver.press("F")
    return await wait_for_form(driver)


async def wait_for_form(driver: TrafficDriver) -> EditScreen:
    await driver.wait_for_screen(EditScreen)
    form = driver.app.screen
    assert isinstance(form, EditScreen)
    await wait_for(driver.pilot, lambda: len(form.differences) > 0, "the changes")
    return form


async def test_before_it_is_saved_it_is_asked_again_whether_it_still_answers(
    changes: FakeChangeService,
) -> None:
    service = promoted()
    async with run(service, changes) as driver:
        await open_takeover(driver)
        service.obstacle = "llama-8b-canary has no ready replica."
        await driver.press("ctrl+s")
        await driver.wait_for_text("y Save Changes")
        await driver.press("y")
        await driver.wait_for_text("llama-8b-canary has no ready replica. Nothing was saved.")
        assert (service.obstacle_checks, changes.saved_edits) == ([CANARY], [])
        service.obstacle = ""
        await driver.wait_for_text("y Save Changes")
        await driver.press("y")
        await wait_for(driver.pilot, lambda: len(changes.saved_edits) == 1, "the edit")


async def test_an_edit_of_the_serving_is_not_asked_about_its_traffic(
    changes: FakeChangeService,
) -> None:
    """The form is opened again for other edits."""
    service = promoted()
    async with run(service, changes) as driver:
        await open_takeover(driver)
        await driver.press("escape", "d")
        await driver.wait_for_screen(TrafficSplitScreen)
        await driver.press("escape", "e")
        await driver.wait_for_screen(EditScreen)
        form = driver.app.screen
        assert isinstance(form, EditScreen)
        form.begin_at("image", {"image": "other:2"})
        await driver.press("ctrl+s")
        await driver.wait_for_text("y Save Changes")
        await driver.press("y")
        await wait_for(driver.pilot, lambda: len(changes.saved_edits) == 1, "the edit")
        assert service.obstacle_checks == []


async def test_without_a_difference_no_form_is_opened(changes: FakeChangeService) -> None:
    service = promoted()
    assert isinstance(service.takeover, Takeover)
    edit = Edit(MAIN, SPEC)
    service.takeover = replace(service.takeover, edit=edit, forced=SPEC, differences=())
    async with run(service, changes) as driver:
        await driver.open("100 %")
        await driver.press("F")
        await driver.wait_for_text("llama-8b has the settings of llama-8b-canary already.")
        assert isinstance(driver.app.screen, TrafficSplitScreen)


@pytest.mark.parametrize(("answer", "image"), [("t", SPEC.image), ("m", IMAGE)])
async def test_what_both_changed_is_decided_before_it_is_saved(
    answer: str, image: str, changes: FakeChangeService
) -> None:
    service = promoted()
    assert isinstance(service.takeover, Takeover)
    wanted = service.takeover.forced.replace(objectives="p95=2s")
    conflict = MergeConflict(("image",), UNKNOWN, SPEC.image, IMAGE)
    edit = Edit(MAIN, SPEC.replace(objectives="p95=2s"), conflicts=(conflict,))
    service.takeover = replace(service.takeover, edit=edit, forced=wanted)
    async with run(service, changes) as driver:
        await open_takeover(driver)
        await driver.wait_for_text("Others changed 1 field", f"is {SPEC.image} now")
        await driver.press("ctrl+s")
        await driver.wait_for_text(f"Now: {SPEC.image}", f"Yours: {IMAGE}")
        await driver.press(answer)
        await driver.wait_for_text("y Save Changes")
        await driver.press("y")
        await wait_for(driver.pilot, lambda: len(changes.saved_edits) == 1, "the edit")
        saved = changes.saved_edits[0].wanted
        assert (saved.image, saved.objectives) == (image, "p95=2s")


@pytest.mark.parametrize(("answer", "shown"), [("n", {"image"}), ("c", {"cpu"})])
async def test_a_saved_draft_of_the_serving_is_asked_about(
    answer: str, shown: set[str], changes: FakeChangeService
) -> None:
    edit = EditDraft(SPEC)
    edit.draft.texts["cpu"] = "9"
    store = changes.edit_draft_store(KEY)
    assert store is not None
    file = store.new_file()
    file.write(edit.draft.to_saved_dict())
    file.release()
    async with run(promoted(), changes) as driver:
        await driver.open("F  takes the settings")
        await driver.press("F")
        await driver.wait_for_text(f"Unsaved changes of {KEY}", "Continue", "Start over")
        await driver.press(answer)
        form = await wait_for_form(driver)
        assert {one.name for one in form.differences} == shown


async def test_what_may_be_reverted_is_said(changes: FakeChangeService) -> None:
    service = promoted()
    assert isinstance(service.takeover, Takeover)
    service.takeover = replace(service.takeover, has_base=False)
    async with run(service, changes, size=(200, 40)) as driver:
        await open_takeover(driver)
        await driver.wait_for_text("It is not known what llama-8b-canary began from")


async def test_what_others_changed_meanwhile_is_kept(changes: FakeChangeService) -> None:
    service = promoted()
    changes.objects[KEY] = build_manifests(SPEC.replace(cpu="9", image="other:1"))
    async with run(service, changes) as driver:
        await driver.open("F  takes the settings")
        await driver.press("F")
        await driver.wait_for_screen(EditScreen)
        form = driver.app.screen
        assert isinstance(form, EditScreen)
        await wait_for(driver.pilot, lambda: len(form.differences) == 1, "the changes")
        assert [(one.name, one.old, one.new) for one in form.differences] == [
            ("image", "other:1", IMAGE)
        ]


async def test_an_error_is_shown_in_the_dialog(changes: FakeChangeService) -> None:
    service = promoted()
    service.takeover = RevisionError("llama-8b still gets a share of the requests.")
    async with run(service, changes) as driver:
        await driver.open("F  takes the settings")
        await driver.press("F")
        await driver.wait_for_text("llama-8b still gets a share of the requests.")
        assert isinstance(driver.app.screen, TrafficSplitScreen)


@pytest.mark.parametrize("size", [(80, 24), (40, 12)])
async def test_it_fits_a_small_terminal(size: tuple[int, int], changes: FakeChangeService) -> None:
    async with run(promoted(), changes, size=size) as driver:
        await driver.open("Share", "100 %")
        assert all(len(one) <= size[0] for one in driver.text.splitlines())
