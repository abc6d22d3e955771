"""The tab YAML of a serving's page."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from textual.pilot import Pilot

from servedeck.fleet.views import NamespacedName
from servedeck.serving.text import MASK
from servedeck.serving.yaml_text import LAST_APPLIED
from tests.tui import fakes
from tests.tui.fake_detail_service import FakeDetailService
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tui.app import ServedeckApp
from tui.panes import yaml as yaml_pane
from tui.panes.base import Pane
from tui.panes.yaml import YamlPane
from tui.screens.pick_object import ObjectPicker
from tui.screens.serving import PANES, ServingScreen

LLAMA = NamespacedName("team-a", "llama-70b-chat")
POD = "llama-70b-chat-6b8f-9qk2x"
SIZE = (100, 30)
MANAGED = [{"manager": "kubectl", "time": "2026-11-23T02:59:30Z", "fieldsV1": {"f:spec": {}}}]


def make_deployment(**changes: Any) -> dict[str, Any]:
    """The Deployment of LLAMA; `changes` are fields of its metadata and spec."""
    metadata = {
        "name": LLAMA.name,
        "namespace": LLAMA.namespace,
        "uid": "uid-deployment",
        "resourceVersion": changes.get("version", "1"),
        "creationTimestamp": "2026-11-22T00:00:00Z",
        "managedFields": MANAGED,
        "annotations": {LAST_APPLIED: json.dumps({"kind": "Deployment"})},
    }
    env = [{"name": "MODEL", "value": "llama"}, {"name": "HF_TOKEN", "value": "hunter2"}]
    container = {
        "name": "inference-server",
        "image": "vllm/vllm-openai:v0.11.0",
        "args": changes.get("args", [f"--argument-{number}" for number in range(60)]),
        "env": env,
        "envFrom": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "keys"}}],
    }
    labels = {"app": "llama"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {
        "replicas": changes.get("replicas", 2),
        "selector": {"matchLabels": labels},
        "template": template,
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def make_other(kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    found = {"name": name, "namespace": LLAMA.namespace, "uid": f"uid-{kind}-{name}", **metadata}
    return {"kind": kind, "metadata": found, "spec": spec}


def make_service() -> FakeDetailService:
    owner = [{"kind": "Deployment", "name": LLAMA.name, "uid": "uid-deployment"}]
    labels = {"app": "llama"}
    revision = {"deployment.kubernetes.io/revision": "3"}
    return FakeDetailService(
        make_deployment(),
        make_other("Pod", POD, {"nodeName": "gpu-node-1"}),
        make_other("Service", "front", {"type": "ClusterIP", "selector": labels}),
        make_other("Service", "foreign", {"selector": {"app": "other"}}),
        make_other(
            "HTTPRoute", "to-front", {"rules": [{"backendRefs": [{"name": "front", "port": 80}]}]}
        ),
        make_other("HTTPRoute", "elsewhere", {"rules": [{"backendRefs": [{"name": "foreign"}]}]}),
        make_other(
            "ReplicaSet",
            "llama-6b8f",
            {"replicas": 2},
            ownerReferences=owner,
            labels=labels,
            annotations=revision,
        ),
        make_other("ReplicaSet", "orphan", {"replicas": 0}, labels=labels),
        make_other("ScaledObject", "scale-llama", {"scaleTargetRef": {"name": LLAMA.name}}),
    )


async def open_yaml(
    pilot: Pilot[None], app: ServedeckApp, *keys: str, shows: str = "kind: Deployment"
) -> YamlPane:
    await wait_for_text(pilot, LLAMA.name)
    await pilot.press("j", *keys)
    if shows:
        await wait_for_text(pilot, shows)
    pane = app.screen.active_pane
    assert isinstance(pane, YamlPane)
    return pane


def body(app: ServedeckApp) -> list[str]:
    """The visible lines of the YAML, without the gutter."""
    view = app.screen.active_pane.code_view
    lines = [view.render_line(y).text for y in range(view.size.height)]
    return [line[2:].rstrip() for line in lines]


async def test_y_in_the_list_shows_the_deployment():
    service = make_service()
    app = make_app(detail_service=service)
    async with app.run_test(size=SIZE) as pilot:
        await open_yaml(pilot, app, "y")
        screen = await wait_for_text(
            pilot,
            f"Deployment/{LLAMA.name}",
            "changed 30s ago",
            "apiVersion: apps/v1",
            "managedFields: # 4 lines folded (m unfolds)",
            "1 value is masked",
        )
        assert "fieldsV1" not in screen
        assert body(app)[0] == "apiVersion: apps/v1"
        assert service.open_watches == ["deployments.apps"]
        assert service.watches[-1].query.name == LLAMA.name


@pytest.mark.parametrize(
    ("keys", "title"),
    [
        (("enter", "y"), f"Pod/{POD}"),
        (("enter", "3", "y"), f"Deployment/{LLAMA.name}"),
        (("enter", str(PANES.index(YamlPane) + 1)), f"Deployment/{LLAMA.name}"),
        (("enter", "y", "y"), f"Deployment/{LLAMA.name}"),
    ],
    ids=["pod", "log", "tab", "again"],
)
async def test_y_on_the_page(keys: tuple[str, ...], title: str):
    app = make_app(detail_service=make_service())
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, LLAMA.name)
        await pilot.press("j")
        for key in keys:
            await pilot.press(key)
            await wait_for(pilot, lambda: getattr(app.screen, "active_pane", None), "the page")
        await wait_for_text(pilot, title, f"kind: {title.partition('/')[0]}")


async def test_managed_fields_unfold_and_fold():
    app = make_app(detail_service=make_service())
    async with app.run_test(size=(100, 100)) as pilot:
        await open_yaml(pilot, app, "y")
        await pilot.press("m")
        screen = await wait_for_text(pilot, "- manager: kubectl", "fieldsV1:", "f:spec: {}")
        assert f'{LAST_APPLIED}: \'{{"kind": "Deployment"}}\'' in screen
        await pilot.press("m")
        await wait_for_text(pilot, "managedFields: # 4 lines folded")
        assert "fieldsV1" not in screen_text(app)


async def test_an_object_without_managed_fields_says_so():
    service = make_service()
    app = make_app(detail_service=service)
    async with app.run_test(size=SIZE) as pilot:
        await open_yaml(pilot, app, "enter", "y", shows="kind: Pod")
        await pilot.press("m")
        await wait_for_text(pilot, "The object has no managed fields.")
        await pilot.press("ctrl+g")
        await wait_for_text(pilot, "No value is masked.")
        await pilot.press("n")
        await wait_for_text(pilot, "Nothing was searched yet; / searches.")


async def test_a_new_version_does_not_move_what_is_read():
    service = make_service()
    app = make_app(detail_service=service)
    async with app.run_test(size=SIZE) as pilot:
        pane = await open_yaml(pilot, app, "y")
        await pilot.press("pagedown", "pagedown")
        before = body(app)
        assert before[0].strip().startswith("- --argument-")
        args = ["--first", *(f"--argument-{number}" for number in range(60))]
        args[-2] = "--changed"
        service.put(make_deployment(args=args, replicas=3, version="2"))
        await wait_for_text(pilot, "changed 0s ago")
        assert body(app)[:20] == before[:20]
        changed = {pane.code_view.lines[at].text.strip() for at in pane.code_view.changed}
        assert changed == {"- --first", "- --changed", "replicas: 3", 'resourceVersion: "2"'}
        await pilot.press("g")
        marked = [line for line in screen_text(app).splitlines() if line.startswith("~ ")]
        assert [line.strip() for line in marked] == ['~     resourceVersion: "2"'] or [
            line[2:].strip() for line in marked
        ] == ['resourceVersion: "2"', "replicas: 3"]
        service.put(make_deployment(args=args, replicas=4, version="3"))
        await wait_for_text(pilot, "replicas: 4")
        changed = {pane.code_view.lines[at].text.strip() for at in pane.code_view.changed}
        assert changed == {"replicas: 4", 'resourceVersion: "3"'}


async def test_a_deleted_object_stays_and_a_new_one_replaces_it():
    service = make_service()
    app = make_app(detail_service=service)
    async with app.run_test(size=SIZE) as pilot:
        await open_yaml(pilot, app, "enter", "y", shows="nodeName: gpu-node-1")
        service.remove(f"uid-Pod-{POD}")
        when = fakes.NOW.astimezone().strftime("%H:%M:%S")
        await wait_for_text(
            pilot, f"deleted at {when}; the last state is shown", "nodeName: gpu-node-1"
        )
        service.put(make_other("Pod", POD, {"nodeName": "gpu-node-2"}, uid="uid-new"))
        await wait_for_text(
            pilot, "nodeName: gpu-node-2", f"replaced at {when} by a new object of this name"
        )
        assert "deleted" not in screen_text(app)


async def test_an_object_that_was_deleted_while_another_tab_was_shown():
    service = make_service()
    app = make_app(detail_service=service)
    async with app.run_test(size=SIZE) as pilot:
        pane = await open_yaml(pilot, app, "y")
        await pilot.press("1")
        await wait_for(pilot, lambda: not pane.is_active, "the other tab")
        service.remove("uid-deployment")
        await pilot.press(str(PANES.index(YamlPane) + 1))
        await wait_for_text(pilot, "deleted; the last state is shown", "kind: Deployment")


async def test_a_change_while_another_tab_was_shown_has_the_age_that_the_object_tells():
    service = make_service()
    app = make_app(detail_service=service)
    async with app.run_test(size=SIZE) as pilot:
        pane = await open_yaml(pilot, app, "y")
        service.put(make_deployment(replicas=3, version="2"))
        await wait_for_text(pilot, "changed 0s ago", "replicas: 3")
        await pilot.press("1")
        await wait_for(pilot, lambda: not pane.is_active, "the other tab")
        # The entries of a list have no kind, so the JSON of the same version is another one.
        same = {**make_deployment(replicas=3, version="2"), "status": {}}
        service.put(same)
        await pilot.press(str(PANES.index(YamlPane) + 1))
        await wait_for_text(pilot, "changed 0s ago", "replicas: 3")
        assert pane.code_view.changed
        await pilot.press("1")
        await wait_for(pilot, lambda: not pane.is_active, "the other tab")
        service.put(make_deployment(replicas=4, version="3"))
        await pilot.press(str(PANES.index(YamlPane) + 1))
        await wait_for_text(pilot, "changed 30s ago", "replicas: 4")


async def test_what_cannot_be_shown_says_why():
    service = FakeDetailService()
    service.is_loading = True
    app = make_app(detail_service=service)
    async with app.run_test(size=SIZE) as pilot:
        await open_yaml(pilot, app, "y", shows="Loading…")
        service.is_loading = False
        service.notify()
        await wait_for_text(pilot, f"There is no Deployment {LLAMA.name}.")
        service.missing_permissions["deployments.apps"] = "Cannot watch deployments.apps."
        service.notify()
        await wait_for_text(pilot, "Cannot watch deployments.apps.")
        await pilot.press("C")
        await wait_for_text(pilot, "No object is shown.")


async def test_a_hidden_tab_watches_nothing_and_shows_no_secret_when_it_is_shown_again():
    service = make_service()
    app = make_app(detail_service=service)
    async with app.run_test(size=(100, 100)) as pilot:
        pane = await open_yaml(pilot, app, "y")
        assert "hunter2" not in screen_text(app)
        await wait_for_text(pilot, f"value: {MASK}")
        await pilot.press("ctrl+g")
        await wait_for_text(pilot, "value: hunter2", "1 secret value shown")
        await pilot.press("ctrl+g")
        await wait_for_text(pilot, "1 value is masked")
        await pilot.press("ctrl+g")
        await wait_for_text(pilot, "value: hunter2")
        await pilot.press("3")
        await wait_for(pilot, lambda: not pane.is_active, "the other tab")
        await wait_for(pilot, lambda: not service.open_watches, "the watches to close")
        assert not any("hunter2" in line.text for line in pane.code_view.lines)
        await pilot.press(str(PANES.index(YamlPane) + 1))
        await wait_for_text(pilot, f"value: {MASK}")
        assert "hunter2" not in screen_text(app)


async def test_search_counts_and_goes_from_hit_to_hit():
    app = make_app(detail_service=make_service())
    async with app.run_test(size=SIZE) as pilot:
        pane = await open_yaml(pilot, app, "y")
        await pilot.press("slash", *"ARGument-5")
        await wait_for_text(pilot, "/ARGument-5  not found")
        await pilot.press(*["backspace"] * 10, *"argument-5")
        await wait_for_text(pilot, "/argument-5  1 of 11", "enter go on")
        await pilot.press("enter", "n")
        await wait_for_text(pilot, "/argument-5  2 of 11")
        await pilot.press("n", "n")
        hit = pane.code_view.hits[pane.code_view.current_hit]
        assert pane.code_view.displayed_line(hit.line).strip() == "- --argument-52"
        assert "- --argument-52" in "\n".join(body(app))
        await pilot.press("N", "N", "N", "N")
        await wait_for_text(pilot, "/argument-5  11 of 11", "--argument-59")


async def test_esc_gives_up_the_search_and_goes_back():
    app = make_app(detail_service=make_service())
    async with app.run_test(size=SIZE) as pilot:
        pane = await open_yaml(pilot, app, "y")
        await pilot.press("slash", *"envFrom")
        await wait_for_text(pilot, "1 of 1")
        await wait_for(pilot, lambda: pane.code_view.top > 0, "the hit")
        await pilot.press("escape")
        await wait_for(pilot, lambda: not pane.code_view.hits, "the end of the search")
        assert pane.code_view.top == 0
        assert app.screen.focused is pane.code_view
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")


async def test_the_current_hit_stays_while_the_object_changes():
    service = make_service()
    app = make_app(detail_service=service)
    async with app.run_test(size=SIZE) as pilot:
        pane = await open_yaml(pilot, app, "y")
        await pilot.press("slash", *"argument-5", "enter", "n", "n")
        await wait_for_text(pilot, "3 of 11")
        args = ["--argument-5-new", *(f"--argument-{number}" for number in range(60))]
        service.put(make_deployment(args=args, version="2"))
        await wait_for_text(pilot, "4 of 12")
        hit = pane.code_view.hits[pane.code_view.current_hit]
        assert pane.code_view.displayed_line(hit.line).strip() == "- --argument-51"


async def test_copy_says_what_is_not_in_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    written: list[str] = []
    monkeypatch.setattr(ServedeckApp, "write_to_terminal", lambda _self, text: written.append(text))
    app = make_app(detail_service=make_service())
    async with app.run_test(size=(140, 30)) as pilot:
        await open_yaml(pilot, app, "y")
        await pilot.press("C")
        await wait_for_text(
            pilot,
            f"Copied by the terminal: Deployment/{LLAMA.name}, 93 lines, without managed fields, "
            "1 value is masked (ctrl+g shows them).",
        )
        text = base64.b64decode(written[-1].split(";")[-1].removesuffix("\x07")).decode()
        assert text.startswith("# 1 value is masked here: do not apply this file.\n")
        copied = yaml.safe_load(text)
        assert "managedFields" not in copied["metadata"]
        assert "annotations" not in copied["metadata"]
        assert "hunter2" not in text
        await pilot.press("ctrl+g", "m", "C")
        await wait_for(pilot, lambda: len(written) == 2, "the second copy")
        text = base64.b64decode(written[-1].split(";")[-1].removesuffix("\x07")).decode()
        assert yaml.safe_load(text) == make_deployment()


async def test_a_text_that_is_too_long_to_copy():
    service = make_service()
    service.put(make_deployment(args=["x" * 60_000]))
    app = make_app(detail_service=service)
    async with app.run_test(size=(140, 30)) as pilot:
        await open_yaml(pilot, app, "y")
        await pilot.press("C")
        await wait_for_text(pilot, "terminals take 74,994. ctrl+s saves it to a file.")


async def test_save_to_a_file_of_the_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    app = make_app(detail_service=make_service())
    async with app.run_test(size=(140, 30)) as pilot:
        await open_yaml(pilot, app, "y")
        await pilot.press("m", "ctrl+g", "ctrl+s")
        await wait_for_text(pilot, f"Save the YAML of Deployment/{LLAMA.name}", "Only you can read")
        await pilot.press("enter")
        path = Path(f"deployment-{LLAMA.name}.yaml")
        await wait_for_text(pilot, f"Saved Deployment/{LLAMA.name} as {path}")
        assert yaml.safe_load(path.read_text()) == make_deployment()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_the_picker_lists_the_objects_of_the_serving():
    service = make_service()
    app = make_app(detail_service=service)
    async with app.run_test(size=(100, 40)) as pilot:
        await open_yaml(pilot, app, "y")
        await pilot.press("o")
        screen = await wait_for_text(
            pilot,
            f"Deployment/{LLAMA.name}",
            "Service/front",
            "HTTPRoute/to-front",
            "ScaledObject/scale-llama",
            "ReplicaSet/llama-6b8f",
            "revision 3, 2 replicas",
            f"Pod/{POD}",
            "CrashLoopBackOff",
            "ConfigMap/settings",
            "Secret/keys",
            "Secrets are not shown.",
        )
        for name in ("foreign", "elsewhere", "orphan", "Loading"):
            assert name not in screen
        picker = app.screen
        assert isinstance(picker, ObjectPicker)
        assert picker.table.cursor_key == f"Deployment/{LLAMA.name}"
        assert len(service.open_watches) > 5
        await pilot.press(*"keys", "enter")
        await wait_for_text(pilot, "Secrets are not shown.")
        assert app.screen is picker
        await pilot.press(*["backspace"] * 4, *"front", "enter")
        await wait_for_text(pilot, "kind: Service", "type: ClusterIP")
        await wait_for(pilot, lambda: service.open_watches == ["services"], "one watch")


async def test_the_picker_follows_the_cluster_and_names_missing_permissions():
    service = make_service()
    service.missing_permissions["services"] = "Cannot list services in namespace team-a."
    service.is_loading = True
    app = make_app(detail_service=service)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_yaml(pilot, app, "y", shows="Loading…")
        await pilot.press("o")
        await wait_for_text(pilot, "Objects of", "Loading…", "Cannot list services")
        service.is_loading = False
        service.notify()
        await wait_for_text(pilot, "ReplicaSet/llama-6b8f")
        assert "Loading" not in screen_text(app)
        service.put(
            make_other("HTTPRoute", "new", {"rules": [{"backendRefs": [{"name": LLAMA.name}]}]})
        )
        await wait_for_text(pilot, "HTTPRoute/new")
        await pilot.press("escape")
        await wait_for_text(pilot, "kind: Deployment")
        await wait_for(pilot, lambda: service.open_watches == ["deployments.apps"], "one watch")


async def test_a_secret_is_not_shown():
    service = make_service()
    app = make_app(detail_service=service)
    async with app.run_test(size=SIZE) as pilot:
        pane = await open_yaml(pilot, app, "y")
        app.screen.post_message(Pane.YamlRequested("Secret", "keys"))
        await wait_for_text(pilot, "The YAML of objects of kind Secret is not shown here.")
        assert pane.title == f"Deployment/{LLAMA.name}"
        assert service.open_watches == ["deployments.apps"]


async def test_a_large_object_is_shown_by_a_thread(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(yaml_pane, "SMALL_OBJECT_BYTES", 10)
    service = make_service()
    app = make_app(detail_service=service)
    async with app.run_test(size=SIZE) as pilot:
        pane = await open_yaml(pilot, app, "y")
        await pilot.press("pagedown", "m", "ctrl+g")
        await wait_for_text(pilot, "1 secret value shown")
        service.put(make_deployment(replicas=5, version="2"))
        await wait_for(
            pilot,
            lambda: any("replicas: 5" in line.text for line in pane.code_view.lines),
            "the new version",
        )
        await pilot.press("slash", *"hunter2")
        await wait_for_text(pilot, "/hunter2  1 of 1", "value: hunter2")
        await pilot.press("enter", "y", "g")
        await wait_for(pilot, lambda: body(app)[0] == "apiVersion: apps/v1", "the first line")


async def test_the_next_serving_shows_its_own_deployment():
    source = fakes.FakeSource().add_views(
        fakes.serving("same", "team-a"), fakes.serving("same", "team-b")
    )

    def make(namespace: str, replicas: int) -> dict[str, Any]:
        metadata = {"name": "same", "namespace": namespace, "uid": f"uid-{namespace}"}
        return {"kind": "Deployment", "metadata": metadata, "spec": {"replicas": replicas}}

    app = make_app(source, detail_service=FakeDetailService(make("team-a", 1), make("team-b", 2)))
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "same")
        await pilot.press("y")
        await wait_for_text(pilot, "namespace: team-a", "replicas: 1")
        await pilot.press("right_square_bracket")
        await wait_for_text(pilot, "namespace: team-b", "replicas: 2")


async def test_hostile_text_is_harmless():
    pod = make_other("Pod", POD, {"note\x1b[2J": "\x1b]52;c;YQ==\x07\u202eevil\u202c", "x": "a\tb"})
    app = make_app(detail_service=FakeDetailService(pod))
    async with app.run_test(size=SIZE) as pilot:
        await open_yaml(pilot, app, "enter", "y", shows="kind: Pod")
        screen = await wait_for_text(pilot, '"note\\x1B[2J": "\\x1B]52;c;YQ==\\x07\\u202Eevil')
        assert "\x1b" not in screen
        assert isinstance(app.screen, ServingScreen)


async def test_it_fits_any_terminal():
    app = make_app(detail_service=make_service())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_yaml(pilot, app, "y")
        await pilot.press("slash", *"args")
        for size in ((60, 20), (20, 10), (10, 3), (300, 80), (80, 24)):
            await pilot.resize_terminal(*size)
        await wait_for_text(pilot, "/args", "- --argument-0")
