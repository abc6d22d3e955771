"""The endpoint of the start-up probe: its own, or that of the probe that it protects."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.changes.draft import Draft
from servedeck.changes.form_fields import visible_fields
from servedeck.serving.edit.assignments import assign, parse_assignment
from servedeck.serving.objects import manifests
from servedeck.serving.objects.change import change_objects, resolve_open_fields
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.spec.document import from_yaml, to_yaml
from servedeck.serving.spec.issues import errors
from servedeck.serving.spec.spec import Section, ServingSpec
from servedeck.serving.spec.validation import validate
from tests.serving.spec.test_startup_time import Json, change, foreign, make_spec, startup_of


def http(path: str, **more: Any) -> Json:
    return {"httpGet": {"path": path, "port": 8000, "scheme": "HTTP"}, **more}


ALONE = foreign(startupProbe=http("/startup", periodSeconds=10, failureThreshold=60))


def built_startup(spec: ServingSpec) -> Any:
    container = manifests.build_manifests(spec)[0]["spec"]["template"]["spec"]["containers"][0]
    return container.get("startupProbe")


def valid(spec: ServingSpec) -> ServingSpec:
    assert errors(validate(spec)) == []
    return spec


@pytest.mark.parametrize(
    ("server", "path"),
    [
        ({}, ""),
        ({"startupProbe": http("/startup")}, "/startup"),
        ({"startupProbe": http("/startup"), "livenessProbe": http("/health")}, "/startup"),
        ({"startupProbe": http("/health"), "livenessProbe": http("/health")}, ""),
        ({"startupProbe": http("/health"), "readinessProbe": http("/health")}, ""),
        # It protects the liveness probe before the readiness probe.
        (
            {
                "startupProbe": http("/ready"),
                "livenessProbe": http("/health"),
                "readinessProbe": http("/ready"),
            },
            "/ready",
        ),
        ({"startupProbe": {"tcpSocket": {"port": 8000}}, "livenessProbe": http("/health")}, ""),
    ],
)
def test_it_is_its_own_where_it_is_no_other_one(server: Json, path: str) -> None:
    assert import_objects(foreign(**server)).spec.startup_path == path


def test_a_probe_alone_is_carried_into_a_new_serving() -> None:
    spec = import_objects(ALONE).spec
    assert (spec.startup_path, spec.startup_seconds) == ("/startup", 600)
    assert (spec.effective_readiness_path, spec.effective_liveness_path) == ("", "")
    again = from_yaml(to_yaml(spec))
    assert again == spec
    assert "startupPath: /startup" in to_yaml(spec)
    probe = built_startup(valid(again.replace(inference_port=8000, cpu="1", memory="1Gi")))
    assert probe["httpGet"]["path"] == "/startup"
    assert probe["periodSeconds"] * probe["failureThreshold"] == 600


def test_a_clone_has_it_in_its_form() -> None:
    draft = Draft.from_spec(import_objects(ALONE).spec)
    names = [one.name for one in visible_fields(Section.ADVANCED, draft.texts)]
    assert draft.texts["startup_path"] == "/startup"
    assert "startup_path" in names
    assert "startup_path" not in Draft.from_serving(make_spec()).texts


def test_a_new_serving_has_that_of_its_other_probes() -> None:
    assert built_startup(make_spec())["httpGet"]["path"] == "/health"
    own = valid(make_spec(startup_path="/startup", cpu="1", memory="1Gi"))
    assert built_startup(own)["httpGet"]["path"] == "/startup"
    assert import_objects(manifests.build_manifests(own)).spec.startup_path == "/startup"
    assert make_spec(startup_path="/health").startup_path == ""


def test_it_stays_when_another_probe_changes_and_follows_it_where_it_has_none_of_its_own() -> None:
    server = {"livenessProbe": http("/health")}
    own = change(foreign(**server, startupProbe=http("/startup")), liveness_path="/alive")
    assert startup_of(own) == http("/startup")
    followed = change(foreign(**server, startupProbe=http("/health")), liveness_path="/alive")
    assert startup_of(followed) == http("/alive")


def test_it_is_changed_and_cleared() -> None:
    both = foreign(startupProbe=http("/startup"), livenessProbe=http("/health"))
    changed = change(both, startup_path="/up")
    assert (changed.issues, startup_of(changed)) == ((), http("/up"))
    cleared = change(both, startup_path="")
    assert (cleared.issues, startup_of(cleared)) == ((), http("/health"))
    current = import_objects(both)
    wanted, _ = assign(current.spec, [parse_assignment("startupPath=")])
    assert wanted is not None
    assert startup_of(change_objects(current, wanted)) == http("/health")


def test_a_probe_of_another_kind_gets_it() -> None:
    probe = {"tcpSocket": {"port": 8000}, "periodSeconds": 10, "failureThreshold": 90}
    unknown = change(foreign(startupProbe=probe), startup_path="/up")
    [issue] = errors(unknown.issues)
    assert issue.field == "startup_path" and "port of this server is unknown" in issue.message
    server = {"startupProbe": probe, "ports": [{"containerPort": 8000}]}
    changed = change(foreign(**server), startup_path="/up")
    [replaced] = changed.issues
    assert "It replaces the probe that is there, TCP port 8000" in replaced.message
    found = startup_of(changed)
    assert found is not None
    assert found["httpGet"]["path"] == "/up"
    assert "tcpSocket" not in found
    assert (found["periodSeconds"], found["failureThreshold"]) == (10, 90)


def test_a_file_without_it_leaves_it_as_it_is() -> None:
    current = import_objects(ALONE)
    text = to_yaml(current.spec).replace("  startupPath: /startup\n", "")
    wanted = resolve_open_fields(current, from_yaml(text))
    assert wanted.startup_path == "/startup"
    assert change_objects(current, from_yaml(text)).changed_fields == ()


def test_without_a_start_up_time_there_is_none() -> None:
    removed = change(ALONE, startup_seconds=0)
    assert (removed.issues, startup_of(removed)) == ((), None)
    spec = make_spec(startup_path="/up", startup_seconds=0, cpu="1", memory="1Gi")
    [issue] = errors(validate(spec))
    assert (issue.field, issue.message.startswith("Without a Start-up Time")) == (
        "startup_path",
        True,
    )


@pytest.mark.parametrize("path", ["up", "/a b"])
def test_it_is_a_path(path: str) -> None:
    [issue] = errors(validate(make_spec(startup_path=path, cpu="1", memory="1Gi")))
    assert issue.field == "startup_path"


def test_a_time_without_any_endpoint_is_still_an_error() -> None:
    spec = make_spec(template="custom", settings={}, startup_seconds=600, cpu="1", memory="1Gi")
    assert "startup_seconds" in [one.field for one in errors(validate(spec))]
