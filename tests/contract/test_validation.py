"""What the API rejects in an object: types, unknown fields, values; with the real messages."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.target import (
    APPLY,
    MERGE,
    STRATEGIC,
    Target,
    deployment,
    scaled_down_deployment,
)

Json = dict[str, Any]
POD = "spec.template.spec"
C0 = f"{POD}.containers[0]"


def spec_with(**changes: Any) -> Json:
    body = deployment("x")
    body["spec"] |= changes
    return body


def container_with(**changes: Any) -> Json:
    body = deployment("x")
    body["spec"]["template"]["spec"]["containers"][0] |= changes
    return body


def pod_with(**changes: Any) -> Json:
    body = deployment("x")
    body["spec"]["template"]["spec"] |= changes
    return body


def without(body: Json, *path: Any) -> Json:
    found = body
    for key in path[:-1]:
        found = found[key]
    del found[path[-1]]
    return body


def named(name: str) -> Json:
    body = deployment("x")
    body["metadata"]["name"] = name
    return body


def resources(**kinds: Json) -> Json:
    return container_with(resources=kinds)


SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
INVALID = [
    (named("Bad_Name"), [("metadata.name", f'Invalid value: "Bad_Name": {SUBDOMAIN}')]),
    (
        without(deployment("x"), "metadata", "name"),
        [("metadata.name", "Required value: name or generateName is required")],
    ),
    (
        without(deployment("x"), "spec", "selector"),
        [
            ("spec.selector", "Required value"),
            (
                "spec.template.metadata.labels",
                'Invalid value: {"app":"x"}: `selector` does not match template `labels`',
            ),
        ],
    ),
    (
        spec_with(selector={"matchLabels": {"app": "other"}}),
        [
            (
                "spec.template.metadata.labels",
                'Invalid value: {"app":"x"}: `selector` does not match template `labels`',
            )
        ],
    ),
    (
        spec_with(replicas=-1),
        [("spec.replicas", "Invalid value: -1: must be greater than or equal to 0")],
    ),
    (
        spec_with(progressDeadlineSeconds=0, minReadySeconds=5),
        [
            (
                "spec.progressDeadlineSeconds",
                "Invalid value: 0: must be greater than minReadySeconds",
            )
        ],
    ),
    (
        spec_with(
            strategy={
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0},
            }
        ),
        [
            (
                "spec.strategy.rollingUpdate.maxUnavailable",
                "Invalid value: 0: may not be 0 when `maxSurge` is 0",
            )
        ],
    ),
    (
        spec_with(strategy={"type": "Foo"}),
        [
            (
                "spec.strategy",
                'Unsupported value: {"Type":"Foo","RollingUpdate":null}: supported values: '
                '"Recreate", "RollingUpdate"',
            )
        ],
    ),
    (pod_with(containers=[]), [(f"{POD}.containers", "Required value")]),
    (
        pod_with(restartPolicy="Never"),
        [(f"{POD}.restartPolicy", 'Unsupported value: "Never": supported values: "Always"')],
    ),
    (
        pod_with(containers=[{"name": "c", "image": "i"}] * 2),
        [(f"{POD}.containers[1].name", 'Duplicate value: "c"')],
    ),
    (
        pod_with(volumes=[{"name": "v"}, {"name": "v"}]),
        [(f"{POD}.volumes[1].name", 'Duplicate value: "v"')],
    ),
    (container_with(name=""), [(f"{C0}.name", "Required value")]),
    (container_with(image=""), [(f"{C0}.image", "Required value")]),
    (
        container_with(imagePullPolicy="Foo"),
        [
            (
                f"{C0}.imagePullPolicy",
                'Unsupported value: "Foo": supported values: "Always", "IfNotPresent", "Never"',
            )
        ],
    ),
    (
        container_with(env=[{"name": ""}, {"name": "a=b", "value": "x"}]),
        [
            (f"{C0}.env[0].name", "Required value"),
            (
                f"{C0}.env[1].name",
                'Invalid value: "a=b": a valid environment variable name must consist only of '
                "printable ASCII characters other than '='",
            ),
        ],
    ),
    (
        container_with(ports=[{"containerPort": 0}, {"containerPort": 70000}]),
        [
            (f"{C0}.ports[0].containerPort", "Required value"),
            (
                f"{C0}.ports[1].containerPort",
                "Invalid value: 70000: must be between 1 and 65535, inclusive",
            ),
        ],
    ),
    (
        container_with(readinessProbe={"periodSeconds": -1}),
        [
            (f"{C0}.readinessProbe", "Required value: must specify a handler type"),
            (
                f"{C0}.readinessProbe.periodSeconds",
                "Invalid value: -1: must be greater than or equal to 0",
            ),
        ],
    ),
    (
        container_with(readinessProbe={"httpGet": {"path": "/", "port": 0}}),
        [
            (
                f"{C0}.readinessProbe.httpGet.port",
                "Invalid value: 0: must be between 1 and 65535, inclusive",
            )
        ],
    ),
    (
        container_with(volumeMounts=[{"name": "v", "mountPath": "/x"}]),
        [(f"{C0}.volumeMounts[0].name", 'Not found: "v"')],
    ),
    (
        resources(requests={"cpu": "-1"}),
        [
            (
                f"{C0}.resources.requests[cpu]",
                'Invalid value: "-1": must be greater than or equal to 0',
            )
        ],
    ),
    (
        resources(requests={"cpu": "2"}, limits={"cpu": "1"}),
        [
            (
                f"{C0}.resources.requests",
                'Invalid value: "2": must be less than or equal to cpu limit of 1',
            )
        ],
    ),
    (
        resources(requests={"nvidia.com/gpu": "1"}),
        [
            (
                f"{C0}.resources.limits",
                "Required value: Limit must be set for non overcommitable resources",
            )
        ],
    ),
    (
        resources(limits={"nvidia.com/gpu": "0.5"}),
        [
            (
                f"{C0}.resources.limits[nvidia.com/gpu]",
                'Invalid value: "500m": must be an integer',
            )
        ],
    ),
    (
        resources(requests={"nvidia.com/gpu": "1"}, limits={"nvidia.com/gpu": "2"}),
        [
            (
                f"{C0}.resources.requests",
                'Invalid value: "1": must be equal to nvidia.com/gpu limit of 2',
            )
        ],
    ),
]


@pytest.mark.parametrize(("body", "causes"), INVALID, ids=[c[0][0] for _, c in INVALID])
def test_a_bad_deployment(
    target: Target, deployments: str, body: Json, causes: list[tuple[str, str]]
) -> None:
    status = target.rejected(422, "POST", deployments, body)
    assert status["reason"] == "Invalid"
    assert [(c["field"], c["message"]) for c in status["details"]["causes"]] == causes
    texts = [f"{field}: {message}" for field, message in causes]
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    name = body["metadata"].get("name", "")
    assert status["message"] == f'Deployment.apps "{name}" is invalid: {joined}'


@pytest.mark.parametrize(
    ("plural", "body", "message"),
    [
        (
            "services",
            {"metadata": {"name": "9x.y"}, "spec": {"ports": [{"port": 80}]}},
            'Service "9x.y" is invalid: metadata.name: Invalid value: "9x.y": must not contain '
            "dots",
        ),
        (
            "services",
            {"metadata": {"name": "s"}, "spec": {}},
            'Service "s" is invalid: spec.ports: Required value',
        ),
        (
            "persistentvolumeclaims",
            {"metadata": {"name": "a"}, "spec": {}},
            'PersistentVolumeClaim "a" is invalid: [spec.accessModes: Required value: at least 1 '
            "access mode is required, spec.resources[storage]: Required value]",
        ),
        (
            "configmaps",
            {"metadata": {"name": "a"}, "data": {"a b": "x"}},
            'ConfigMap "a" is invalid: data[a b]: Invalid value: "a b": a valid config key must '
            "consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
            "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
        ),
    ],
)
def test_bad_objects_of_other_kinds(
    target: Target, ns: str, plural: str, body: Json, message: str
) -> None:
    status = target.rejected(422, "POST", f"/api/v1/namespaces/{ns}/{plural}", body)
    assert status["message"] == message


START = 'Deployment in version "v1" cannot be handled as a Deployment: '


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            spec_with(replicas="a"),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of "
            "type int32",
        ),
        (
            spec_with(replicas=1.5),
            "json: cannot unmarshal number 1.5 into Go struct field "
            "DeploymentSpec.spec.replicas of type int32",
        ),
        (
            resources(requests={"cpu": "abc"}),
            "quantities must match the regular expression "
            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ],
)
def test_a_value_of_the_wrong_type(
    target: Target, deployments: str, body: Json, words: str
) -> None:
    assert target.rejected(400, "POST", deployments, body)["message"] == START + words


def test_strict_validation_names_every_unknown_field(target: Target, deployments: str) -> None:
    body = container_with(foo=1) | {"nope": {}}
    status = target.rejected(400, "POST", f"{deployments}?fieldValidation=Strict", body)
    assert status["message"] == (
        f'{START}strict decoding error: unknown field "{C0}.foo", unknown field "nope"'
    )


def test_strict_validation_names_what_comes_twice(target: Target, deployments: str) -> None:
    body = b'{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a","name":"b"}}'
    status = target.rejected(400, "POST", f"{deployments}?fieldValidation=Strict", body)
    assert status["message"] == f'{START}strict decoding error: duplicate field "metadata.name"'


def test_unknown_fields_are_warned_of_or_ignored(target: Target, deployments: str) -> None:
    body = scaled_down_deployment("x") | {"nope": 1}
    reply = target.send("POST", f"{deployments}?dryRun=All", body)
    assert reply.code == 201
    assert reply.headers["Warning"] == '299 - "unknown field \\"nope\\""'
    assert "nope" not in reply.json
    ignored = target.send("POST", f"{deployments}?dryRun=All&fieldValidation=Ignore", body)
    assert ignored.code == 201 and "Warning" not in ignored.headers


def test_a_strict_patch(target: Target, deployments: str) -> None:
    target.ok("POST", deployments, scaled_down_deployment())
    path = f"{deployments}/web?fieldValidation=Strict"
    change = {"spec": {"nope": 1}}
    status = target.rejected(422, "PATCH", path, change, content_type=STRATEGIC)
    assert status["message"] == (
        ' "" is invalid: patch: Invalid value: "map[spec:map[nope:1]]": strict decoding error: '
        'unknown field "spec.nope"'
    )
    status = target.rejected(422, "PATCH", path, change, content_type=MERGE)
    assert status["message"].startswith(' "" is invalid: patch: Invalid value: "{')
    assert status["message"].endswith('": strict decoding error: unknown field "spec.nope"')


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("dryRun=Foo", 'dryRun: Unsupported value: ["Foo"]: supported values: "All"'),
        (
            "fieldValidation=Foo",
            'fieldValidation: Unsupported value: "Foo": supported values: "", "Ignore", "Strict", '
            '"Warn"',
        ),
        (
            f"fieldManager={'x' * 129}",
            "fieldManager: Too long: may not be more than 128 bytes",
        ),
    ],
)
def test_bad_options(target: Target, deployments: str, query: str, words: str) -> None:
    status = target.rejected(422, "POST", f"{deployments}?{query}", scaled_down_deployment())
    assert status["message"] == f'CreateOptions.meta.k8s.io "" is invalid: {words}'


APPLY_START = "failed to create typed patch object (/x; apps/v1, Kind=Deployment): "


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (spec_with(nope=1), ".spec.nope: field not declared in schema"),
        (
            container_with(foo=1),
            '.spec.template.spec.containers[name="c"].foo: field not declared in schema',
        ),
        (spec_with(replicas="a"), ".spec.replicas: expected numeric (int or float), got string"),
        (spec_with(paused="x"), ".spec.paused: expected boolean, got &{x}"),
        (spec_with(template=[]), ".spec.template: expected map, got &{[]}"),
        (
            spec_with(strategy={"type": 5}),
            ".spec.strategy.type: expected string, got &value.valueUnstructured{Value:5}",
        ),
        (
            pod_with(containers={"a": 1}),
            ".spec.template.spec.containers: expected list, got &{map[a:1]}",
        ),
        (
            pod_with(containers=[{"name": "c", "image": "i"}] * 2),
            '.spec.template.spec.containers: duplicate entries for key [name="c"]',
        ),
    ],
)
def test_apply_answers_500_to_what_does_not_fit(
    target: Target, deployments: str, body: Json, words: str
) -> None:
    path = f"{deployments}/x?fieldManager=contract"
    status = target.rejected(500, "PATCH", path, body, content_type=APPLY)
    assert status["message"] == APPLY_START + words
    assert "reason" not in status
