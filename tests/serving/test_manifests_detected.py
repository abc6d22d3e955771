"""The list detects what servedeck writes: the same name, template, model, accelerator and
endpoint."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given

from servedeck.serving import endpoint
from servedeck.serving.objects import detection, manifests
from servedeck.serving.objects.records import (
    Deployment,
    HTTPRoute,
    Ingress,
    Service,
    VirtualService,
)
from servedeck.serving.objects.routes import PlatformSettings, RouteKind
from servedeck.serving.spec.spec import ServingSpec
from tests.serving.spec.test_validation import vllm_spec
from tests.serving.strategies import valid_specs

RECORD_TYPES: dict[str, Any] = {
    "Deployment": Deployment,
    "Service": Service,
    "HTTPRoute": HTTPRoute,
    "VirtualService": VirtualService,
    "Ingress": Ingress,
}


def decode_records(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        one["kind"]: msgspec.convert(one, RECORD_TYPES[one["kind"]])
        for one in objects
        if one["kind"] in RECORD_TYPES
    }


@given(valid_specs())
def test_a_serving_of_ours_is_recognized(spec: ServingSpec) -> None:
    deployment = decode_records(manifests.build_manifests(spec))["Deployment"]
    assert detection.is_serving(deployment)
    assert detection.is_managed(deployment)
    # "custom" is no server: what its image contains says more.
    assert detection.detect_template(deployment) == spec.template or spec.template == "custom"
    if not spec.command and spec.template != "custom" and "--" not in str(spec.settings):
        assert detection.detect_model(deployment) == spec.settings["model"]


@pytest.mark.parametrize("transformer", [None, {"image": "t"}])
@pytest.mark.parametrize("kind", RouteKind)
def test_the_endpoint_is_found_through_each_kind_of_route(
    kind: RouteKind, transformer: Any
) -> None:
    platform = PlatformSettings(host="h.example.com", route=kind, gateway="gw/main")
    spec = vllm_spec(transformer=transformer, accelerator_count=2)
    got = decode_records(manifests.build_manifests(spec, platform))
    found = endpoint.resolve_endpoint(
        got["Deployment"],
        [got["Service"]],
        [got["HTTPRoute"]] if kind is RouteKind.HTTP_ROUTE else [],
        [got["VirtualService"]] if kind is RouteKind.VIRTUAL_SERVICE else [],
        [got["Ingress"]] if kind is RouteKind.INGRESS else [],
        "",
    )
    assert found.url == "https://h.example.com/team-a/llm"
    assert found.cluster_url == "http://llm.team-a.svc:80"
    assert detection.detect_accelerator(got["Deployment"]) == ("nvidia.com/gpu", 2)
