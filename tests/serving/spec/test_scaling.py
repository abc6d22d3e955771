"""Auto scaling, load balancing and the temperature policy in a spec: values, defaults, and what is
wrong with bad ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.spec import validation
from servedeck.serving.spec.document import from_yaml, to_yaml
from servedeck.serving.spec.issues import Severity
from servedeck.serving.spec.load_balancing import LOAD_BALANCING_FIELDS
from servedeck.serving.spec.scaling import (
    FIELDS_WHILE_ON,
    SCALING_FIELDS,
    TARGET_FIELDS,
    TRIGGERS,
    applies,
    field_default,
)
from servedeck.serving.spec.spec import ServingSpec, parse_spec
from servedeck.serving.spec.temperature_policy import DEFAULTS, TEMPERATURE_FIELDS

BASE: dict[str, Any] = {
    "name": "llama",
    "namespace": "chat",
    "template": "vllm",
    "image": "vllm/vllm-openai:v0.33.0",
    "cpu": "1",
    "memory": "16Gi",
    "accelerator": "nvidia.com/gpu",
    "settings": {"model": "org/m"},
}
ON = {"auto_scaling": "response-time"}
HOT = {"temperature_policy": "on"}


def issues_of(**fields: Any) -> list[tuple[str, str, str]]:
    """Severity, field and message of everything wrong with these fields of a new serving."""
    spec, unreadable = parse_spec({**BASE, **fields})
    found = unreadable if spec is None else validation.validate(spec)
    return [(str(one.severity), one.field, one.message) for one in found]


def test_the_serving_without_settings_is_valid() -> None:
    assert issues_of() == []


# -- values and defaults ------------------------------------------------------------------------


def test_auto_scaling_is_off_and_its_fields_are_not_set() -> None:
    spec = ServingSpec(**BASE)
    assert [getattr(spec, one) for one in SCALING_FIELDS] == ["off", *[None] * 5]


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_what_is_turned_on_without_more_has_the_defaults_of_the_console(trigger: str) -> None:
    spec = ServingSpec(**BASE, auto_scaling=trigger)
    assert (spec.min_replicas, spec.max_replicas, spec.scale_in_delay) == (1, 10, 60)
    targets = (spec.target_response_time, spec.target_waiting)
    assert targets == {"response-time": (5000, None), "waiting-requests": (None, 2)}[trigger]


def test_the_fields_of_a_setting_that_is_off_are_dropped() -> None:
    fields = dict.fromkeys((*FIELDS_WHILE_ON, "target_response_time", "target_waiting"), 7)
    spec = ServingSpec(**BASE, auto_scaling="off", **fields)
    assert {getattr(spec, one) for one in fields} == {None}
    assert ServingSpec(**BASE, load_balancing_header="X-A").load_balancing_header == ""
    assert ServingSpec(**BASE, temperature_threshold=80).temperature_threshold is None


@pytest.mark.parametrize("kind", ["hpa", "custom"])
def test_an_autoscaler_of_others_has_limits_and_no_target(kind: str) -> None:
    spec = ServingSpec(**BASE, auto_scaling=kind, target_response_time=9, target_waiting=9)
    assert (spec.min_replicas, spec.max_replicas, spec.scale_in_delay) == (1, 10, 60)
    assert (spec.target_response_time, spec.target_waiting) == (None, None)


def test_the_temperature_policy_has_the_defaults_of_its_controller() -> None:
    spec = ServingSpec(**BASE, **HOT)
    found = (spec.temperature_threshold, spec.temperature_recovery, spec.temperature_seconds)
    assert found == (85, 75, 60)


@pytest.mark.parametrize(
    ("raw", "value"),
    [("", "off"), (None, "off"), (False, "off"), (" OFF ", "off"), ("Response-Time", TRIGGERS[0])],
)
def test_off_has_many_spellings_in_yaml(raw: object, value: str) -> None:
    assert ServingSpec(**BASE, auto_scaling=raw).auto_scaling == value
    if value == "off":
        assert ServingSpec(**BASE, load_balancing=raw).load_balancing == "off"


@pytest.mark.parametrize(
    ("raw", "value"),
    [(None, "off"), ("", "off"), (False, "off"), ("off", "off"), (True, "on"), ("yes", "on")],
)
def test_the_temperature_policy_is_on_or_off(raw: object, value: str) -> None:
    assert ServingSpec(**BASE, temperature_policy=raw).temperature_policy == value


@given(st.sampled_from(SCALING_FIELDS[1:]), st.sampled_from(["off", *TRIGGERS, "hpa", "custom"]))
def test_a_field_applies_exactly_where_it_has_a_default(name: str, kind: str) -> None:
    spec = ServingSpec(**BASE, auto_scaling=kind, **{name: 3})
    assert getattr(spec, name) == (3 if applies(name, kind) else None)
    assert getattr(ServingSpec(**BASE, auto_scaling=kind), name) == field_default(name, kind)


@given(
    st.fixed_dictionaries(
        {
            "auto_scaling": st.sampled_from(["off", *TRIGGERS]),
            "max_replicas": st.integers(1, 50),
            "load_balancing": st.sampled_from(["off", "random", "header"]),
            "load_balancing_header": st.just("X-Session-Id"),
            "temperature_policy": st.sampled_from(["off", "on"]),
            "temperature_seconds": st.integers(0, 86_400),
        }
    )
)
def test_a_document_keeps_the_settings(fields: dict[str, Any]) -> None:
    spec = ServingSpec(**BASE, **fields)
    text = to_yaml(spec)
    read = from_yaml(text)
    for name in (*SCALING_FIELDS, *LOAD_BALANCING_FIELDS, *TEMPERATURE_FIELDS):
        assert getattr(read, name) == getattr(spec, name), text


# -- what is wrong ------------------------------------------------------------------------------

CHOOSE = "choose off, response-time or waiting-requests."
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"auto_scaling": "p95"}, "auto_scaling", f"'p95' is no auto scaling; {CHOOSE}"),
    ({"auto_scaling": True}, "auto_scaling", f"'on' is no auto scaling; {CHOOSE}"),
    (
        {"auto_scaling": "hpa"},
        "auto_scaling",
        "A new serving cannot have the auto scaling 'hpa', whose metrics servedeck does not know; "
        f"{CHOOSE}",
    ),
    (
        {**ON, "min_replicas": "two"},
        "min_replicas",
        "'two' is not a whole number; enter a value such as 1.",
    ),
    (
        {**ON, "min_replicas": 1.5},
        "min_replicas",
        "1.5 is not a whole number; enter a value such as 1.",
    ),
    (
        {**ON, "min_replicas": -1},
        "min_replicas",
        "Min Replicas must be 0 or more; enter a value such as 1.",
    ),
    (
        {**ON, "min_replicas": 2**31},
        "min_replicas",
        "Min Replicas must be 0 or more; enter a value such as 1.",
    ),
    (
        {**ON, "min_replicas": 5, "max_replicas": 2},
        "min_replicas",
        "Min Replicas (5) is more than Max Replicas (2); lower it, or raise Max Replicas.",
    ),
    (
        {**ON, "max_replicas": 0},
        "max_replicas",
        "Max Replicas must be 1 or more; enter a value such as 10.",
    ),
    (
        {**ON, "scale_in_delay": 3601},
        "scale_in_delay",
        "Scale-in Delay must be from 0 to 3600 seconds; enter a value such as 60.",
    ),
    (
        {**ON, "target_response_time": 0},
        "target_response_time",
        "Target Response Time must be from 1 to 3,600,000 ms; enter a value such as 5000.",
    ),
    (
        {"auto_scaling": "waiting-requests", "target_waiting": 0},
        "target_waiting",
        "Target Waiting Requests must be from 1 to 100,000; enter a value such as 2.",
    ),
    (
        {"load_balancing": "sticky"},
        "load_balancing",
        "'sticky' is no load balancing; choose off, round-robin, least-requests, random, header or "
        "prefix-aware.",
    ),
    (
        {"load_balancing": "custom"},
        "load_balancing",
        "A new serving cannot have the load balancing 'custom', which servedeck does not know; "
        "choose off, round-robin, least-requests, random, header or prefix-aware.",
    ),
    (
        {"load_balancing": "header"},
        "load_balancing_header",
        "The header of the session affinity is missing; enter a name such as X-Session-Id.",
    ),
    *(
        (
            {"load_balancing": "header", "load_balancing_header": name},
            "load_balancing_header",
            "HTTP does not allow this name of a header; use letters, digits and hyphens, such as "
            "X-Session-Id.",
        )
        for name in ("X Session", "X:Y", "Ä", "a" * 257)
    ),
    (
        {"temperature_policy": "maybe"},
        "temperature_policy",
        "'maybe' is neither on nor off; enter one of them.",
    ),
    (
        {**HOT, "temperature_threshold": 151},
        "temperature_threshold",
        "The threshold must be from 1 to 150 °C; enter a value such as 85.",
    ),
    (
        {**HOT, "temperature_recovery": 85},
        "temperature_recovery",
        "The recovery must be from 0 °C to less than the threshold (85 °C); enter a value such as "
        "75.",
    ),
    (
        {**HOT, "temperature_seconds": 86_401},
        "temperature_seconds",
        "The shortest time must be from 0 to 86,400 seconds; enter a value such as 60.",
    ),
    (
        {"max_replicas": 3},
        "max_replicas",
        "This needs autoScaling beside it; add it, or remove this.",
    ),
    (
        {"load_balancing_header": "X-A"},
        "load_balancing_header",
        "This needs loadBalancing beside it; add it, or remove this.",
    ),
    (
        {"temperature_threshold": 80},
        "temperature_threshold",
        "This needs temperaturePolicy beside it; add it, or remove this.",
    ),
]


@pytest.mark.parametrize(("fields", "field", "message"), WRONG)
def test_a_bad_value_gets_one_sentence_at_its_field(
    fields: dict[str, Any], field: str, message: str
) -> None:
    assert issues_of(**fields) == [("error", field, message)]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({**ON, "scale_in_delay": 0}, "scale_in_delay"),
        ({**HOT, "temperature_threshold": 40, "temperature_recovery": 30}, "temperature_threshold"),
    ],
)
def test_a_value_that_works_badly_is_a_warning(fields: dict[str, Any], field: str) -> None:
    assert [one[:2] for one in issues_of(**fields)] == [(str(Severity.WARNING), field)]


@pytest.mark.parametrize(
    "fields",
    [
        {**ON, "min_replicas": 0, "max_replicas": 1, "scale_in_delay": 3600},
        {**ON, "min_replicas": 10, "max_replicas": 10, "target_response_time": 1},
        {**HOT, "temperature_threshold": 150, "temperature_recovery": 0, "temperature_seconds": 0},
        {"load_balancing": "header", "load_balancing_header": "x-session.id_1~!#$%&'*+^`|"},
    ],
)
def test_the_limits_themselves_are_allowed(fields: dict[str, Any]) -> None:
    assert issues_of(**fields) == []


def test_every_default_is_valid() -> None:
    assert {*TARGET_FIELDS} == {*TRIGGERS}
    assert {*DEFAULTS} < {*TEMPERATURE_FIELDS}
    for trigger in TRIGGERS:
        assert issues_of(auto_scaling=trigger, **HOT, load_balancing="random") == []
