"""Differences between two Pod templates."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.serving.objects.field_changes import MASK
from servedeck.serving.objects.template_changes import (
    changed_field_names,
    find_template_changes,
    normalize_template,
)
from tests.serving.revision_factory import SERVER, template

C = f".spec.containers[{SERVER}]"


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        tuple(one)
        for one in find_template_changes(normalize_template(old), normalize_template(new))
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {}, []),
        (
            {"resources": {"limits": {"memory": "1Gi"}}},
            {"resources": {"limits": {"memory": "2Gi"}}},
            [(f"{C}.resources.limits.memory", "1Gi", "2Gi")],
        ),
        (
            {"args": ["m", "--a", "1"]},
            {"args": ["m", "--a", "2", "--b"]},
            [(f"{C}.args[2]", "1", "2"), (f"{C}.args[3]", "none", "--b")],
        ),
        (
            {},
            {"env": [{"name": "A", "value": "1"}]},
            [(f"{C}.env[A].value", "none", "1")],
        ),
        (
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "x"}]},
            {"env": [{"name": "B", "value": "x"}]},
            [(f"{C}.env[A].value", "1", "none")],
        ),
        ({}, {"env": [{"name": "A"}]}, [(f"{C}.env[A]", "none", '{"name": "A"}')]),
        (
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
            [
                (f"{C}.env[A].value", "1", "none"),
                (f"{C}.env[A].valueFrom.secretKeyRef.name", "none", "s"),
                (f"{C}.env[A].valueFrom.secretKeyRef.key", "none", "k"),
            ],
        ),
        (
            {},
            {"readinessProbe": {"httpGet": {"path": "/health", "port": 8000}}},
            [
                (f"{C}.readinessProbe.httpGet.path", "none", "/health"),
                (f"{C}.readinessProbe.httpGet.port", "none", "8000"),
            ],
        ),
        (
            {},
            {"pod_spec": {"volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}]}},
            [(".spec.volumes[shm].emptyDir.medium", "none", "Memory")],
        ),
        (
            {},
            {"pod_spec": {"tolerations": [{"key": "gpu", "operator": "Exists"}]}},
            [
                (".spec.tolerations[0].key", "none", "gpu"),
                (".spec.tolerations[0].operator", "none", "Exists"),
            ],
        ),
    ],
)
def test_field_by_field(old: dict[str, Any], new: dict[str, Any], expected: list[Any]):
    assert changes(template(**old), template(**new)) == expected
    turned = [(path, after, before) for path, before, after in expected]
    if not any("args" in path for path, *_ in expected):  # the order of its words differs
        assert sorted(changes(template(**new), template(**old))) == sorted(turned)


def test_secrets_are_masked():
    env = [{"name": "HF_TOKEN", "value": "hunter2"}, {"name": "B", "value": "hf_0123456789abcdef"}]
    found = changes(template(), template(env=env, args=["--api-key", "hunter2"]))
    assert "hunter2" not in repr(found)
    assert "hf_0" not in repr(found)
    assert (f"{C}.env[HF_TOKEN].value", "none", MASK) in found
    changed = changes(
        template(env=[{"name": "HF_TOKEN", "value": "hunter2"}]),
        template(env=[{"name": "HF_TOKEN", "value": "hunter3"}]),
    )
    assert changed == [(f"{C}.env[HF_TOKEN].value", MASK, MASK)]


def test_a_long_value_is_not_cut():
    found = changes(template(args=["x" * 5000 + "a"]), template(args=["x" * 5000 + "b"]))
    assert found[0][1] != found[0][2]


def test_what_kubernetes_writes_is_left_out():
    other = template(
        annotations={
            "deployment.kubernetes.io/revision": "2",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
        }
    )
    other["metadata"]["labels"]["pod-template-hash"] = "abc"
    other["metadata"]["creationTimestamp"] = None
    assert normalize_template(other) == normalize_template(template())
    assert other["metadata"]["labels"]["pod-template-hash"] == "abc", "the object is unchanged"


RESTARTED = {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-03-01T11:00:00Z"}}


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ({}, ()),
        (RESTARTED, ("restart",)),
        ({**RESTARTED, "args": ["other"]}, ("args",)),
        ({"annotations": {"team": "a"}}, ("annotations",)),
        ({"env": [{"name": "A"}], "command": ["x"], "args": []}, ("command", "args", "env")),
        ({"pod_spec": {"nodeSelector": {"gpu": "h100"}}}, ("nodeSelector",)),
        ({"readinessProbe": {"periodSeconds": 5}, "tty": True}, ("readinessProbe", "tty")),
    ],
)
def test_the_names_of_the_changed_fields(new: dict[str, Any], expected: tuple[str, ...]):
    old, changed = normalize_template(template()), normalize_template(template(**new))
    assert changed_field_names(old, changed, SERVER) == expected


def test_fields_of_another_container_have_its_name():
    def with_proxy(**fields: Any) -> dict[str, Any]:
        found = template()
        found["spec"]["containers"].append({"name": "proxy", "image": "envoy:1", **fields})
        return found

    changed = with_proxy(image="envoy:2")
    assert changed_field_names(with_proxy(), changed, SERVER) == ("image of proxy",)
    assert changed_field_names(template(), changed, SERVER) == ("container proxy",)
    assert changes(template(), changed) == [(".spec.containers[proxy].image", "none", "envoy:2")]
    assert changed_field_names({}, template(), SERVER) == ("metadata", "spec")


def test_text_of_anybody_is_harmless_on_a_screen():
    hostile = "k\x1b]0;pwn\x07\n\u202e"
    new = {"spec": {hostile: 1, "containers": [{"name": hostile, "image": hostile}]}}
    texts = [*changed_field_names({"spec": {}}, new), *changed_field_names(template(), new)]
    texts += [text for change in find_template_changes(template(), new) for text in change]
    assert len(texts) > 5
    for text in texts:
        assert text.isprintable(), ascii(text)
