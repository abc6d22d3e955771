from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from servedeck.fleet.serving_pods import MAX_SINGLE_MOVES, OwnedPods, ServingPods
from servedeck.serving.objects.records import Event, Pod
from tests.fleet.factories import (
    PENDING_STATUS,
    START,
    crashing_status,
    event,
    pod,
    ready_status,
)

NOW = START + timedelta(hours=1)
STATUSES = (
    ready_status(),
    ready_status(3),
    crashing_status(),
    crashing_status(NOW, waiting=False),
    PENDING_STATUS,
)
MANY = 2 * MAX_SINGLE_MOVES
"""So many Pods that changes of a few and changes of many take different ways."""

UIDS = tuple(f"p-{number}" for number in range(MANY))
changes = st.dictionaries(
    st.sampled_from(UIDS), st.sampled_from((None, *range(len(STATUSES)))), max_size=MANY
)
"""The new status of some Pods; None deletes one."""


def shown(pods: ServingPods) -> tuple[object, ...]:
    others = sorted((pod.metadata.uid, diagnosis) for pod, diagnosis in pods.not_serving)
    return pods.views, pods.restart_count, pods.serving_count, others, pods.reevaluate_at


@given(
    st.lists(
        st.tuples(
            st.one_of(changes, st.dictionaries(st.sampled_from(UIDS), st.just(2), max_size=3)),
            st.sampled_from(("1", "2")),
            st.integers(0, 10),
            st.booleans(),
        ),
        max_size=6,
    )
)
def test_after_any_changes_the_pods_are_those_of_a_first_update(
    steps: list[tuple[dict[str, int | None], str, int, bool]],
) -> None:
    pods, now = ServingPods("team-a", lambda _uid: ()), NOW
    old: dict[str, Pod] = {}
    new: dict[str, Pod] = {}
    for changed, revision, minutes, are_changes_known in steps:
        now += timedelta(minutes=minutes)
        for uid, number in changed.items():
            old.pop(uid, None)
            new.pop(uid, None)
            if number is not None:
                (old, new)[number % 2][uid] = pod(uid, status=STATUSES[number])
        known = changed.keys() if are_changes_known else None
        owners = [
            OwnedPods(old, "r-old", revision, True, known),
            OwnedPods(new, "r-new", "3", False, known),
        ]
        pods.update(owners, now)
        first = ServingPods("team-a", lambda _uid: ())
        first.update([owner._replace(changes=None) for owner in owners], now)
        assert shown(pods) == shown(first)


def test_one_change_among_many_keeps_the_views_of_the_others() -> None:
    owned = {uid: pod(uid, status=ready_status()) for uid in UIDS}
    pods = ServingPods("team-a", lambda _uid: ())
    pods.update([OwnedPods(owned)], NOW)
    before = pods.views
    pods.update([OwnedPods(owned)], NOW)
    assert pods.views is before, "nothing has changed"
    owned["p-7"] = pod("p-7", status=crashing_status())
    pods.update([OwnedPods(owned)], NOW)
    assert pods.views[0].uid == "p-7", "a failing Pod is first"
    old = {id(view) for view in before}
    assert [view.uid for view in pods.views if id(view) not in old] == ["p-7"]
    del owned["p-7"]
    pods.update([OwnedPods(owned)], NOW)
    assert [view.uid for view in pods.views] == [view.uid for view in before if view.uid != "p-7"]


def test_what_is_unchanged_is_not_looked_at() -> None:
    """Thousands of Pods are in memory that the processor does not hold: each look costs."""
    owned = {uid: pod(uid, status=ready_status()) for uid in UIDS}
    pods = ServingPods("team-a", lambda _uid: ())
    pods.update([OwnedPods(owned, changes=set())], NOW)
    owned |= {"p-7": pod("p-7", status=crashing_status()), "p-8": pod("p-8", status=PENDING_STATUS)}
    pods.update([OwnedPods(owned, changes={"p-7"})], NOW)
    assert {given.metadata.uid for given, _ in pods.not_serving} == {"p-7"}


def test_a_pod_whose_events_changed_is_evaluated_once_and_others_stay_stale() -> None:
    events: dict[str, list[Event]] = {}
    pods = ServingPods("team-a", lambda uid: events.get(uid, []))
    owned = {"p-1": pod("p-1", status=PENDING_STATUS)}
    pods.update([OwnedPods(owned)], NOW)
    events["p-1"] = [event("p-1", "e-1", reason="FailedMount", last_timestamp=NOW)]
    pods.update([OwnedPods(owned)], NOW)
    assert not pods.views[0].events
    stale = {"p-1", "p-of-another-serving"}
    pods.update([OwnedPods(owned)], NOW, stale)
    assert [each.reason for each in pods.views[0].events] == ["FailedMount"]
    assert stale == {"p-of-another-serving"}


def test_after_the_clock_was_corrected_every_pod_is_evaluated_again() -> None:
    pods = ServingPods("team-a", lambda _uid: ())
    owned = {"p-1": pod("p-1", status=crashing_status(NOW, waiting=False))}
    pods.update([OwnedPods(owned)], NOW)
    recent = pods.not_serving
    pods.update([OwnedPods(owned)], NOW + timedelta(days=1))
    expired = pods.not_serving
    assert expired != recent
    pods.update([OwnedPods(owned)], NOW)
    assert pods.not_serving == expired
    pods.mark_all_stale()
    pods.update([OwnedPods(owned)], NOW)
    assert pods.not_serving == recent
