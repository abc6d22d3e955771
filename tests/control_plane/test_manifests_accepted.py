"""A real API server accepts what servedeck writes, and servedeck reads it back unchanged."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from servedeck.cluster.apply import ObjectRef
from servedeck.serving.objects import import_objects, manifests
from servedeck.serving.objects.routes import PlatformSettings, RouteKind
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.spec.templates import TEMPLATES
from tests.control_plane.control_plane import ControlPlane, RequestError
from tests.serving.strategies import platform_with_pool, platforms, valid_specs
from tests.waiting import WAIT_SECONDS


def apply_manifest(
    plane: ControlPlane, manifest: dict[str, Any], *, dry_run: bool
) -> dict[str, Any]:
    place = ObjectRef.from_manifest(manifest).path
    query = "fieldManager=servedeck&fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
    request = urllib.request.Request(
        f"{plane.url}{place}?{query}",
        method="PATCH",
        data=manifests.encode_manifest(manifest),
        headers={
            "Authorization": f"Bearer {plane.tokens['admin']}",
            "Content-Type": "application/apply-patch+yaml",
        },
    )
    try:
        with urllib.request.urlopen(
            request, timeout=WAIT_SECONDS, context=plane.ssl_context
        ) as answer:
            stored: dict[str, Any] = json.loads(answer.read())
            return stored
    except urllib.error.HTTPError as error:
        with error:
            raise RequestError(error.code, error.read().decode(errors="replace")) from None


@settings(  # one request per example, in a shared namespace
    max_examples=100,
    suppress_health_check=[
        *settings.default.suppress_health_check,
        HealthCheck.function_scoped_fixture,
    ],
)
@given(valid_specs(), platforms)
def test_every_manifest_of_a_valid_serving_is_accepted_and_read_back(
    control_plane: ControlPlane, namespace: str, spec: ServingSpec, platform: PlatformSettings
) -> None:
    spec = spec.replace(namespace=namespace)
    platform = platform_with_pool(platform, spec)
    answers = [
        apply_manifest(control_plane, manifest, dry_run=True)
        for manifest in manifests.build_manifests(spec, platform)
    ]
    got = import_objects.import_objects(answers, platform.engines)
    assert got.spec == spec
    assert got.unmanaged_fields == ()


def make_full_spec(namespace: str, template: str, **changes: Any) -> ServingSpec:
    accelerator = TEMPLATES[template].accelerator
    model = {} if template == "custom" else {"model": "org/model"}
    return ServingSpec.model_validate(
        {
            "name": "llama",
            "namespace": namespace,
            "description": "for the chat",
            "template": template,
            "image": "registry.example.com/server:1",
            "memory": "16Gi",
            "inference_port": 8000,
            "rollout": "surge",
            "startup_seconds": 1800 if TEMPLATES[template].liveness_path else None,
            "accelerator": accelerator,
            "settings": model,
            "volumes": [
                {"pvc": "models", "mount_path": "/models", "read_only": "true"},
                {"pvc": "models", "mount_path": "/again"},
            ],
            "env": [
                {"name": "HF_TOKEN", "secret": {"name": "hf", "key": "token"}},
                {"name": "LEVEL", "config_map": {"name": "cfg", "key": "level"}},
                {"name": "EMPTY"},
            ],
            "transformer": {"image": "transformer:1", "port": "8081", "command": "run --fast"},
            **changes,
        }
    )


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", RouteKind)
def test_applied_for_real_and_again_after_an_edit(
    control_plane: ControlPlane, namespace: str, template: str, kind: RouteKind
) -> None:
    gateway = "" if kind is RouteKind.INGRESS else "gateways/main"
    platform = PlatformSettings(host="serve.example.com", route=kind, gateway=gateway)
    for spec in (
        make_full_spec(namespace, template),
        make_full_spec(
            namespace,
            template,
            volumes=[],
            env=[],
            transformer=None,
            replicas=0,
            rollout="recreate",
        ),
    ):
        for manifest in manifests.build_manifests(spec, platform):
            apply_manifest(control_plane, manifest, dry_run=False)
        live = [
            apply_manifest(control_plane, manifest, dry_run=True)
            for manifest in manifests.build_manifests(spec, platform)
        ]
        got = import_objects.import_objects(live)
        assert (got.spec, got.unmanaged_fields, got.platform) == (spec, (), platform)


def test_a_name_that_starts_with_a_digit_is_accepted_by_this_release(
    control_plane: ControlPlane, namespace: str
) -> None:
    for manifest in manifests.build_manifests(make_full_spec(namespace, "custom", name="7b-chat")):
        apply_manifest(control_plane, manifest, dry_run=True)


def test_an_unknown_field_would_be_rejected(control_plane: ControlPlane, namespace: str) -> None:
    manifest = manifests.build_manifests(make_full_spec(namespace, "custom"))[0]
    manifest["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(RequestError):
        apply_manifest(control_plane, manifest, dry_run=True)
