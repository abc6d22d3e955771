"""A second revision of a serving, and what the first one takes over of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from servedeck.serving.conventions import REVISION_LABEL
from servedeck.serving.edit.differences import find_field_differences
from servedeck.serving.edit.second_revision import (
    begin_revision,
    free_name,
    revision_of,
)
from servedeck.serving.edit.takeover import take_over
from servedeck.serving.objects.change import change_objects
from servedeck.serving.objects.import_objects import ImportedServing, import_objects
from servedeck.serving.objects.manifests import build_manifests
from servedeck.serving.objects.missing_objects import RelatedObjects
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec import scaling
from servedeck.serving.spec.mapping.engines import Engines
from servedeck.serving.spec.spec import ServingSpec
from tests.serving.strategies import specs

MODEL = "org/model"
ARGUMENT = f"--served-model-name={MODEL}"
ENGINES = Engines(
    frozenset({"keda.sh", "gateway.envoyproxy.io", "networking.istio.io"}),
    prometheus_url="http://prometheus.monitoring:9090",
)
PLATFORM = PlatformSettings(host="ai.example.com", gateway="gateways/main", engines=ENGINES)


def make_spec(**values: Any) -> ServingSpec:
    given_values = {
        "name": "llama",
        "namespace": "chat",
        "template": "vllm",
        "image": "vllm/vllm-openai:v0.32.1",
        "accelerator": "nvidia.com/gpu",
        "replicas": 2,
        "settings": {"model": MODEL},
        **values,
    }
    return ServingSpec(**given_values)


def deploy(spec: ServingSpec) -> ImportedServing:
    """The serving as it is read back."""
    return import_objects(build_manifests(spec, PLATFORM), ENGINES)


def begin(main: ImportedServing, **changes: Any) -> ServingSpec:
    """The second revision as it is read back."""
    spec = begin_revision(main, "llama-canary", MODEL)
    settings = {**spec.settings, **changes.pop("settings", {})}
    return deploy(spec.replace(settings=settings, **changes)).spec


def taken_over(main: ImportedServing, revision: ServingSpec) -> dict[str, str]:
    """The changed fields, each with its new value."""
    wanted = take_over(main, revision, MODEL).spec
    return {one.name: one.new for one in find_field_differences(main.spec, wanted)}


# -- it begins ------------------------------------------------------------------------------------


def test_it_is_a_serving_of_its_own_without_an_endpoint() -> None:
    main = deploy(make_spec())
    objects = build_manifests(begin_revision(main, "llama-canary", MODEL), PLATFORM)
    assert [one["kind"] for one in objects] == ["Deployment", "Service"]
    assert [one["kind"] for one in main.objects.all] == ["Deployment", "Service", "HTTPRoute"]
    deployment = objects[0]
    assert deployment["metadata"]["labels"][REVISION_LABEL] == "llama"
    assert revision_of(deployment) == "llama" and revision_of(main.objects.deployment) == ""
    assert REVISION_LABEL not in deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == {
        "servedeck.dev/serving": "llama-canary"
    }
    assert deployment["spec"]["replicas"] == 1


def test_edits_keep_whose_revision_it_is_and_create_no_route() -> None:
    read = deploy(begin_revision(deploy(make_spec()), "llama-canary", MODEL))
    change = change_objects(read, read.spec.replace(image="b:2"), PLATFORM, RelatedObjects())
    assert [one["kind"] for one in change.changed] == ["Deployment", "Service"]
    assert change.changed[0]["metadata"]["labels"][REVISION_LABEL] == "llama"
    change = change_objects(read, read.spec.replace(revision_of=""), PLATFORM, RelatedObjects())
    assert [one["kind"] for one in change.changed] == ["Deployment", "Service", "HTTPRoute"]
    assert REVISION_LABEL not in change.changed[0]["metadata"]["labels"]


@pytest.mark.parametrize(
    ("values", "arguments"),
    [
        ({}, (ARGUMENT,)),
        ({"settings": {"model": MODEL, "additional_arguments": "--a -- b"}}, ("--a", ARGUMENT)),
        (
            {"settings": {"model": MODEL, "additional_arguments": "--served-model-name own"}},
            ("--served-model-name", "own"),
        ),
        ({"template": "furiosa-llm", "accelerator": "furiosa.ai/rngd"}, (ARGUMENT,)),
    ],
)
def test_it_answers_to_the_served_model_name(
    values: dict[str, Any], arguments: tuple[str, ...]
) -> None:
    spec = begin_revision(deploy(make_spec(**values)), "llama-canary", MODEL)
    found = spec.settings["additional_arguments"]
    assert isinstance(found, tuple) and found[: len(arguments)] == arguments
    assert begin_revision(deploy(make_spec()), "x", "").settings["additional_arguments"] == ()


def test_a_custom_server_keeps_its_command_line() -> None:
    spec = make_spec(template="custom", command="serve", settings={"arguments": "--port 8000"})
    main = deploy(spec)
    assert begin_revision(main, "llama-canary", MODEL).settings == main.spec.settings


def test_auto_scaling_is_that_of_the_serving_but_never_to_zero() -> None:
    main = deploy(make_spec(auto_scaling="response-time", min_replicas=0, max_replicas=4))
    spec = begin_revision(main, "llama-canary", MODEL)
    assert (spec.auto_scaling, spec.min_replicas, spec.max_replicas) == ("response-time", 1, 4)
    hpa = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "llama", "namespace": "chat"},
        "spec": {
            "minReplicas": 2,
            "maxReplicas": 3,
            "scaleTargetRef": {"kind": "Deployment", "name": "llama", "apiVersion": "apps/v1"},
        },
    }
    main = import_objects([*build_manifests(make_spec(), PLATFORM), hpa], ENGINES)
    assert main.spec.auto_scaling == "hpa"
    spec = begin_revision(main, "llama-canary", MODEL)
    assert (spec.auto_scaling, spec.min_replicas) == ("off", None)


def test_the_load_balancing_of_the_route_is_not_that_of_the_revision() -> None:
    main = deploy(make_spec(load_balancing="header", load_balancing_header="X-Session"))
    [policy] = main.objects.policies
    assert policy["kind"] == "BackendTrafficPolicy"
    assert begin_revision(main, "llama-canary", MODEL).load_balancing == "off"
    istio = PlatformSettings(engines=Engines(frozenset({"networking.istio.io"})))
    objects = build_manifests(make_spec(load_balancing="least-requests"), istio)
    main = import_objects(objects, istio.engines)
    assert [one["kind"] for one in main.objects.policies] == ["DestinationRule"]
    assert begin_revision(main, "llama-canary", MODEL).load_balancing == "least-requests"


def test_a_free_name_is_short_enough() -> None:
    assert free_name("llama", ()) == "llama-canary"
    assert free_name("llama", {"llama-canary", "llama-canary-2"}) == "llama-canary-3"
    for taken in ((), {f"{'a' * 56}-canary"}):
        assert len(free_name("a" * 63, taken)) == 63
    assert free_name("b" * 55 + "-" * 8, ()) == "b" * 55 + "-canary"


# -- it is taken over -----------------------------------------------------------------------------


@given(specs())
def test_what_was_not_changed_is_no_difference(spec: ServingSpec) -> None:
    main = import_objects(build_manifests(spec.replace(revision_of=""), PLATFORM), ENGINES)
    revision = deploy(begin_revision(main, "canary", MODEL)).spec
    wanted = take_over(main, revision, MODEL).spec
    assert {one.name for one in find_field_differences(main.spec, wanted)} <= {"replicas"}
    # A scaler sets those of a serving that has one.
    least = 1 if main.spec.auto_scaling == scaling.OFF else 0
    assert wanted.replicas == max(main.spec.replicas, least)


def test_a_serving_of_others_has_no_difference_either() -> None:
    container = {
        "name": "server",
        "image": "vllm/vllm-openai:v0.32.1",
        "args": ["--model", MODEL, "--max-model-len", "8192"],
        "ports": [{"containerPort": 8000}],
    }
    labels = {"app": "llama"}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "llama", "namespace": "chat"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    main = import_objects([deployment])
    assert taken_over(main, begin(main)) == {}
    assert taken_over(main, begin(main, image="b:2")) == {"image": "b:2"}


def test_what_was_changed_is_taken_over_and_nothing_else() -> None:
    main = deploy(make_spec(description="chat", auto_scaling="response-time"))
    revision = begin(
        main,
        image="vllm/vllm-openai:v0.33.0",
        description="a canary",
        max_replicas=3,
        env=[{"name": "A", "value": "1"}],
        objectives="p95=2s",
        settings={"max_model_len": "8192"},
        replicas=9,
    )
    assert taken_over(main, revision) == {
        "image": "vllm/vllm-openai:v0.33.0",
        "objectives": "p95=2s",
        "env.A": "1",
        "settings.maxModelLen": "8192",
    }, "an autoscaler sets the replicas"


def test_replicas_never_become_fewer() -> None:
    main = deploy(make_spec(replicas=3))
    assert taken_over(main, begin(main, replicas=1)) == {}
    assert taken_over(main, begin(main, replicas=4)) == {"replicas": "4"}


def test_the_served_model_name_is_taken_over_with_another_model_only() -> None:
    main = deploy(make_spec(settings={"model": MODEL, "additional_arguments": "--a"}))
    assert taken_over(main, begin(main)) == {}
    assert taken_over(main, begin(main, settings={"model": "org/new"})) == {
        "settings.model": "org/new",
        "settings.additionalArguments[--served-model-name]": ARGUMENT,
    }
    other = {"additional_arguments": ("--b", ARGUMENT)}
    assert taken_over(main, begin(main, settings=other)) == {
        "settings.additionalArguments[--a]": "none",
        "settings.additionalArguments[--b]": "--b",
    }


def test_another_template_is_taken_over_whole() -> None:
    main = deploy(make_spec())
    revision = make_spec(name="llama-canary", template="custom", settings={"arguments": "--x"})
    wanted = take_over(main, revision.replace(command="serve"), MODEL).spec
    assert (wanted.template, wanted.command) == ("custom", ("serve",))
    assert wanted.settings == {"arguments": ("--x",)}
