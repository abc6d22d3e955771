"""Edits of servings that others made: the edit and nothing else, in any shape, once and for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import assume, given, note
from hypothesis import strategies as st

from servedeck.serving.objects.change import ObjectChange, change_objects
from servedeck.serving.objects.diff import find_differences, format_path
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.spec.document import to_yaml
from servedeck.serving.spec.issues import errors
from servedeck.serving.spec.mapping.probes import startup_probe_path
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.spec import ServingSpec
from tests.serving.foreign_manifests import Json, foreign_objects
from tests.serving.objects.edits import deployment, service
from tests.serving.objects.edits import edit as edit_fields

NEW_VARIABLE = {"name": "NEW", "value": "1"}
NEW_VOLUME = {"pvc": "new", "mount_path": "/new"}

Edit = Callable[[ServingSpec], Any]


def set_first(values: tuple[Any, ...], **changes: Any) -> list[Any]:
    """The values with the first one changed; not possible without one."""
    assume(bool(values))
    return [values[0].model_copy(update=changes), *values[1:]]


def set_secret_key(spec: ServingSpec) -> list[Any]:
    found = [one.secret is not None for one in spec.env]
    assume(any(found))
    at = found.index(True)
    secret = spec.env[at].secret
    assert secret is not None
    changed = spec.env[at].model_copy(update={"secret": secret.model_copy(update={"key": "k2"})})
    return [*spec.env[:at], changed, *spec.env[at + 1 :]]


def set_setting(name: str, value: Any) -> Edit:
    def edit(spec: ServingSpec) -> Any:
        assume(name in spec.settings)
        return {**spec.settings, name: value}

    return edit


def change_transformer(**changes: Any) -> Edit:
    def edit(spec: ServingSpec) -> Any:
        assume(spec.transformer is not None)
        assert spec.transformer is not None
        return spec.transformer.model_copy(update=changes)

    return edit


EDITS: list[tuple[str, Edit]] = [
    ("image", lambda spec: "registry.example.com/mirror/llm:2"),
    ("cpu", lambda spec: "3"),
    ("memory", lambda spec: "48Gi"),
    ("replicas", lambda spec: 7),
    ("accelerator", lambda spec: "nvidia.com/mig-2g.20gb"),
    ("accelerator", lambda spec: "amd.com/gpu"),
    ("accelerator", lambda spec: ""),
    ("accelerator_count", lambda spec: 4),
    ("description", lambda spec: "changed"),
    ("objectives", lambda spec: "p95=2s errors=1%"),
    ("revision_of", lambda spec: "another"),
    ("env", lambda spec: [NEW_VARIABLE, *spec.env]),
    ("env", lambda spec: [*spec.env[:1], NEW_VARIABLE, *spec.env[1:]]),
    ("env", lambda spec: [*spec.env, NEW_VARIABLE]),
    ("env", lambda spec: spec.env[1:]),
    ("env", lambda spec: spec.env[::-1]),
    ("env", lambda spec: set_first(spec.env, value="changed", secret=None, config_map=None)),
    ("env", set_secret_key),
    ("volumes", lambda spec: [NEW_VOLUME, *spec.volumes]),
    ("volumes", lambda spec: [*spec.volumes, NEW_VOLUME]),
    ("volumes", lambda spec: spec.volumes[1:]),
    ("volumes", lambda spec: spec.volumes[::-1]),
    ("volumes", lambda spec: set_first(spec.volumes, pvc="new")),
    ("volumes", lambda spec: set_first(spec.volumes, mount_path="/elsewhere")),
    ("volumes", lambda spec: set_first(spec.volumes, read_only=False)),
    ("volumes", lambda spec: set_first(spec.volumes, read_only=True)),
    ("inference_port", lambda spec: 8100),
    ("readiness_path", lambda spec: "/ready"),
    ("readiness_path", lambda spec: ""),
    ("liveness_path", lambda spec: "/live"),
    ("startup_path", lambda spec: "/startup" if spec.startup_seconds else spec.startup_path),
    ("startup_seconds", lambda spec: 645),
    ("startup_seconds", lambda spec: 0),
    ("transformer", lambda spec: {"image": "transformer:2", "port": 8081}),
    ("transformer", lambda spec: None),
    ("transformer", change_transformer(image="transformer:2")),
    ("transformer", change_transformer(port=8082)),
    ("settings", set_setting("model", "org/new")),
    ("settings", set_setting("tensor_parallel_size", 4)),
    ("settings", set_setting("additional_arguments", ("--new", "1"))),
    ("settings", set_setting("additional_arguments", ("--new", "--", "x"))),
]
TOUCHED = {
    "image": ("image",),
    "cpu": ("resources",),
    "memory": ("resources",),
    "replicas": ("spec.replicas",),
    "accelerator": ("resources", "tolerations"),
    "accelerator_count": ("resources",),
    "description": ("metadata.annotations",),
    "objectives": ("metadata.annotations",),
    "revision_of": ("metadata.labels",),
    "env": ("env",),
    "volumes": ("volumeMounts", "volumes"),
    "inference_port": ("command", "args", "ports", "Probe", "lifecycle", "PREDICTOR_URL"),
    "readiness_path": ("readinessProbe", "startupProbe"),
    "liveness_path": ("livenessProbe", "startupProbe"),
    "startup_path": ("startupProbe",),
    "startup_seconds": ("startupProbe",),
    "transformer": ("containers", "ports"),
    "settings": ("command", "args", "sizeLimit"),
}
"""Parts of the paths that an edit of each field may change."""


def edited(objects: list[Json], edit: tuple[str, Edit]) -> tuple[ServingSpec, ObjectChange]:
    current = import_objects(objects)
    name, change = edit
    given_limits = {"cpu_limit": None, "memory_limit": None} if name in ("cpu", "memory") else {}
    wanted = current.spec.replace(**{name: change(current.spec), **given_limits})
    note(to_yaml(wanted))
    return wanted, change_objects(current, wanted)


@given(foreign_objects(), st.sampled_from(EDITS))
def test_an_edit_changes_its_field_and_nothing_else(
    objects: list[Json], edit: tuple[str, Edit]
) -> None:
    wanted, change = edited(objects, edit)
    # a port in a script cannot be changed, or comes from a variable that the edit removes
    found = [one for one in errors(change.issues) if one.field != "inference_port"]
    if not startup_probe_path(wanted):  # the first start-up probe needs an endpoint
        found = [one for one in found if one.field != "startup_seconds"]
    if import_objects(objects).spec.inference_port is None:
        found = [one for one in found if "enter the Inference Port first" not in one.message]
    assert found == []
    for live, changed in zip(change.live, change.changed, strict=True):
        for one in find_differences(live, changed):
            path = format_path(one.path)
            assert any(part in path for part in TOUCHED[edit[0]]), path


@given(foreign_objects(), st.sampled_from(EDITS))
def test_the_same_edit_again_changes_nothing(objects: list[Json], edit: tuple[str, Edit]) -> None:
    wanted, change = edited(objects, edit)
    assume(not change.issues)
    again = change_objects(import_objects(list(change.changed)), wanted)
    assert again.changed_fields == ()
    assert again.changed == change.changed


BESIDE: list[Json] = [
    {"name": "agent", "image": "agent:1"},
    {"name": "proxy", "image": "envoyproxy/envoy:1", "ports": [{"containerPort": 8443}]},
    {"name": "other", "image": "vllm/vllm-openai:1", "args": ["m"]},
]
SERVERS: list[Json] = [
    {"image": "ml/llm:1", "resources": {"limits": {"amd.com/gpu": "1"}}},
    {"image": "vllm/vllm-openai:1", "command": ["/start.sh"]},
    {"image": "ml/llm:1", "command": ["vllm", "serve", "m"]},
    {"image": "vllm/vllm-openai:1", "args": ["m"]},
    {"image": "ml/llm:1", "args": ["m"]},
]


@given(
    st.lists(st.sampled_from(BESIDE), max_size=2, unique_by=lambda one: one["name"]),
    st.sampled_from(SERVERS),
    st.lists(st.sampled_from(BESIDE), max_size=1),
    st.sampled_from(["server", "inference-server"]),
    st.sampled_from(
        [
            {"image": "registry/ml/llm:2"},
            {"image": "vllm/vllm-openai:2"},
            {"accelerator": ""},
            {"accelerator": "", "image": "ml/llm:1-cpu"},
            {"accelerator": "nvidia.com/gpu"},
            {"accelerator": "example.com/fpga"},
            {"command": ["/other.sh"]},
            {"transformer": {"image": "vllm/vllm-openai:1"}, "inference_port": 8000},
            {"transformer": None},
        ]
    ),
)
def test_an_edit_never_makes_another_container_the_server(
    first: list[Json], server: Json, last: list[Json], name: str, fields: Json
) -> None:
    containers = [*first, {"name": name, **server}, *last]
    assume(len({one["name"] for one in containers}) == len(containers))
    objects = [deployment(*containers)]
    current = import_objects(objects)
    wanted = current.spec.replace(**fields)
    change = change_objects(current, wanted)
    if found := errors(change.issues):
        assert {one.field for one in found} <= set(change.changed_fields)
        return
    again = import_objects(list(change.changed))
    assert again.objects.container["name"] == current.objects.container["name"]
    assert change_objects(again, wanted).changed == change.changed


@pytest.mark.parametrize(
    ("containers", "fields"),
    [
        (
            [{"name": "helper", "image": "agent:1"}, {"name": "main", **SERVERS[0]}],
            {"accelerator": "", "image": "ml/llm:1-cpu"},
        ),
        (
            [{"name": "helper", "image": "envoy"}, {"name": "main", **SERVERS[1]}],
            {"image": "registry/ml/llm:2"},
        ),
        (
            [{"name": "main", **SERVERS[3]}, {"name": "helper", **SERVERS[3]}],
            {"image": "registry/ml/llm:2"},
        ),
    ],
)
def test_an_edit_that_makes_another_container_the_server_is_an_error(
    containers: list[Json], fields: Json
) -> None:
    change = edit_fields(deployment(*containers), **fields)
    assert [(one.field, one.is_error) for one in change.issues] == [
        (field, True) for field in sorted(fields, key=["image", "accelerator"].index)
    ]
    for one in change.issues:
        assert one.message == (
            "servedeck would then take the container helper for the inference server; name the "
            "container main inference-server in the Deployment first."
        )


def env_names(objects: Any, name: str) -> list[str]:
    containers = objects[0]["spec"]["template"]["spec"]["containers"]
    container = next(one for one in containers if one["name"] == name)
    return [one["name"] for one in container.get("env", [])]


@given(foreign_objects(), st.sampled_from([one for one in EDITS if one[0] == "env"]))
def test_variables_that_stay_keep_their_order(objects: list[Json], edit: tuple[str, Edit]) -> None:
    before = import_objects(objects).spec
    wanted, change = edited(objects, edit)
    assume(wanted.env != before.env[::-1] or len(wanted.env) < 2)
    name = import_objects(objects).objects.container["name"]
    old, new = env_names(objects, name), env_names(change.changed, name)
    assert [one for one in old if one in new] == [one for one in new if one in old]


def resolve(objects: ServingObjects, port: int | None) -> Iterator[str]:
    """What each port of each Service leads to: "server", "transformer", or "other" for a port that
    the server declares beside `port`, on which it serves, and for one that nobody declares."""
    server, transformer = objects.container, objects.transformer
    for found_service in objects.services:
        for one in found_service["spec"]["ports"]:
            target = one.get("targetPort", one["port"])
            owners = {"server": server, "transformer": transformer}
            found = [
                (owner, declared["containerPort"])
                for owner, container in owners.items()
                for declared in container.get("ports", [])
                if target in (declared["containerPort"], declared.get("name"))
            ]
            owner, number = found[0] if found else ("server", target)
            yield "other" if owner == "server" and number != port else owner


@given(
    foreign_objects(),
    st.sampled_from([one for one in EDITS if one[0] in ("inference_port", "transformer")]),
)
def test_services_keep_their_targets(objects: list[Json], edit: tuple[str, Edit]) -> None:
    current = import_objects(objects)
    wanted, change = edited(objects, edit)
    assume(not errors(change.issues) and current.spec.inference_port is not None)
    changed = import_objects(list(change.changed))
    before = list(resolve(current.objects, current.spec.port))
    after = list(resolve(changed.objects, wanted.port))
    had, has = current.spec.transformer is not None, wanted.transformer is not None
    if has and not had:
        expected = ["transformer" if one == "server" else one for one in before]
    elif had and not has:
        expected = ["server" if one == "transformer" else one for one in before]
    else:
        expected = before
    assert after == expected


def test_a_service_of_another_port_of_the_server_does_not_move_to_a_transformer() -> None:
    container = {
        "name": "vllm",
        "image": "lmsysorg/sglang:latest",
        "args": ["--model-path", "a/b", "--port", "30000"],
        "ports": [{"containerPort": 8000}, {"containerPort": 30000}],
    }
    objects = [deployment(container), service({"port": 80, "targetPort": 30000}, {"port": 8000})]
    change = edit_fields(*objects, transformer={"image": "transformer:2", "port": 8081})
    assert errors(change.issues) == []
    current = import_objects(objects)
    assert list(resolve(current.objects, current.spec.port)) == ["server", "other"]
    changed = import_objects(list(change.changed))
    assert list(resolve(changed.objects, 30000)) == ["transformer", "other"]


@given(foreign_objects())
def test_another_port_is_the_declared_one_of_the_server_alone(objects: list[Json]) -> None:
    current = import_objects(objects)
    _, change = edited(objects, ("inference_port", lambda spec: 8100))
    assume(not errors(change.issues))
    changed = import_objects(list(change.changed))

    def numbers(one: ServingObjects) -> list[int]:
        return [port["containerPort"] for port in one.container.get("ports", [])]

    old = current.spec.port
    is_declared = bool(numbers(current.objects)) or current.spec.inference_port is not None
    assert numbers(changed.objects) in (
        [8100 if port == old else port for port in numbers(current.objects)],
        [] if is_declared else [8100],
    )
