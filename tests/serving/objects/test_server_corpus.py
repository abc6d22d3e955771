"""What is listed as a serving, and what it is, for the shapes that other projects publish."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from servedeck.serving.objects import detection
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.objects.records import Deployment
from servedeck.serving.spec.templates import TEMPLATES
from tests.serving.corpus import OTHERS, SERVINGS, Workload


def manifest(workload: Workload) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "x", "namespace": "team-a", "labels": workload.labels},
        "spec": {
            "template": {
                "metadata": {
                    "labels": {"app": "x", **workload.pod_labels},
                    "annotations": workload.annotations,
                },
                "spec": copy.deepcopy(workload.pod),
            }
        },
    }


def record(workload: Workload) -> Deployment:
    return msgspec.convert(manifest(workload), Deployment)


def test_the_corpus_is_large_enough_to_say_something() -> None:
    assert len(SERVINGS) >= 40
    assert len(OTHERS) >= 30
    assert all(one.workload.source.startswith("https://") for one in SERVINGS.values())
    assert all(one.source.startswith("https://") for one in OTHERS.values())


@pytest.mark.parametrize("name", OTHERS)
def test_others_are_not_listed(name: str) -> None:
    assert not detection.is_serving(record(OTHERS[name]))


@pytest.mark.parametrize("name", SERVINGS)
def test_servings_are_listed_with_what_they_are(name: str) -> None:
    expected = SERVINGS[name]
    deployment = record(expected.workload)
    assert detection.is_serving(deployment)
    found = detection.detect_deployment(deployment)
    assert found.container is not None
    accelerators = detection.detect_accelerators(deployment.spec.template)
    assert {
        "template": found.template,
        "model": found.model,
        "served": found.served_model,
        "model source": found.model_source,
        "port": found.port,
        "container": found.container.name,
        "accelerator": (accelerators.name, accelerators.number),
        "gRPC": found.is_grpc,
        "TLS": found.is_tls,
    } == {
        "template": expected.template,
        "model": expected.model,
        "served": expected.served or expected.model,
        "model source": expected.model_source,
        "port": expected.port,
        "container": expected.container,
        "accelerator": expected.accelerator,
        "gRPC": expected.is_grpc,
        "TLS": expected.is_tls,
    }


@pytest.mark.parametrize("name", SERVINGS)
def test_the_form_reads_the_same_as_the_list(name: str) -> None:
    expected = SERVINGS[name]
    listed = detection.detect_deployment(record(expected.workload))
    imported = import_objects([manifest(expected.workload)])
    template = expected.exported or (
        listed.template if listed.template in TEMPLATES else detection.CUSTOM_TEMPLATE
    )
    assert imported.spec.template == template
    assert imported.objects.container["name"] == expected.container
    assert imported.spec.inference_port in (None, listed.port)
    if template != detection.CUSTOM_TEMPLATE and not listed.model_source:
        assert imported.spec.settings["model"] == listed.model or "$(" in str(
            imported.spec.settings["model"]
        )


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("name", SERVINGS)
def test_sidecars_do_not_change_what_is_found(name: str, first: bool) -> None:
    expected = SERVINGS[name]
    pod = copy.deepcopy(expected.workload.pod)
    sidecars = [
        {"name": "log", "image": "fluent/fluent-bit:3", "ports": [{"containerPort": 2020}]},
        {"name": "istio-proxy", "image": "istio/proxyv2:1.24", "args": ["proxy", "sidecar"]},
    ]
    known = [one["name"] for one in pod["containers"]]
    sidecars = [one for one in sidecars if one["name"] not in known]
    pod["containers"] = [*sidecars, *pod["containers"]] if first else pod["containers"] + sidecars
    workload = expected.workload._replace(pod=pod)
    found = detection.detect_deployment(record(workload))
    assert found.container is not None
    assert (found.container.name, found.port) == (expected.container, expected.port)
    assert import_objects([manifest(workload)]).objects.container["name"] == expected.container
