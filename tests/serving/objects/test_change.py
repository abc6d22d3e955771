"""Changing an existing serving: the edit and nothing else, in any shape of its objects."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from servedeck.serving.conventions import TEMPLATE_LABEL
from servedeck.serving.objects import manifests
from servedeck.serving.objects.change import ObjectKey, change_objects, resolve_open_fields
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.objects.managed_fields import build_apply_configuration
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.document import from_yaml, to_yaml
from servedeck.serving.spec.issues import errors
from servedeck.serving.spec.spec import FIELDS, ServingSpec
from servedeck.serving.spec.validation import validate
from tests.serving.foreign_manifests import foreign_objects
from tests.serving.objects.test_import_objects import deployment
from tests.serving.spec.test_validation import furiosa_spec, vllm_spec
from tests.serving.strategies import platform_with_pool, platforms, valid_specs

PLATFORM = PlatformSettings(host="ai.example.com", gateway="gateways/main")


@given(foreign_objects())
def test_exporting_and_applying_unchanged_changes_nothing(objects: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(objects)
    current = import_objects(objects)
    wanted = from_yaml(to_yaml(current.spec))
    assert wanted == current.spec
    change = change_objects(current, wanted, PLATFORM)
    assert change.changed_fields == change.issues == ()
    assert list(change.changed) == before
    for live, changed in zip(change.live, change.changed, strict=True):
        assert build_apply_configuration(live, changed, "servedeck") is None


@given(valid_specs(), platforms)
def test_applying_our_own_unchanged_changes_nothing(
    spec: ServingSpec, platform: PlatformSettings
) -> None:
    platform = platform_with_pool(platform, spec)
    objects = manifests.build_manifests(spec, platform)
    change = change_objects(import_objects(objects, platform.engines), spec, platform)
    assert list(change.changed) == objects
    assert change.issues == ()


@given(valid_specs(), valid_specs(), st.data())
def test_one_changed_field_of_our_own_is_read_back_alone(
    spec: ServingSpec, other: ServingSpec, data: st.DataObject
) -> None:
    names = [name for name in FIELDS if name not in ("name", "namespace", "template")]
    if spec.template != other.template:
        names.remove("settings")
    if spec.template == "custom":
        names.remove("command")
    name = data.draw(st.sampled_from(names))
    wanted = spec.replace(**{name: getattr(other, name)})
    assume(not errors(validate(wanted)))
    # Times of a probe that is not there are an error of the change.
    assume(not name.endswith("_times") or getattr(wanted, f"effective_{name[:-6]}_path"))
    # A stopped serving is started by its autoscaler's minimum, which is another test.
    assume(name not in ("auto_scaling", "min_replicas") or wanted.replicas)
    platform = platform_with_pool(PlatformSettings(gateway="gateways/main"), spec, wanted)
    current = import_objects(manifests.build_manifests(spec, platform), platform.engines)
    change = change_objects(current, wanted)
    left = [dict(one) for one in change.changed if ObjectKey.of(one) not in change.removed]
    got = import_objects(left, platform.engines).spec
    assert got == resolve_open_fields(current, wanted)
    # a server or a transformer may need its port in a flag or a variable
    is_port = name in ("inference_port", "transformer")
    assert (errors(change.issues) if is_port else list(change.issues)) == []


# -- flags, as they are written -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "args", "expected_command", "expected_args"),
    [
        (
            ["vllm", "serve", "m", "--port", "8000", "-tp", "2", "--x"],
            None,
            ["vllm", "serve", "m", "--port", "9000", "-tp", "4", "--x"],
            None,
        ),
        (
            ["python3", "-m", "vllm.entrypoints.openai.api_server"],
            ["--model=m", "--tensor_parallel_size=2", "--port=8000", "--x"],
            ["python3", "-m", "vllm.entrypoints.openai.api_server"],
            ["--model=m", "--tensor_parallel_size=4", "--port=9000", "--x"],
        ),
        (
            ["vllm", "serve", "m"],
            ["--tensor-parallel-size", "2", "--", "y"],
            ["vllm", "serve", "m"],
            ["--tensor-parallel-size", "4", "--port=9000", "--", "y"],
        ),
    ],
)
def test_a_changed_setting_changes_its_flag_where_it_stands(
    command: list[str],
    args: list[str] | None,
    expected_command: list[str],
    expected_args: list[str] | None,
) -> None:
    container: dict[str, Any] = {"image": "vllm/vllm-openai", "command": command}
    if args is not None:
        container["args"] = args
    current = import_objects([deployment(container)])
    settings = {**current.spec.settings, "tensor_parallel_size": 4}
    wanted = current.spec.replace(settings=settings, inference_port=9000)
    [changed] = change_objects(current, wanted).changed
    [got] = changed["spec"]["template"]["spec"]["containers"]
    assert got.get("command") == expected_command
    assert got.get("args") == expected_args


def test_a_side_effect_on_another_field_is_a_warning() -> None:
    script = ["sh", "-c", "exec vllm serve m --port $PORT"]
    env = [{"name": "PORT", "value": "8080"}]
    current = import_objects([deployment({"image": "x", "command": script, "env": env})])
    assert current.spec.inference_port == 8080
    [issue] = change_objects(current, current.spec.replace(env=())).issues
    assert (issue.field, issue.is_error) == ("inference_port", False)


def test_an_image_from_a_mirror_is_no_other_template() -> None:
    current = import_objects([deployment({"image": "vllm/vllm-openai", "args": ["m"]})])
    assert current.spec.template == "vllm"
    change = change_objects(current, current.spec.replace(image="mirror.example.com/llm:1"))
    assert change.issues == ()


def test_additional_arguments_keep_their_place_among_the_flags() -> None:
    args = ["m", "--a", "1", "--dtype=half", "--b=2"]
    current = import_objects([deployment({"image": "vllm/vllm-openai", "args": args})])
    additional = ("--a", "3", "--b=2", "--c")
    settings = {**current.spec.settings, "additional_arguments": additional}
    [changed] = change_objects(current, current.spec.replace(settings=settings)).changed
    [got] = changed["spec"]["template"]["spec"]["containers"]
    assert got["args"] == ["m", "--a", "3", "--dtype=half", "--b=2", "--c"]


# -- what depends on a field --------------------------------------------------------------------


def container_of(objects: Any) -> Any:
    return objects[0]["spec"]["template"]["spec"]["containers"][0]


def test_shared_memory_follows_the_setting_unless_somebody_chose_a_size() -> None:
    spec = vllm_spec(accelerator_count=4, settings={"tensor_parallel_size": 1})
    settings = {**spec.settings, "tensor_parallel_size": 4}
    objects = manifests.build_manifests(spec)

    def size(changed: Any) -> Any:
        volumes = changed[0]["spec"]["template"]["spec"]["volumes"]
        return {one["name"]: one for one in volumes}["dshm"]["emptyDir"]["sizeLimit"]

    wanted = spec.replace(settings=settings)
    assert size(change_objects(import_objects(objects), wanted).changed) == "4Gi"
    objects[0]["spec"]["template"]["spec"]["volumes"][1]["emptyDir"]["sizeLimit"] = "128Gi"
    assert size(change_objects(import_objects(objects), wanted).changed) == "128Gi"


def test_another_accelerator_takes_its_toleration_along() -> None:
    objects = manifests.build_manifests(vllm_spec())
    own = {"key": "own", "operator": "Exists"}
    objects[0]["spec"]["template"]["spec"]["tolerations"].append(own)
    change = change_objects(import_objects(objects), vllm_spec(accelerator="amd.com/gpu"))
    tolerations = change.changed[0]["spec"]["template"]["spec"]["tolerations"]
    assert tolerations == [
        {"key": "amd.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        own,
    ]


def test_a_changed_port_is_changed_everywhere() -> None:
    container = {
        "image": "furiosaai/furiosa-llm",
        "args": ["serve", "m"],
        "ports": [{"containerPort": 8000, "name": "api"}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}},
        "livenessProbe": {"httpGet": {"path": "/health", "port": "api"}},
    }
    service = {
        "kind": "Service",
        "metadata": {"name": "llm", "namespace": "team-a"},
        "spec": {"ports": [{"port": 8000}, {"port": 80, "targetPort": "api"}]},
    }
    current = import_objects([deployment(container), service])
    change = change_objects(current, current.spec.replace(inference_port=9000))
    got = container_of(change.changed)
    assert got["args"] == ["serve", "m", "--port=9000"]
    assert got["ports"] == [{"containerPort": 9000, "name": "api"}]
    assert got["readinessProbe"]["httpGet"]["port"] == 9000
    assert got["livenessProbe"]["httpGet"]["port"] == "api"
    assert change.changed[1]["spec"]["ports"] == [
        {"port": 8000, "targetPort": 9000},
        {"port": 80, "targetPort": "api"},
    ]


def test_the_port_of_the_server_is_found_among_several() -> None:
    ports = [{"containerPort": 9000, "name": "metrics"}, {"containerPort": 8000, "name": "api"}]
    container = {"image": "x", "command": ["serve"], "ports": ports}
    current = import_objects([deployment(container)])
    assert current.spec.inference_port == 8000
    wanted = current.spec.replace(inference_port=8100, readiness_path="/health")
    got = container_of(change_objects(current, wanted).changed)
    assert [one["containerPort"] for one in got["ports"]] == [9000, 8100]
    assert got["readinessProbe"]["httpGet"]["port"] == "api"


def test_a_port_that_is_declared_for_something_else_is_an_error() -> None:
    ports = [{"containerPort": 8000, "name": "http"}, {"containerPort": 9000, "name": "metrics"}]
    current = import_objects([deployment({"image": "x", "ports": ports})])
    [issue] = errors(change_objects(current, current.spec.replace(inference_port=9000)).issues)
    assert (issue.field, issue.message) == (
        "inference_port",
        "The container already has a port 9000; choose another.",
    )


def test_a_port_that_stays_in_the_command_line_is_a_warning() -> None:
    container = {"image": "x", "args": ["--port", "30000"], "ports": [{"containerPort": 30000}]}
    current = import_objects([deployment(container)])
    [issue] = change_objects(current, current.spec.replace(inference_port=8100)).issues
    assert not issue.is_error
    assert "still has --port 30000" in issue.message


@pytest.mark.parametrize("handler", [{"tcpSocket": {"port": 8000}}, {"exec": {"command": ["x"]}}])
def test_a_probe_of_another_kind_keeps_its_delays(handler: dict[str, Any]) -> None:
    probe = {**handler, "initialDelaySeconds": 600, "periodSeconds": 2}
    current = import_objects([deployment({"image": "x", "readinessProbe": probe})])
    change = change_objects(current, current.spec.replace(readiness_path="/ready"))
    [issue] = [one for one in change.issues if not one.is_error]
    assert issue.field == "readiness_path"
    assert "undo cannot bring that back" in issue.message
    got = container_of(change.changed)["readinessProbe"]
    assert (got["initialDelaySeconds"], got["periodSeconds"]) == (600, 2)
    assert got["httpGet"]["path"] == "/ready"
    assert not handler.keys() & got.keys()


@pytest.mark.parametrize(
    "handler", [{"tcpSocket": {"port": 8000}}, {"exec": {"command": ["x"]}}, {"grpc": {"port": 1}}]
)
def test_a_startup_probe_of_another_kind_is_not_replaced_without_a_word(
    handler: dict[str, Any],
) -> None:
    probe = {**handler, "periodSeconds": 10, "failureThreshold": 60}
    ports = [{"containerPort": 8000}]
    current = import_objects([deployment({"image": "x", "ports": ports, "startupProbe": probe})])
    change = change_objects(current, current.spec.replace(startup_path="/up"))
    assert container_of(change.changed)["startupProbe"]["httpGet"]["path"] == "/up"
    found = [one.message for one in change.issues if one.field == "startup_path"]
    assert len(found) == 1 and "undo cannot bring that back" in found[0]
    change = change_objects(current, current.spec.replace(image="y"))
    assert [one for one in change.issues if one.field == "startup_path"] == []


@pytest.mark.parametrize("to", ["custom", "vllm"])
def test_another_template_changes_the_probes_with_it_at_once(to: str) -> None:
    other = {
        "custom": ServingSpec(
            name="llm", namespace="team-a", template="custom", image="i", inference_port=8000
        ),
        "vllm": vllm_spec(inference_port=8000),
    }
    before, wanted = other["vllm" if to == "custom" else "custom"], other[to]
    change = change_objects(import_objects(manifests.build_manifests(before)), wanted)
    assert change.issues == ()
    assert ("readinessProbe" in container_of(change.changed)) is (to == "vllm")
    again = change_objects(import_objects(list(change.changed)), wanted)
    assert again.changed == change.changed


@pytest.mark.parametrize("selects", ["Deployment", "expression", "Service", "nothing"])
@pytest.mark.parametrize("has_label", [True, False])
def test_another_template_keeps_the_pods_with_what_selects_them(
    selects: str, has_label: bool
) -> None:
    """The Pods' label changes only if no selector has it."""
    objects = manifests.build_manifests(vllm_spec(inference_port=8000))
    labels, selector = objects[0]["metadata"]["labels"], objects[0]["spec"]["selector"]
    if not has_label:
        del labels[TEMPLATE_LABEL]
    if selects == "Deployment":
        selector["matchLabels"][TEMPLATE_LABEL] = "vllm"
    elif selects == "expression":
        one = {"key": TEMPLATE_LABEL, "operator": "In", "values": ["vllm"]}
        selector["matchExpressions"] = [one]
    elif selects == "Service":
        objects[1]["spec"]["selector"][TEMPLATE_LABEL] = "vllm"
    wanted = ServingSpec(
        name="llm",
        namespace="team-a",
        template="custom",
        image="i",
        inference_port=8000,
        rollout="surge",
    )
    change = change_objects(import_objects(objects), wanted)
    assert change.issues == ()
    deployment, service = change.changed
    pods = deployment["spec"]["template"]["metadata"]["labels"]
    assert pods[TEMPLATE_LABEL] == ("custom" if selects == "nothing" else "vllm")
    for mine, was in ((deployment, objects[0]), (service, objects[1])):
        assert mine["spec"]["selector"] == was["spec"]["selector"]
    again = import_objects(list(change.changed))
    assert again.spec == wanted
    assert change_objects(again, wanted).changed == change.changed


@pytest.mark.parametrize(
    ("command", "args"),
    [
        (["python3"], ["/app/server.py", "--model", "m"]),
        (["ray"], ["start", "--head", "--port=6379"]),
        (["sh", "-c", "exec vllm serve m"], []),
        (["python3", "-m", "dynamo.vllm"], ["--model", "m"]),
        ([], ["bash", "-c", "vllm serve m"]),
    ],
)
def test_a_command_that_is_not_understood_is_kept_as_it_is(
    command: list[str], args: list[str]
) -> None:
    container = {"image": "vllm/vllm-openai", "command": command, "args": args}
    spec = import_objects([deployment(container)]).spec
    assert (spec.template, list(spec.command)) == ("custom", command)
    assert list(spec.settings["arguments"] or ()) == args


@pytest.mark.parametrize(
    ("command", "args", "program"),
    [
        (["tini", "--"], ["vllm", "serve", "m"], ["tini", "--", "vllm", "serve"]),
        (["/usr/bin/env", "vllm"], ["serve", "m"], ["/usr/bin/env", "vllm", "serve"]),
        (["uv", "run"], ["vllm", "serve", "m"], ["uv", "run", "vllm", "serve"]),
        (["/opt/venv/bin/vllm", "serve", "m"], [], ["/opt/venv/bin/vllm", "serve"]),
        (
            [],
            ["python3", "-u", "-m", "vllm.entrypoints.openai.api_server", "--model", "m"],
            ["python3", "-u", "-m", "vllm.entrypoints.openai.api_server"],
        ),
    ],
)
def test_a_server_started_by_another_program_is_edited_flag_by_flag(
    command: list[str], args: list[str], program: list[str]
) -> None:
    container = {"image": "acme/llm", "command": command, "args": args}
    current = import_objects([deployment(container)])
    assert (current.spec.template, list(current.spec.command)) == ("vllm", program)
    assert current.spec.settings["model"] == "m"
    wanted = current.spec.replace(settings={**current.spec.settings, "model": "other"})
    [changed] = change_objects(current, wanted).changed
    [after] = changed["spec"]["template"]["spec"]["containers"]
    words = ["other" if word == "m" else word for word in (*command, *args)]
    assert [*after.get("command", ()), *after.get("args", ())] == words


def test_a_port_in_a_shell_script_cannot_be_changed_and_the_field_says_so() -> None:
    container = {"image": "x", "command": ["sh", "-c", "exec vllm serve m --port 8080"]}
    current = import_objects([deployment(container)])
    assert (current.spec.template, current.spec.inference_port) == ("custom", 8080)
    change = change_objects(current, current.spec.replace(inference_port=9000))
    [issue] = change.issues
    assert issue.field == "inference_port"
    assert "still has --port 8080" in issue.message


def test_a_deleted_service_of_ours_is_created_again_and_one_of_others_is_not() -> None:
    objects = manifests.build_manifests(furiosa_spec(), PLATFORM)
    change = change_objects(import_objects(objects[:1]), furiosa_spec(), PLATFORM)
    assert [one["kind"] for one in change.changed] == ["Deployment", "Service", "HTTPRoute"]
    foreign = import_objects([deployment({"image": "vllm/vllm-openai", "args": ["m"]})])
    assert len(change_objects(foreign, foreign.spec, PLATFORM).changed) == 1


def test_a_removed_system_variable_gets_the_systems_value() -> None:
    home, other = {"name": "HF_HOME", "value": "/models"}, {"name": "A", "value": "1"}
    own = import_objects(manifests.build_manifests(vllm_spec(env=[home, other])))
    foreign = import_objects([deployment({"image": "vllm/vllm-openai", "env": [home, other]})])
    for current, system in ((own, [{"name": "HF_HOME", "value": "/model-cache"}]), (foreign, [])):
        change = change_objects(current, current.spec.replace(env=current.spec.env[1:]))
        assert change.issues == ()
        env = container_of(change.changed)["env"]
        named = [one for one in env if one["name"] in ("HF_HOME", "A")]
        assert named == [*system, other]


def test_only_fields_of_the_pods_restart_them() -> None:
    current = import_objects(manifests.build_manifests(vllm_spec()))
    assert not change_objects(current, vllm_spec(replicas=3, description="x")).restarts_pods
    assert change_objects(current, vllm_spec(memory="17Gi")).restarts_pods


def test_a_variable_that_is_there_twice_already_does_not_prevent_a_change() -> None:
    twice = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    current = import_objects([deployment({"image": "x", "env": twice})])
    wanted = current.spec.replace(env=[*current.spec.env, {"name": "N", "value": "3"}])
    change = change_objects(current, wanted)
    assert change.issues == ()
    assert container_of(change.changed)["env"] == [*twice, {"name": "N", "value": "3"}]
    again = current.spec.replace(env=[*current.spec.env, {"name": "A", "value": "3"}])
    [issue] = change_objects(current, again).issues
    assert (issue.field, issue.is_error) == ("env", True)


@pytest.mark.parametrize(
    "wanted",
    [
        {"auto_scaling": "hpa", "min_replicas": 2},
        {"auto_scaling": "custom"},
        {"load_balancing": "custom"},
    ],
)
def test_what_only_stands_for_the_work_of_others_is_not_said_to_be_in_the_objects(
    wanted: dict[str, Any],
) -> None:
    """`check_settings` refuses it, with what to choose instead."""
    current = import_objects(manifests.build_manifests(vllm_spec(inference_port=8000)))
    assert not errors(list(change_objects(current, current.spec.replace(**wanted)).issues))
