"""Which Pods differ between two views of a serving."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from servedeck.fleet.views import PodView, changed_pods
from tests.fleet.factories import pod_view

PODS = tuple(pod_view(f"pod-{number}", uid=f"p-{number}") for number in range(12))


@given(
    st.permutations(range(len(PODS))),
    st.integers(0, len(PODS)),
    st.lists(
        st.tuples(
            st.sampled_from(("change", "delete", "add", "move")),
            st.integers(0, 30),
            st.integers(0, 30),
        ),
        max_size=4,
    ),
)
def test_it_finds_what_looking_up_every_pod_finds(
    order: list[int], count: int, steps: list[tuple[str, int, int]]
) -> None:
    before = [PODS[number] for number in order[:count]]
    after: list[PodView] = list(before)
    for number, (step, at, to) in enumerate(steps):
        if step == "add":
            new = pod_view(f"new-{number}", uid=f"new-{number}")
            after.insert(to % (len(after) + 1), new)
        elif after:
            old = after.pop(at % len(after))
            if step != "delete":
                new = replace(old, restarts=old.restarts + 1) if step == "change" else old
                after.insert(to % (len(after) + 1), new)
    known = {pod.uid: pod for pod in before}
    wanted = [(known.get(pod.uid), pod) for pod in after if known.get(pod.uid) is not pod]
    assert changed_pods(tuple(before), tuple(after)) == wanted


def test_unchanged_pods_are_none() -> None:
    assert changed_pods((), ()) == []
    assert changed_pods(PODS, PODS) == []
    assert changed_pods(PODS, PODS[1:]) == []
    assert changed_pods((), PODS[:1]) == [(None, PODS[0])]
