"""The time that the start-up probe allows, read from and written to probes of any origin."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.serving.objects import manifests
from servedeck.serving.objects.change import ObjectChange, change_objects, resolve_open_fields
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.spec.issues import errors
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.spec.validation import validate

Json = dict[str, Any]


def make_spec(**fields: Any) -> ServingSpec:
    values = {"name": "llm", "namespace": "p", "template": "vllm", "image": "vllm/vllm-openai:1"}
    return ServingSpec.model_validate({**values, "settings": {"model": "org/m"}, **fields})


def foreign(**server: Any) -> list[Json]:
    """A Deployment that servedeck did not create."""
    container = {"name": "server", "image": "ghcr.io/org/server:1", **server}
    labels = {"app": "llm"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "llm", "namespace": "p"},
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        }
    ]


def change(objects: list[Json], **fields: Any) -> ObjectChange:
    current = import_objects(objects)
    return change_objects(current, current.spec.replace(**fields))


def startup_of(change: ObjectChange) -> Json | None:
    container = change.changed[0]["spec"]["template"]["spec"]["containers"][0]
    found: Json | None = container.get("startupProbe")
    return found


def read_back(change: ObjectChange) -> int | None:
    return import_objects(list(change.changed)).spec.startup_seconds


@pytest.mark.parametrize(
    ("probe", "seconds"),
    [
        ({"httpGet": {"path": "/health", "port": 8000}}, 30),  # the API's defaults
        (
            {"httpGet": {"path": "/h", "port": 8000}, "periodSeconds": 5, "failureThreshold": 60},
            300,
        ),
        ({"tcpSocket": {"port": 8000}, "failureThreshold": 60, "initialDelaySeconds": 20}, 620),
        ({"exec": {"command": ["true"]}, "periodSeconds": 7}, 21),
        ({"grpc": {"port": 8000}, "periodSeconds": 1, "failureThreshold": 1}, 1),
        ({"httpGet": {}, "periodSeconds": "x", "failureThreshold": 2**40}, 30),
        ({}, None),
        ("none", None),
    ],
)
def test_it_is_read_from_any_probe(probe: Any, seconds: int | None) -> None:
    assert import_objects(foreign(startupProbe=probe)).spec.startup_seconds == seconds


def test_a_new_serving_has_half_an_hour_unless_it_says_otherwise() -> None:
    assert import_objects(manifests.build_manifests(make_spec())).spec.startup_seconds == 1800
    longer = manifests.build_manifests(make_spec(startup_seconds=7200))
    assert import_objects(longer).spec.startup_seconds == 7200
    assert longer[0]["spec"]["progressDeadlineSeconds"] == 9000
    off = manifests.build_manifests(make_spec(startup_seconds=0))
    assert import_objects(off).spec.startup_seconds == 0


PROBE = {"httpGet": {"path": "/up", "port": 9, "httpHeaders": []}, "timeoutSeconds": 3}


@pytest.mark.parametrize(
    ("probe", "seconds", "expected"),
    [
        # the period stays where it divides the time
        ({"periodSeconds": 15, "failureThreshold": 2}, 600, (15, 40, None)),
        ({"periodSeconds": 7, "failureThreshold": 2}, 600, (10, 60, None)),
        ({"periodSeconds": 7, "failureThreshold": 2}, 605, (5, 121, None)),
        ({"periodSeconds": 900, "failureThreshold": 2}, 600, (10, 60, None)),
        # the delay counts and stays, unless the time is shorter
        ({"initialDelaySeconds": 100}, 600, (10, 50, 100)),
        ({"initialDelaySeconds": 3}, 600, (1, 597, 3)),
        ({"initialDelaySeconds": 600}, 600, (10, 60, None)),
    ],
)
def test_a_change_keeps_the_rest_of_the_probe(
    probe: Json, seconds: int, expected: tuple[int, int, int | None]
) -> None:
    changed = change(foreign(startupProbe=PROBE | probe), startup_seconds=seconds)
    assert changed.issues == ()
    assert read_back(changed) == seconds
    found = startup_of(changed)
    assert found is not None
    numbers = [found.pop(key, None) for key in ("periodSeconds", "failureThreshold")]
    assert (*numbers, found.pop("initialDelaySeconds", None)) == expected
    assert found == PROBE
    assert "progressDeadlineSeconds" not in changed.changed[0]["spec"]  # it is somebody else's


@pytest.mark.parametrize(
    "action",
    [{"tcpSocket": {"port": 8000}}, {"exec": {"command": ["true"]}}, {"grpc": {"port": 8000}}],
)
def test_a_probe_stays_of_its_kind(action: Json) -> None:
    changed = change(foreign(startupProbe=action), startup_seconds=900)
    assert startup_of(changed) == {**action, "periodSeconds": 10, "failureThreshold": 90}
    assert startup_of(change(foreign(startupProbe=action), startup_seconds=0)) is None


def test_a_probe_is_added_on_the_endpoint() -> None:
    http = {"httpGet": {"path": "/ready", "port": 9000, "scheme": "HTTP"}}
    server = {"ports": [{"containerPort": 9000}], "readinessProbe": http}
    added = startup_of(change(foreign(**server), startup_seconds=900))
    assert added is not None
    assert added["httpGet"] == http["httpGet"]
    assert (added["periodSeconds"], added["failureThreshold"]) == (10, 90)
    both = server | {"livenessProbe": {"httpGet": {"path": "/live", "port": 9000}}}
    added = startup_of(change(foreign(**both), startup_seconds=900))
    assert added is not None
    assert added["httpGet"]["path"] == "/live"


def test_without_an_endpoint_there_is_one_sentence() -> None:
    spec = import_objects(foreign()).spec.replace(startup_seconds=900)
    (found,) = [one for one in errors(validate(spec)) if one.field == "startup_seconds"]
    assert found.message.startswith("The start-up probe needs an endpoint")


def test_an_unknown_port_is_asked_for() -> None:
    changed = change(foreign(), startup_seconds=900, readiness_path="/ready")
    assert [one.field for one in errors(changed.issues)] == ["startup_seconds", "readiness_path"]


def test_it_is_changed_and_taken_off_in_a_serving_of_servedeck() -> None:
    objects = manifests.build_manifests(make_spec())
    longer = change(objects, startup_seconds=7200)
    assert read_back(longer) == 7200
    assert longer.changed[0]["spec"]["progressDeadlineSeconds"] == 9000
    back = change(list(longer.changed), startup_seconds=600)
    assert back.changed[0]["spec"]["progressDeadlineSeconds"] == 3600
    off = change(objects, startup_seconds=0)
    assert (off.issues, startup_of(off)) == ((), None)
    assert change(list(off.changed), startup_seconds=0).changed_fields == ()
    assert read_back(change(list(off.changed), startup_seconds=600)) == 600


def test_a_long_deadline_of_others_stays() -> None:
    objects = manifests.build_manifests(make_spec())
    objects[0]["spec"]["progressDeadlineSeconds"] = 50_000
    changed = change(objects, startup_seconds=7200)
    assert changed.changed[0]["spec"]["progressDeadlineSeconds"] == 50_000


def test_a_probe_of_another_kind_is_no_reason_to_change_it_again() -> None:
    server = {"image": "vllm/vllm-openai:1", "args": ["org/m"]}
    objects = foreign(**server, livenessProbe={"tcpSocket": {"port": 8000}})
    assert change(objects, startup_seconds=0).changed_fields == ()


def test_what_a_document_leaves_open_stays() -> None:
    objects = manifests.build_manifests(make_spec(startup_seconds=600))
    assert change(objects, startup_seconds=None).changed_fields == ()
    off = manifests.build_manifests(make_spec(startup_seconds=0))
    assert change(off, startup_seconds=None).changed_fields == ()


def test_resolving_twice_is_resolving_once() -> None:
    without = make_spec(readiness_path="", liveness_path="")
    for spec in (make_spec(), make_spec(startup_seconds=0), without):
        current = import_objects(manifests.build_manifests(spec))
        for seconds in (0, 600, None):
            for path in ("", "/health"):
                wanted = current.spec.replace(startup_seconds=seconds, liveness_path=path)
                once = resolve_open_fields(current, wanted)
                assert resolve_open_fields(current, once) == once


def test_it_goes_with_the_last_endpoint_and_comes_with_the_first() -> None:
    objects = manifests.build_manifests(make_spec(startup_seconds=600))
    gone = change(objects, startup_seconds=None, readiness_path="", liveness_path="")
    assert (gone.issues, startup_of(gone)) == ((), None)
    again = change(list(gone.changed), liveness_path="/live")
    assert again.issues == ()
    assert "startup_seconds" in again.changed_fields
    assert read_back(again) == 1800
    assert read_back(change(list(gone.changed), liveness_path="/live", startup_seconds=0)) == 0


def test_the_first_endpoint_of_a_foreign_serving_brings_no_startup_probe() -> None:
    server = {"ports": [{"containerPort": 9000}]}
    changed = change(foreign(**server), readiness_path="/ready")
    assert changed.issues == ()
    assert startup_of(changed) is None


def test_a_startup_probe_without_one_is_warned_about() -> None:
    (found,) = validate(make_spec(startup_seconds=0, memory="64Gi", accelerator="nvidia.com/gpu"))
    assert (found.field, found.is_error) == ("startup_seconds", False)
