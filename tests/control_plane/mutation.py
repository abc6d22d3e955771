"""Mutating admission of one namespace: what webhooks of service meshes and registries do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.control_plane.control_plane import ControlPlane, RequestError
from tests.waiting import wait_until_sync

_ROOT = "/apis/admissionregistration.k8s.io/v1"
_KINDS = ("mutatingadmissionpolicybindings", "mutatingadmissionpolicies")

_POD = "object.spec.template.spec"
_CONTAINERS = "/spec/template/spec/containers"
_TYPE = "Object.spec.template.spec"

SIDECAR = (
    f'!{_POD}.containers.exists(c, c.name == "proxy")',
    f'[JSONPatch{{op: "add", path: "{_CONTAINERS}/0", value: {_TYPE}.containers{{'
    'name: "proxy", image: "proxy:1", '
    f'ports: [{_TYPE}.containers.ports{{containerPort: 15001, name: "proxy"}}]}}}}]',
)
"""Condition in CEL, and patch: a container before all others."""
ADDITIONS = (
    "true",
    " + ".join(
        f'(has({_POD}.{path}) ? [] : [JSONPatch{{op: "add", path: "{place}", value: []}}]) + '
        f"(has({_POD}.{path}) && {_POD}.{path}.exists(one, has(one.{key}) && "
        f'one.{key} == "{value}") ? [] : '
        f'[JSONPatch{{op: "add", path: "{place}/-", value: {_TYPE}.{added}}}])'
        for path, place, key, value, added in (
            (
                "containers[0].env",
                f"{_CONTAINERS}/0/env",
                "name",
                "HTTPS_PROXY",
                'containers.env{name: "HTTPS_PROXY", value: "http://proxy:3128"}',
            ),
            (
                "volumes",
                "/spec/template/spec/volumes",
                "name",
                "ca",
                f'volumes{{name: "ca", configMap: {_TYPE}.volumes.configMap{{name: "ca"}}}}',
            ),
            (
                "tolerations",
                "/spec/template/spec/tolerations",
                "key",
                "team",
                'tolerations{key: "team", operator: "Exists"}',
            ),
        )
    ),
)
"""A variable, a volume and a toleration, if they are missing."""
MIRROR = (
    f'!{_POD}.containers[0].image.startsWith("mirror.corp/")',
    f'[JSONPatch{{op: "replace", path: "{_CONTAINERS}/0/image", '
    f'value: "mirror.corp/" + {_POD}.containers[0].image}}]',
)
TWO_REPLICAS = ("true", '[JSONPatch{op: "replace", path: "/spec/replicas", value: 2}]')
PINNED_IMAGE = (
    "true",
    f'[JSONPatch{{op: "replace", path: "{_CONTAINERS}/0/image", value: "pinned:1"}}]',
)
LITTLE_MEMORY = (
    f"has({_POD}.containers[0].resources.requests)",
    f'[JSONPatch{{op: "add", path: "{_CONTAINERS}/0/resources/requests/memory", value: "512Mi"}}]',
)
NO_RESTART = (
    f"has({_POD.removesuffix('.spec')}.metadata.annotations) && "
    f'"kubectl.kubernetes.io/restartedAt" in {_POD.removesuffix(".spec")}.metadata.annotations',
    '[JSONPatch{op: "remove", '
    'path: "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt"}]',
)


@contextlib.contextmanager
def mutating(
    plane: ControlPlane,
    namespace: str,
    policy: tuple[str, str],
    *,
    resource: tuple[str, str, str] = ("apps", "v1", "deployments"),
) -> Iterator[None]:
    """A policy that changes the objects of a resource (group, version, plural)."""
    group, version, plural = resource
    condition, patch = policy
    rule = {
        "apiGroups": [group],
        "apiVersions": [version],
        "operations": ["CREATE", "UPDATE"],
        "resources": [plural],
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    spec = {
        "matchConstraints": {"resourceRules": [rule], "namespaceSelector": selector},
        "matchConditions": [{"name": "condition", "expression": condition}],
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
        "reinvocationPolicy": "Never",
    }
    plane.create(f"{_ROOT}/{_KINDS[1]}", {"metadata": {"name": namespace}, "spec": spec})
    binding = {"metadata": {"name": namespace}, "spec": {"policyName": namespace}}
    plane.create(f"{_ROOT}/{_KINDS[0]}", binding)
    try:
        yield
    finally:
        for kind in _KINDS:
            with contextlib.suppress(RequestError):
                plane.request("DELETE", f"{_ROOT}/{kind}/{namespace}")


@contextlib.contextmanager
def mutating_deployments(
    plane: ControlPlane, namespace: str, policy: tuple[str, str]
) -> Iterator[None]:
    """As `mutating`, once the API server applies it: it reads a policy some time after it was
    created."""
    probe = _probe(namespace)
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments?dryRun=All"

    def is_applied() -> bool:
        return not _has(plane.request("POST", path, probe)["spec"], probe["spec"])

    with mutating(plane, namespace, policy):
        wait_until_sync(is_applied, "the policy")
        yield


def _probe(namespace: str) -> dict[str, Any]:
    resources = {"requests": {"memory": "1Gi"}}
    container = {
        "name": "server",
        "image": "server:1",
        "resources": resources,
        "env": [{"name": "A", "value": "1"}],
    }
    labels = {"app": "probe"}
    restarted = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    template = {
        "metadata": {"labels": labels, "annotations": restarted},
        "spec": {
            "containers": [container],
            "volumes": [{"name": "v", "emptyDir": {}}],
            "tolerations": [{"key": "k", "operator": "Exists"}],
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }


def _has(found: Any, wanted: Any) -> bool:
    """Whether `found` has all of `wanted`, and no more entries in its lists."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            _has(found.get(key), value) for key, value in wanted.items()
        )
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return len(found) == len(wanted) and all(map(_has, found, wanted))
    return bool(found == wanted)
