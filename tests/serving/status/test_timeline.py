"""How the entries of both sources are merged, and what is said about the status."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from servedeck.serving.status.status import Status
from servedeck.serving.status.timeline import (
    MAX_ENTRIES_PER_SERVING,
    StatusStart,
    TimelineEntry,
    TimelineKind,
    clock_text,
    merge_entries,
    since_text,
)
from servedeck.serving.status.timeline_texts import short_image, short_pod_name
from tests.serving.factories import NOW

ROLLOUT, STATUS, RESTART = TimelineKind.ROLLOUT, TimelineKind.STATUS, TimelineKind.RESTART


ERROR = Status.ERROR


def entry(
    kind: TimelineKind, text: str = "", *, observed: bool = True, **fields: Any
) -> TimelineEntry:
    parts = {name: fields.pop(name) for name in ("hours", "minutes", "seconds") if name in fields}
    return TimelineEntry(NOW - timedelta(**parts), kind, text, observed, **fields)


def status(new: Status, **fields: Any) -> TimelineEntry:
    return entry(STATUS, "", status=new, **fields)


def local(time: datetime) -> str:
    return time.astimezone().strftime("%H:%M:%S")


def test_entries_of_both_sources_are_in_the_order_of_time() -> None:
    merged = merge_entries(
        [entry(ROLLOUT, "b", minutes=8, observed=False)],
        [entry(RESTART, "c", minutes=1), entry(RESTART, "a", minutes=9)],
    )
    assert [one.text for one in merged] == ["a", "b", "c"]


def test_a_change_that_both_know_is_one_entry_with_the_time_of_the_objects() -> None:
    derived = entry(ROLLOUT, "derived", minutes=3, observed=False, identity=("rollout", "15"))
    observed = entry(ROLLOUT, "observed", minutes=2, identity=("rollout", "15"))
    (one,) = merge_entries([derived], [observed])
    assert (one.text, one.observed, one.time) == ("observed", True, derived.time)


def test_several_restarts_keep_their_times_and_replace_the_one_that_the_pod_tells() -> None:
    identity = ("restart", "pod", "main", "7")
    observed = entry(
        RESTART, minutes=9, count=3, last_time=NOW - timedelta(minutes=1), identity=identity
    )
    derived = entry(RESTART, minutes=1, observed=False, identity=identity)
    assert merge_entries([derived], [observed]) == (observed,)


def test_a_status_follows_from_the_other_changes_of_its_moment() -> None:
    merged = merge_entries([], [status(Status.ERROR), entry(RESTART), entry(ROLLOUT)])
    assert [one.kind for one in merged] == [ROLLOUT, RESTART, STATUS]


def test_the_oldest_entries_are_dropped() -> None:
    derived = [entry(RESTART, str(at), seconds=at, observed=False) for at in range(300)]
    merged = merge_entries(derived, ())
    assert len(merged) == MAX_ENTRIES_PER_SERVING
    assert merged[-1].text == "0"


def test_since_when_and_what_changed_just_before() -> None:
    entries = merge_entries(
        [],
        [
            status(Status.READY, hours=2),
            entry(ROLLOUT, "rollout to revision 15 (image v2)", minutes=12, seconds=40),
            status(Status.ERROR, minutes=12),
            entry(RESTART, "later", minutes=1),
        ],
    )
    when = local(NOW - timedelta(minutes=12))
    assert since_text(entries, ERROR, NOW) == (
        f"Error since {when} (12m); 40s before: rollout to revision 15 (image v2)"
    )


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ([entry(RESTART, "restart", minutes=13)], "60s before: restart"),
        (
            [
                entry(TimelineKind.SCALE, "scaled", minutes=14),
                entry(RESTART, "restart", minutes=12, seconds=1),
            ],
            "2m before: scaled",
        ),
        ([entry(TimelineKind.CONDITION, "condition", minutes=12)], "at the same time: condition"),
        ([entry(ROLLOUT, "long ago", minutes=28)], ""),
        ([entry(ROLLOUT, "after", minutes=11)], ""),
        ([status(Status.READY, minutes=13)], ""),
        (
            [
                entry(
                    RESTART,
                    "restarts",
                    minutes=40,
                    count=5,
                    last_time=NOW - timedelta(minutes=10),
                )
            ],
            "at the same time: restarts",
        ),
    ],
)
def test_the_likely_cause(changes: list[TimelineEntry], cause: str) -> None:
    entries = merge_entries([], [*changes, status(Status.ERROR, minutes=12)])
    _since, _, rest = since_text(entries, ERROR, NOW).partition("; ")
    assert rest == cause


def test_a_status_from_before_servedeck_saw_it() -> None:
    first = status(Status.ERROR, minutes=5, is_first_status=True)
    created = entry(ROLLOUT, "rollout to revision 3", hours=1, observed=False)
    when = local(NOW - timedelta(minutes=5))
    text = f"Error when servedeck saw it first, {when} (5m)"
    assert since_text([first], ERROR, NOW) == text
    assert since_text([created, first], ERROR, NOW) == (
        f"{text}; last change before: rollout to revision 3, {local(created.time)}"
    )


UNAVAILABLE = StatusStart("too few replicas are available", NOW - timedelta(minutes=30))


def test_since_when_a_status_is_that_servedeck_did_not_see_begin() -> None:
    first = status(Status.ERROR, minutes=5, is_first_status=True)
    since = f"Error; too few replicas are available since {local(UNAVAILABLE.time)} (30m)"
    assert since_text([first], ERROR, NOW, UNAVAILABLE) == since
    created = entry(ROLLOUT, "created", minutes=50, observed=False)
    assert since_text([created, first], ERROR, NOW, UNAVAILABLE) == (
        f"{since}; last change before: created, {local(created.time)}"
    )
    rollout = entry(ROLLOUT, "rollout to revision 3", minutes=32, observed=False)
    assert since_text([created, rollout, first], ERROR, NOW, UNAVAILABLE) == (
        f"{since}; 2m before: rollout to revision 3"
    )


def test_what_follows_from_a_change_is_no_change_before_it() -> None:
    """A restart after the serving became unavailable, the condition that says so, the end of the
    rollout."""
    first = status(Status.ERROR, minutes=5, is_first_status=True)
    created = entry(ROLLOUT, "created", minutes=50, observed=False)
    later = [
        entry(RESTART, "inference-server restarted", minutes=10, observed=False),
        entry(TimelineKind.CONDITION, UNAVAILABLE.text, minutes=30, observed=False),
        entry(ROLLOUT, "finished", minutes=40, observed=False, identity=("finished", "1")),
    ]
    since = f"Error; too few replicas are available since {local(UNAVAILABLE.time)} (30m)"
    assert since_text([*later, first], ERROR, NOW, UNAVAILABLE) == since
    assert since_text(merge_entries([created, *later], [first]), ERROR, NOW, UNAVAILABLE) == (
        f"{since}; last change before: created, {local(created.time)}"
    )


def test_a_rollout_of_one_second_begins_before_it_ends() -> None:
    end = entry(ROLLOUT, "finished", minutes=40, observed=False, identity=("finished", "2"))
    identity = ("revision", "2")
    begin = entry(ROLLOUT, "to revision 2", minutes=40, observed=False, identity=identity)
    assert merge_entries([end, begin], []) == (begin, end)


def test_a_status_that_servedeck_saw_begin_does_not_need_the_objects() -> None:
    entries = [status(Status.READY, hours=2, is_first_status=True), status(ERROR, minutes=12)]
    assert since_text(entries, ERROR, NOW, UNAVAILABLE) == (
        f"Error since {local(NOW - timedelta(minutes=12))} (12m)"
    )


@pytest.mark.parametrize(
    ("start", "text"),
    [
        (
            StatusStart("0 replicas", NOW, manager="kubectl"),
            "0 replicas since {} (0s), set by kubectl",
        ),
        (
            StatusStart("0 replicas", NOW, may_be_older=True, manager="helm"),
            "0 replicas since {} (0s) or before, set by helm",
        ),
        (StatusStart("0 replicas", NOW), "0 replicas since {} (0s)"),
    ],
)
def test_who_changed_it_and_that_it_may_be_older(start: StatusStart, text: str) -> None:
    first = status(Status.SCALED_DOWN, minutes=5, is_first_status=True)
    found = since_text([first], Status.SCALED_DOWN, NOW, start)
    assert found == f"Scaled Down; {text.format(local(NOW))}"


def test_nothing_is_said_about_a_status_that_is_not_recorded() -> None:
    assert since_text([], ERROR, NOW) == ""
    assert since_text([status(Status.READY)], ERROR, NOW) == ""


def test_the_time_of_another_day_has_its_date() -> None:
    yesterday = NOW - timedelta(days=1)
    assert clock_text(NOW, NOW) == local(NOW)
    assert clock_text(yesterday, NOW) == yesterday.astimezone().strftime("%b %d %H:%M:%S")


@pytest.mark.parametrize(
    ("image", "previous", "short"),
    [
        ("vllm/vllm-openai:v2", "vllm/vllm-openai:v1", "v2"),
        ("vllm/vllm-openai:v2", "", "v2"),
        ("registry:5000/vllm/server:v2", "registry:5000/vllm/server:v1", "v2"),
        ("ghcr.io/x/other:v2", "vllm/vllm-openai:v1", "other:v2"),
        ("registry:5000/server", "vllm/vllm-openai:v1", "server"),
        (f"vllm/server@sha256:{'ab' * 32}", "vllm/server:v1", "abababababab"),
        (f"x/other:v2@sha256:{'ab' * 32}", "vllm/server:v1", "other@abababababab"),
    ],
)
def test_images_in_a_few_words(image: str, previous: str, short: str) -> None:
    assert short_image(image, previous) == short


def test_names_of_pods() -> None:
    assert short_pod_name("chat-6b8f-9qk2x", "chat") == "…6b8f-9qk2x"
    assert short_pod_name("other-6b8f-9qk2x", "chat") == "other-6b8f-9qk2x"
