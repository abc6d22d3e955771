from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from servedeck.serving.objects import import_objects, manifests
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec import validation
from servedeck.serving.spec.issues import errors
from servedeck.serving.spec.spec import ServingSpec
from tests.serving.strategies import platform_with_pool, platforms, specs, valid_specs


@given(valid_specs(), platforms)
def test_a_serving_is_read_back_from_its_own_objects(
    spec: ServingSpec, platform: PlatformSettings
) -> None:
    platform = platform_with_pool(platform, spec)
    built = manifests.build_manifests(spec, platform)
    got = import_objects.import_objects(built, platform.engines)
    assert got.spec == spec
    assert got.unmanaged_fields == ()


def test_the_strategy_makes_mostly_valid_servings() -> None:
    bad: list[str] = []

    @settings(max_examples=100, derandomize=True, database=None)  # a fixed sample in each run
    @given(specs())
    def run(spec: ServingSpec) -> None:
        bad.extend(problem.message for problem in errors(validation.validate(spec))[:1])

    run()
    assert len(bad) < 50, bad


# -- objects of others ---------------------------------------------------------------------------

json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(), max_size=8),
        st.sampled_from(["\ud800", "500m", "99999999999999999999", "nvidia.com/gpu", "serve"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=8), inner, max_size=3),
    ),
    max_leaves=12,
)


@given(st.lists(json_values, max_size=4))
def test_reading_random_json_does_not_fail(objects: list[Any]) -> None:
    import_objects.import_objects(objects)


def _all_paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(place for key, one in inside for place in _all_paths(one, (*path, key)))]


@given(valid_specs(), platforms, json_values, st.data())
def test_reading_objects_with_anything_anywhere_does_not_fail(
    spec: ServingSpec, platform: PlatformSettings, junk: Any, data: st.DataObject
) -> None:
    objects: Any = manifests.build_manifests(spec, platform)
    for _ in range(2):
        places = [place for place in _all_paths(objects) if place]
        *parents, last = data.draw(st.sampled_from(places))
        at = objects
        for key in parents:
            at = at[key]
        at[last] = copy.deepcopy(junk)
    got = import_objects.import_objects(objects)
    manifests.build_manifests(got.spec, got.platform)


def deployment(container: dict[str, Any], **pod: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "llm", "namespace": "team-a"},
        "spec": {
            "selector": {"matchLabels": {"app": "llm"}},
            "template": {
                "metadata": {"labels": {"app": "llm"}},
                "spec": {"containers": [{"name": "server", **container}], **pod},
            },
        },
    }


def test_vllm_started_with_the_image_s_entry_point_is_read() -> None:
    got = import_objects.import_objects(
        [
            deployment(
                {
                    "image": "vllm/vllm-openai:v0.9.2",
                    "args": ["--model", "m/x", "--tensor_parallel_size", "2", "-q=awq", "--foo"],
                    "ports": [{"containerPort": 9000}],
                    "resources": {"limits": {"nvidia.com/gpu": 2, "memory": "32Gi", "cpu": "4"}},
                }
            )
        ]
    )
    spec = got.spec
    assert (spec.template, spec.settings["model"]) == ("vllm", "m/x")
    assert spec.settings["tensor_parallel_size"] == 2
    assert spec.settings["quantization"] == "awq"
    assert spec.settings["additional_arguments"] == ("--foo",)
    assert spec.settings["gpu_memory_utilization"] is None
    assert (spec.inference_port, str(spec.memory), str(spec.cpu)) == (9000, "32Gi", "4")
    assert (spec.accelerator, spec.accelerator_count) == ("nvidia.com/gpu", 2)


def test_the_port_flag_counts_more_than_the_declared_port() -> None:
    container = {
        "command": ["vllm", "serve", "m", "--port", "9001"],
        "ports": [{"containerPort": 8000}],
    }
    assert import_objects.import_objects([deployment(container)]).spec.inference_port == 9001


def test_the_old_api_server_is_read_as_vllm_serve_and_the_change_is_listed() -> None:
    command = ["python3", "-m", "vllm.entrypoints.openai.api_server", "--model=m"]
    got = import_objects.import_objects([deployment({"image": "mine", "command": command})])
    assert (got.spec.template, got.spec.settings["model"], got.spec.command) == ("vllm", "m", ())
    changed = {one.path: one.built for one in got.unmanaged_fields}
    assert changed["spec.template.spec.containers[server].command"] == ["vllm", "serve"]


def test_a_shell_script_is_kept_word_by_word() -> None:
    command = ["sh", "-c", "pip install x && vllm serve m --port 8000"]
    spec = import_objects.import_objects(
        [deployment({"image": "vllm/vllm-openai", "command": command})]
    ).spec
    assert (spec.template, list(spec.command)) == ("custom", command)


def test_a_command_override_of_ours_keeps_the_template() -> None:
    spec = ServingSpec(
        name="a",
        namespace="p",
        template="vllm",
        image="i",
        settings={"model": "m"},
        inference_port=8000,
        command=("sh", "-c", 'exec vllm serve "$@"', "--"),
        rollout="replace",
        startup_seconds=1800,
    )
    assert import_objects.import_objects(manifests.build_manifests(spec)).spec == spec


def test_what_the_spec_cannot_say_is_left_over_and_kept() -> None:
    got = import_objects.import_objects(
        [
            deployment(
                {
                    "image": "i",
                    "env": [
                        {"name": "A", "value": "1"},
                        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                    ],
                    "envFrom": [{"secretRef": {"name": "all"}}],
                    "volumeMounts": [{"name": "w", "mountPath": "/w", "subPath": "x"}],
                    "imagePullPolicy": "IfNotPresent",
                },
                schedulerName="other",
                volumes=[{"name": "w", "persistentVolumeClaim": {"claimName": "w"}}],
                restartPolicy="Always",
            ),
            {"kind": "ConfigMap", "metadata": {"name": "llm"}},
        ]
    )
    assert [one.name for one in got.spec.env] == ["A"]
    assert got.spec.volumes == ()
    pod = "spec.template.spec"
    assert {(one.object, one.path) for one in got.unmanaged_fields} >= {
        ("Deployment llm", f"{pod}.containers[server].env[NODE]"),
        ("Deployment llm", f"{pod}.containers[server].envFrom"),
        ("Deployment llm", f"{pod}.containers[server].volumeMounts[/w]"),
        ("Deployment llm", f"{pod}.schedulerName"),
        ("Deployment llm", f"{pod}.volumes[w]"),
        ("ConfigMap llm", ""),
    }


def test_a_field_changed_by_another_manager_is_read_as_it_is() -> None:
    spec = ServingSpec(
        name="a",
        namespace="p",
        template="custom",
        image="i",
        cpu="1",
        inference_port=8000,
        rollout="surge",
    )
    objects = manifests.build_manifests(spec)
    objects[0]["spec"]["replicas"] = 7
    server = objects[0]["spec"]["template"]["spec"]["containers"][0]
    server["resources"]["requests"]["cpu"] = "1000m"
    server["livenessProbe"] = {"exec": {"command": ["true"]}}
    got = import_objects.import_objects(objects)
    assert got.spec == spec.replace(replicas=7, liveness_times="timeout=1 failures=3")
    assert [one.path for one in got.unmanaged_fields] == [
        "spec.template.spec.containers[inference-server].livenessProbe"
    ]


def test_several_extended_resources_the_accelerator_is_chosen() -> None:
    limits = {"rdma/hca": 1, "a.example.com/nic": 1, "nvidia.com/mig-2g.20gb": "3"}
    spec = import_objects.import_objects([deployment({"resources": {"limits": limits}})]).spec
    assert (spec.accelerator, spec.accelerator_count) == ("nvidia.com/mig-2g.20gb", 3)


def test_invalid_strings_are_sanitized() -> None:
    odd = "a\ud800b"
    container = {
        "image": odd,
        "command": [odd],
        "env": [{"name": odd, "value": odd}],
        "resources": {"limits": {f"example.com/{odd}": "1", "nvidia.com/gpu": odd, "cpu": odd}},
    }
    spec = import_objects.import_objects([deployment(container)]).spec
    assert (spec.image, spec.command, spec.env[0].value) == ("a?b", ("a?b",), "a?b")
    assert (spec.accelerator, spec.accelerator_count, str(spec.cpu)) == (
        "nvidia.com/gpu",
        1,
        "None",
    )


def test_numbers_that_no_object_can_hold_become_the_default() -> None:
    one = deployment({"ports": [{"containerPort": 10**30}, {"containerPort": "x"}]})
    one["spec"]["replicas"] = 10**30
    spec = import_objects.import_objects([one]).spec
    assert (spec.replicas, spec.inference_port) == (1, None)


def test_the_same_amount_in_other_words_is_no_difference() -> None:
    amounts = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1024Mi"}}
    got = import_objects.import_objects([deployment({"image": "i", "resources": amounts})])
    assert not [one for one in got.unmanaged_fields if "resources" in one.path]
    assert got.spec.memory_limit is None
