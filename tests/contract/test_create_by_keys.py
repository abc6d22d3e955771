"""Every field of the create form, typed at 80x24: the API server stores what was typed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from servedeck.changes.form_fields import COMMON_FIELDS, OPTIONAL_FIELDS
from servedeck.changes.live_objects import fetch_live_objects
from servedeck.cluster.auth.kubeconfig import ConnectionOptions as Kubeconfig
from servedeck.config import Settings
from servedeck.detail.cluster_detail_service import ClusterDetailService
from servedeck.fleet.session import ClusterSession
from servedeck.serving.objects import import_objects
from servedeck.serving.spec.fields import Field
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.spec.templates import TEMPLATES
from tests.contract.target import Target
from tests.control_plane.test_app import AppDriver
from tests.tui.helpers import post_keys
from tests.waiting import WAIT_SECONDS
from tui.app import ServedeckApp
from tui.change_service import ClusterChangeService
from tui.log_service import ClusterLogService
from tui.screens.create import steps
from tui.screens.create.field_options import is_choice_field
from tui.screens.create.form_view import FormView
from tui.screens.create.wizard import CreateScreen

SETTINGS = Settings(endpoint_host="serve.example.com", gateway="gateways/main")

REQUIRED = {
    "vllm": {"settings.model": "org/model"},
    "furiosa-llm": {"memory": "100Gi", "settings.model": "org/model"},
    "custom": {"image": "registry.example.com/server:1"},
}
COMMON_TYPED = {
    "description": "answers 'the chat', at night too",
    "image": "registry.example.com/team/server:1.2",
    "cpu": "1500m",
    "memory": "48Gi",
    "accelerator_count": "2",
    "replicas": "3",
    "inference_port": "9000",
    "command": "/opt/server/bin/serve --name 'two words'",
    "rollout": "recreate",
    "readiness_times": "period=30 timeout=2",
    "liveness_times": "delay=60s",
    "shared_memory": "3Gi",
    "model_cache_path": "/var/cache/models",
    "fs_group": "1000",
    "node_selector": "zone=eu-1, gpu.example.com/model=h100",
    "tolerations": "team=ml:NoSchedule spot:NoExecute:300s",
    "runtime_class": "nvidia",
    "image_pull_secrets": "registry mirror",
    "service_account": "models",
    "resource_claims": "nic=template/fast",
    "transformer.image": "registry.example.com/transformer:3",
    "transformer.port": "9001",
    "transformer.cpu": "750m",
    "transformer.memory": "512Mi",
    "transformer.command": "python -m transform",
}
TEMPLATE_TYPED = {
    "vllm": {
        "accelerator": "nvidia.com/gpu",
        "settings.model": "meta-llama/Llama-3.1-8B-Instruct",
        "settings.tensor_parallel_size": "2",
        "settings.dtype": "bfloat16",
        "settings.max_model_len": "8192",
        "settings.quantization": "fp8",
        "settings.gpu_memory_utilization": "0.85",
        "settings.additional_arguments": "--enable-prefix-caching --max-num-seqs=64",
    },
    "furiosa-llm": {
        "accelerator": "furiosa.ai/rngd",
        "settings.model": "furiosa-ai/Llama-3.1-8B-Instruct-FP8",
        "settings.max_model_len": "4096",
        "settings.pipeline_parallel_size": "2",
        "settings.data_parallel_size": "1",
        "settings.additional_arguments": "--revision v2026.3",
    },
    "custom": {
        "accelerator": "nvidia.com/gpu",
        "settings.arguments": "--listen 0.0.0.0 --greeting 'good day'",
    },
}
ENV = ("LEVEL=debug", "GREETING=good day", "HF_TOKEN=")
"""The value of the last variable comes from a Secret."""


@asynccontextmanager
async def running_app(target: Target, ns: str, folder: Path) -> AsyncIterator[AppDriver]:
    file = folder / "kubeconfig"
    file.write_text(json.dumps(target.backend.kubeconfig("admin")))
    live = ClusterSession(Kubeconfig(kubeconfig=(file,), namespace=ns), SETTINGS)
    change_service = ClusterChangeService(lambda: live.connection, lambda: live.settings)
    app = ServedeckApp(
        live,
        ClusterLogService(lambda: live.connection),
        ClusterDetailService(lambda: live.connection),
        change_service=change_service,
    )
    try:
        async with app.run_test(size=(80, 24)) as pilot:
            driver = AppDriver(app, live, pilot)
            await driver.wait_for_screen(lambda text: "live" in text, "the list")
            yield driver
    finally:
        await live.close()


class FormKeys:
    """Fills in the form with the keyboard only."""

    def __init__(self, driver: AppDriver) -> None:
        self.driver = driver
        self.press = driver.pilot.press
        self.form = next(one for one in driver.app.screen_stack if isinstance(one, CreateScreen))

    @property
    def at(self) -> str:
        return getattr(self.form.focused, "path", "")

    async def go_to(self, path: str) -> None:
        for _ in range(80):
            if self.at == path:
                return
            await self.press("tab")
        raise AssertionError(f"{path} is not reached by tab")

    async def wait_for_focus(self, path: str) -> None:
        await self.driver.wait_for_screen(
            lambda _: self.at == path, f"cursor on {path}, it is on {self.at}"
        )

    async def wait_for_screen_text(self, *texts: str, limit: float = WAIT_SECONDS) -> None:
        await self.driver.wait_for_screen(
            lambda text: all(one in " ".join(text.split()) for one in texts),
            str(texts),
            limit,
        )

    async def enter(self, path: str, text: str) -> None:
        """Type text into a field, or type to select a value from its list."""
        await self.go_to(path)
        if not is_choice_field(path, self.form.draft):
            post_keys(self.driver.pilot, "end", "ctrl+u", *text)
        elif self.form.draft.texts[path] != text:
            await self.press("space")
            await self.wait_for_screen_text("enter choose")
            await self.press(*text, "enter")
        await self.driver.wait_for_screen(
            lambda _: self.form.draft.texts[path] == text, f"{path} taken"
        )

    async def variable(self, path: str, number: int, line: str) -> None:
        name, _, value = line.partition("=")
        await self.go_to(f"add.{path}")
        await self.press("enter")
        await self.wait_for_focus(f"{path}.{number}.name")
        await self.press(*name, "equals_sign")
        await self.wait_for_focus(f"{path}.{number}.value")
        post_keys(self.driver.pilot, *value)
        await self.wait_for_row_text(f"{path}.{number}.value", value)

    async def volume(self, pvc_and_secret: str, mount_path: str) -> None:
        await self.go_to("add.volumes")
        await self.press("enter")
        await self.wait_for_screen_text(pvc_and_secret, "5Gi")
        await self.press(*pvc_and_secret, "enter")
        await self.wait_for_focus("volumes.0.pvc")
        await self.enter_row("volumes.0.mount_path", mount_path)
        await self.go_to("volumes.0.read_only")
        await self.press("right")

    async def enter_row(self, path: str, text: str) -> None:
        await self.go_to(path)
        post_keys(self.driver.pilot, "end", "ctrl+u", *text)
        await self.wait_for_row_text(path, text)

    async def wait_for_row_text(self, path: str, text: str) -> None:
        await self.driver.wait_for_screen(
            lambda _: self.form.query_one(FormView).get_text(path) == text, f"{path} taken"
        )

    async def choose_template(self, name: str) -> None:
        await self.go_to("template")
        for _ in TEMPLATES:
            if self.form.draft.texts["template"] == name:
                return
            await self.press("right")
        assert self.form.draft.texts["template"] == name


def typed_everything(template: str) -> dict[str, str]:
    return COMMON_TYPED | TEMPLATE_TYPED[template]


def expected_times(template: str) -> dict[str, Any]:
    """Those of the probes, which a custom server has none of."""
    if template == "custom":
        return {}
    return {"readiness_times": ["period=30", "timeout=2"], "liveness_times": ["delay=60"]}


def expected_spec(template: str, ns: str, *, whole: bool) -> ServingSpec:
    """The expected serving, written independently of the form."""
    # What is read back of a start-up probe, which follows the endpoints of the template.
    startup = {"startup_seconds": 1800} if TEMPLATES[template].readiness_path else {}
    if not whole:
        settings = {} if template == "custom" else {"model": "org/model"}
        image = REQUIRED["custom"]["image"] if template == "custom" else TEMPLATES[template].image
        return ServingSpec.model_validate(
            {
                "name": "chat",
                "namespace": ns,
                "template": template,
                "image": image,
                "cpu": "0.5",
                "memory": "1Gi",
                "accelerator": TEMPLATES[template].accelerator,
                "settings": settings,
                "inference_port": 8000,
                **startup,
                "rollout": "replace" if TEMPLATES[template].accelerator else "surge",
            }
            | ({"memory": "100Gi"} if template == "furiosa-llm" else {})
        )
    own = {
        key.removeprefix("settings."): value
        for key, value in TEMPLATE_TYPED[template].items()
        if key != "accelerator"
    }
    return ServingSpec.model_validate(
        {
            "name": "chat",
            "namespace": ns,
            "template": template,
            "description": COMMON_TYPED["description"],
            "image": COMMON_TYPED["image"],
            "cpu": "1.5",
            "memory": "48Gi",
            "accelerator": TEMPLATE_TYPED[template]["accelerator"],
            "accelerator_count": 2,
            "replicas": 3,
            "inference_port": 9000,
            **startup,
            "command": ["/opt/server/bin/serve", "--name", "two words"],
            "rollout": COMMON_TYPED["rollout"],
            "settings": own,
            **expected_times(template),
            "shared_memory": "3Gi",
            "model_cache_path": "/var/cache/models",
            "fs_group": 1000,
            "node_selector": {"gpu.example.com/model": "h100", "zone": "eu-1"},
            "tolerations": ["team=ml:NoSchedule", "spot:NoExecute:300s"],
            "runtime_class": "nvidia",
            "image_pull_secrets": ["registry", "mirror"],
            "service_account": "models",
            "resource_claims": ["nic=template/fast"],
            "volumes": [{"pvc": "datasets", "mount_path": "/data", "read_only": True}],
            "env": [
                {"name": "LEVEL", "value": "debug"},
                {"name": "GREETING", "value": "good day"},
                {"name": "HF_TOKEN", "secret": {"name": "huggingface", "key": "token"}},
            ],
            "transformer": {
                "image": COMMON_TYPED["transformer.image"],
                "cpu": COMMON_TYPED["transformer.cpu"],
                "memory": COMMON_TYPED["transformer.memory"],
                "port": 9001,
                "command": ["python", "-m", "transform"],
                "env": [{"name": "MODE", "value": "fast"}],
            },
        }
    )


@pytest.fixture
def isolated_state_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Store the tests' drafts apart from those of the developer."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def pvc_and_secret(target: Target, ns: str) -> None:
    body = {
        "metadata": {"name": "datasets"},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "5Gi"}},
        },
    }
    target.ok("POST", f"/api/v1/namespaces/{ns}/persistentvolumeclaims", body)
    secret = {"metadata": {"name": "huggingface"}, "stringData": {"token": "t"}}
    target.ok("POST", f"/api/v1/namespaces/{ns}/secrets", secret)


@pytest.fixture
def pod_objects(target: Target, ns: str) -> None:
    """What the settings of the Pods name: the form refuses what is missing. A cluster that does not
    serve a kind cannot lack one of its objects."""
    account = {"metadata": {"name": COMMON_TYPED["service_account"]}}
    target.ok("POST", f"/api/v1/namespaces/{ns}/serviceaccounts", account)
    runtime_class = {"metadata": {"name": COMMON_TYPED["runtime_class"]}, "handler": "nvidia"}
    claim = {"metadata": {"name": "fast"}, "spec": {"spec": {"devices": {}}}}
    for path, body in (
        ("/apis/node.k8s.io/v1/runtimeclasses", runtime_class),
        (f"/apis/resource.k8s.io/v1/namespaces/{ns}/resourceclaimtemplates", claim),
    ):
        reply = target.send("POST", path, body)
        # The class is of the whole cluster: an earlier test may have made it.
        assert reply.code in (201, 404, 409), reply.text


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_keys_below_are_typed_into_every_field_there_is(template: str) -> None:
    fields: list[tuple[str, Field]] = [
        (one.name, one) for one in COMMON_FIELDS if one.name not in OPTIONAL_FIELDS
    ]
    fields += [(f"settings.{one.name}", one) for one in TEMPLATES[template].fields]
    typed = typed_everything(template)
    assert {path for path, _ in fields} - {"name", "namespace", "template"} == set(typed)
    same = [path for path, field in fields if path in typed and typed[path] == str(field.default)]
    assert not same, "a value that is the default shows nothing"


@pytest.mark.parametrize("whole", [False, True], ids=["defaults", "every option"])
@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.usefixtures("isolated_state_home", "pvc_and_secret", "pod_objects")
async def test_what_is_typed_is_what_is_stored_and_read_back(
    target: Target, ns: str, tmp_path: Path, template: str, *, whole: bool
) -> None:
    async with running_app(target, ns, tmp_path) as driver:
        await driver.pilot.press("n")
        await driver.wait_for_screen(lambda text: "Service Name" in text, "the form")
        form_keys = FormKeys(driver)
        await form_keys.enter("name", "chat")
        await form_keys.choose_template(template)
        typed: Mapping[str, str] = typed_everything(template) if whole else REQUIRED[template]
        if whole:
            await form_keys.enter("description", typed["description"])
        await form_keys.press("ctrl+n")
        await form_keys.wait_for_screen_text("Container", "Accelerator")
        if "accelerator" in typed:  # without one it has no count
            await form_keys.enter("accelerator", typed["accelerator"])
        # in form order, to press few keys
        for item in steps.form_items(2, form_keys.form.draft, ()):
            if isinstance(item, steps.FieldItem) and item.path in typed:
                await form_keys.enter(item.path, typed[item.path])
        if whole:
            await form_keys.volume("datasets", "/data")
            for number, line in enumerate(ENV):
                await form_keys.variable("env", number, line)
            await form_keys.press("ctrl+t")
            await form_keys.wait_for_focus("env.2.ref")
            await form_keys.press(*"huggingface", "enter")
            await form_keys.wait_for_focus("env.2.key")
            await form_keys.press(*"token")
            await form_keys.variable("transformer.env", 0, "MODE=fast")
        await form_keys.press("ctrl+n")
        await form_keys.wait_for_screen_text(
            "The API server accepts it", f"create Deployment {ns}/chat"
        )
        await form_keys.press("ctrl+s")
        await form_keys.wait_for_screen_text("✓ requested")
        assert driver.live.connection is not None
        objects = (await fetch_live_objects(driver.live.connection, ns, "chat")).objects
    got = import_objects.import_objects(objects)
    expected = expected_spec(template, ns, whole=whole)
    assert got.spec == expected
    assert got.unmanaged_fields == ()
    assert [one["kind"] for one in objects][:2] == ["Deployment", "Service"]
    check_objects(objects, expected)


def check_objects(objects: list[dict[str, Any]], spec: ServingSpec) -> None:
    """The rows of the console's tables, read from the objects."""
    deployment, service = objects[0], objects[1]
    assert deployment["spec"]["replicas"] == spec.replicas
    pod = deployment["spec"]["template"]["spec"]
    server = next(one for one in pod["containers"] if one["name"] == "inference-server")
    assert server["image"] == spec.image
    requests = server["resources"]["requests"]
    assert requests["cpu"] == ("1500m" if spec.transformer else "500m")
    assert requests["memory"] == str(spec.memory)
    if spec.accelerator:
        assert server["resources"]["limits"][spec.accelerator] == str(spec.accelerator_count)
    mounts = {one["name"]: one for one in server["volumeMounts"]}
    assert mounts["dshm"]["mountPath"] == "/dev/shm" and "model-cache" in mounts
    assert pod["enableServiceLinks"] is False
    first = service["spec"]["ports"][0]
    assert first["port"] == 80
    if spec.transformer:
        sidecar = next(one for one in pod["containers"] if one["name"] == "transformer")
        assert sidecar["image"] == spec.transformer.image
        assert any(one.get("readOnly") for one in server["volumeMounts"])
        values = {one["name"]: one for one in server["env"]}
        assert values["LEVEL"]["value"] == "debug"
        assert values["HF_TOKEN"]["valueFrom"]["secretKeyRef"]["key"] == "token"
    target_port = first["targetPort"]
    ports = {p["name"]: p["containerPort"] for c in pod["containers"] for p in c.get("ports", ())}
    assert ports.get(target_port, target_port) == (
        spec.transformer.port if spec.transformer else spec.inference_port
    )
