"""The limits of an async queue: what is typed, what is shown, and what does not go together."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from servedeck.serving.async_limit_checks import check_limits
from servedeck.serving.async_limits import (
    DEFAULTS,
    GATEWAY_MEMORY,
    GIB,
    LARGEST_STORED,
    LIMITS,
    MIB,
    AsyncQueueSettings,
    Limit,
    LimitKind,
    limit_changes,
    summarize_limits,
)
from servedeck.serving.objects.async_gateway import AsyncPlatform, build_async_gateway
from servedeck.serving.quantity import format_quantity

NAMES = list(LIMITS)


def settings(**values: Any) -> AsyncQueueSettings:
    return replace(DEFAULTS, **values)


def messages(found: AsyncQueueSettings, *changed: str, **more: bool) -> list[tuple[str, bool, str]]:
    issues = check_limits(found, changed or None, **more)
    return [(one.field, one.is_error, one.message) for one in issues]


def test_each_setting_is_described_once() -> None:
    assert sorted(NAMES) == sorted(one.name for one in fields(AsyncQueueSettings))
    assert all(len(one.short_label) <= 11 for one in LIMITS.values())
    for get in (lambda one: one.label, lambda one: one.short_label, lambda one: one.option):
        assert len({get(one) for one in LIMITS.values()}) == len(LIMITS)
    assert LIMITS["max_body_bytes"].option == "--max-body"
    assert LIMITS["keep_failed"].option == "--keep-failed"


@pytest.mark.parametrize("name", NAMES)
@given(st.data())
def test_what_is_shown_can_be_typed(name: str, data: st.DataObject) -> None:
    limit = LIMITS[name]
    value = data.draw(st.integers(limit.least, limit.most))
    text = limit.format(value)
    assert limit.parse(text) == value
    assert limit.parse(f" {text} ") == value
    if limit.kind is LimitKind.SIZE:
        assert text == format_quantity(value, binary=True)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("max_depth", 1000, "1000"),
        ("lifetime", 6 * 3600.0, "6h"),
        ("attempt_timeout", 900.0, "15m"),
        ("attempt_timeout", 90.0, "90s"),
        ("attempt_timeout", 5400, "1h30m"),
        ("attempt_timeout", 0.5, "0.5s"),
        ("keep_completed", 86400.0, "24h"),
        ("keep_failed", 7 * 86400.0, "7d"),
        ("max_body_bytes", 8 << 20, "8Mi"),
        ("max_body_bytes", 1000, "1000"),
        ("max_body_bytes", 1 << 30, "1Gi"),
        ("max_depth", 10.5, "10.5"),
    ],
)
def test_texts(name: str, value: float, text: str) -> None:
    assert LIMITS[name].format(value) == text


def test_what_was_typed_is_stored_as_a_whole_number() -> None:
    assert [repr(LIMITS["keep_completed"].parse(one)) for one in ("2d", "90s")] == ["172800", "90"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("max_attempts", "0", "Max Attempts must be from 1 to 100, not 0"),
        ("max_attempts", "-1", "Max Attempts must be from 1 to 100, not -1"),
        ("max_attempts", "101", "Max Attempts must be from 1 to 100, not 101"),
        ("max_attempts", "many", "'many' is not a whole number: enter one such as 3"),
        ("max_attempts", "1.5", "'1.5' is not a whole number: enter one such as 3"),
        ("max_attempts", "9" * 500, f"'{'9' * 40}' is not a whole number: enter one such as 3"),
        ("max_depth", "", "'' is not a whole number: enter one such as 1000"),
        ("pod_concurrency", "٣", "'٣' is not a whole number: enter one such as 4"),
        ("lifetime", "soon", "'soon' is not a duration: enter one such as 90s, 10m or 1h30m"),
        ("lifetime", "0h", "'0h' is zero: enter a duration such as 90s, 10m or 1h30m"),
        ("lifetime", "367d", "Task Lifetime must be from 1s to 366d, not 367d"),
        ("lifetime", "9" * 9, f"Task Lifetime must be from 1s to 366d, not {'9' * 9}"),
        *(
            (
                "lifetime",
                "9" * count,
                f"'{'9' * 40}' is not a duration: enter one such as 90s, 10m or 1h30m",
            )
            for count in (500, 5000)
        ),
        ("max_body_bytes", "2Gi", "Max Request Size must be from 1 to 1Gi, not 2Gi"),
        ("max_body_bytes", "-8Mi", "Max Request Size must be from 1 to 1Gi, not -8Mi"),
        (
            "max_result_bytes",
            "big",
            "'big' is not a quantity: enter a number such as 512Ki, 8Mi or 1Gi",
        ),
    ],
)
def test_what_cannot_be_used(name: str, text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        LIMITS[name].parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("limit", LIMITS.values(), ids=NAMES)
@given(text=st.text(max_size=50) | st.text("0123456789dhmsKi.e-", max_size=6000))
@example("9" * 5000)
@example("9" * 5000 + "s")
def test_whatever_is_typed_is_a_value_or_one_sentence(limit: Limit, text: str) -> None:
    try:
        found = limit.parse(text)
    except ValueError as error:
        assert str(error) and "set_int_max_str_digits" not in str(error)
    else:
        assert limit.least <= found <= limit.most


def test_the_changes_are_those_that_differ() -> None:
    assert [one.name for one in limit_changes(None, DEFAULTS)] == NAMES
    assert limit_changes(DEFAULTS, DEFAULTS) == ()
    assert limit_changes(DEFAULTS, settings(max_depth=5)) == (("max_depth", 1000, 5),)


def test_all_limits_in_one_line() -> None:
    assert summarize_limits(settings(max_depth=50)) == (
        "4 per Pod, 50 waiting, 3 × 15m in 6h, kept 24h, failed 7d, request 8Mi, response 16Mi"
    )


# -- what does not go together --------------------------------------------------------------------


def test_the_defaults_are_right() -> None:
    assert messages(DEFAULTS) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_value_out_of_range_is_an_error(name: str) -> None:
    limit = LIMITS[name]
    for value in (limit.least - 1, limit.most + 1):
        found = settings(**{name: value})
        text = f"{limit.label} must be from {limit.range_text}, not {limit.format(value)}."
        assert messages(found, name) == [(name, True, text)]
        assert messages(found) == [(name, True, text)]
        other = "max_depth" if name != "max_depth" else "lifetime"
        assert messages(found, other) == [(name, False, text)]


def test_a_lifetime_shorter_than_an_attempt() -> None:
    found = settings(lifetime=300.0)
    text = (
        "Task Lifetime (5m) is shorter than Attempt Timeout (15m): a task would expire in its first"
        " attempt; make it longer, or the timeout shorter."
    )
    assert messages(found, "lifetime") == [("lifetime", True, text)]
    assert messages(found, "attempt_timeout") == [("attempt_timeout", True, text)]
    assert messages(found) == [("lifetime", True, text)]
    # It was so before: another limit can be changed.
    assert messages(found, "max_depth") == [("lifetime", False, text)]


@pytest.mark.parametrize(
    ("wrong", "changed", "field"),
    [
        ({"max_depth": 0, "lifetime": 10.0}, "lifetime", "lifetime"),
        ({"keep_failed": 0, "attempt_timeout": 1e6}, "attempt_timeout", "attempt_timeout"),
        ({"lifetime": 0, "max_body_bytes": GIB}, "max_body_bytes", "max_body_bytes"),
        ({"max_result_bytes": 0, "max_body_bytes": GIB}, "max_body_bytes", "max_body_bytes"),
        ({"max_attempts": 0, "lifetime": 10.0}, "lifetime", "lifetime"),
    ],
)
def test_another_limit_out_of_range_hides_no_error(
    wrong: dict[str, Any], changed: str, field: str
) -> None:
    first, *others = messages(settings(**wrong), changed)
    assert first[:2] == (field, True)
    assert [one[1] for one in others].count(True) == 0 and others


def test_what_is_out_of_range_is_not_compared() -> None:
    found = settings(lifetime=0, max_attempts=0, max_result_bytes=0, keep_failed=0)
    assert len(messages(found)) == 4
    assert [one[0] for one in messages(settings(max_result_bytes=2 * GIB))] == ["max_result_bytes"]


@pytest.mark.parametrize("name", ["max_body_bytes", "max_result_bytes"])
def test_a_size_without_its_unit_is_warned_of(name: str) -> None:
    [(field, is_error, text)] = messages(settings(**{name: 8}), name)
    assert (field, is_error) == (name, False)
    assert text == (
        f"{LIMITS[name].label} is 8 bytes, which most bodies are longer than: "
        f"{LIMITS[name].meaning}. Sizes have a unit, as in "
        f"{LIMITS[name].format(LIMITS[name].default)}."
    )
    assert messages(settings(**{name: 8}), "max_depth") == []
    assert messages(settings(**{name: 1024}), name) == []


def test_attempts_that_do_not_fit_into_the_lifetime() -> None:
    found = settings(max_attempts=30)
    [(field, is_error, text)] = messages(found, "max_attempts")
    assert (field, is_error) == ("max_attempts", False)
    assert text.startswith(
        "30 attempts of Attempt Timeout (15m) do not fit into Task Lifetime (6h)"
    )
    assert messages(settings(max_attempts=24), "max_attempts") == []
    assert messages(found, "max_depth") == []


@pytest.mark.parametrize("name", ["max_body_bytes", "max_result_bytes"])
def test_a_body_that_the_store_does_not_take(name: str) -> None:
    found = settings(**{name: LARGEST_STORED + 1})
    first, *_ = messages(found, name)
    assert first[:2] == (name, True)
    assert "enter at most 511Mi, or set objects" in first[2]
    assert not any(is_error for _, is_error, _ in messages(found, name, has_objects=True))
    assert messages(found, "max_depth")[0][:2] == (name, False)
    assert not any(is_error for _, is_error, _ in messages(settings(**{name: LARGEST_STORED})))


def test_bodies_that_take_the_memory_of_the_gateway() -> None:
    assert messages(settings(max_result_bytes=64 * MIB)) == []
    [(field, is_error, text)] = messages(settings(max_result_bytes=65 * MIB), "max_result_bytes")
    assert (field, is_error) == ("max_result_bytes", False)
    assert "may need 258Mi of memory, and is killed at 256Mi" in text
    both = settings(max_body_bytes=GIB, max_result_bytes=GIB)
    assert messages(both, "max_depth", has_objects=True) == []


def test_the_memory_is_that_of_the_gateways_containers() -> None:
    objects = build_async_gateway("a", "b", AsyncPlatform(image="", store=""), DEFAULTS)
    [deployment] = [one for one in objects if one["kind"] == "Deployment"]
    for one in deployment["spec"]["template"]["spec"]["containers"]:
        assert one["resources"]["limits"]["memory"] == format_quantity(GATEWAY_MEMORY, binary=True)


@pytest.mark.parametrize("name", ["keep_completed", "keep_failed"])
def test_tasks_that_are_gone_at_once(name: str) -> None:
    [(field, is_error, text)] = messages(settings(**{name: 30.0}), name)
    assert (field, is_error) == (name, False) and "(30s) is short" in text
    assert messages(settings(**{name: 60.0}), name) == []
