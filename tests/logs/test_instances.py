from __future__ import annotations

from typing import Any

import pytest

from servedeck.fleet.views import ContainerView, PodView
from servedeck.logs.instances import LogSelection, find_instance, select_instances
from servedeck.serving.status.diagnosis import PodHealth
from tests.fleet.factories import pod_view


def container(name: str = "main", **fields: Any) -> ContainerView:
    defaults: dict[str, Any] = {
        "name": name,
        "state": "Running",
        "ready": True,
        "restarts": 0,
        "init": False,
        "has_previous": False,
        "container_id": "cri://1",
    }
    return ContainerView(**defaults | fields)


def pod(name: str, *containers: ContainerView, **fields: Any) -> PodView:
    return pod_view(name, containers=containers or (container(),), **fields)


def test_failing_pods_come_first_and_else_the_order_holds() -> None:
    pods = [
        pod("a"),
        pod("b", health=PodHealth.PENDING),
        pod("c", health=PodHealth.ERROR),
        pod("d", health=PodHealth.STARTING),
    ]
    found = select_instances(pods, LogSelection())
    assert [one.pod for one in found.values()] == ["c", "b", "a", "d"]


def test_pods_and_containers_are_selected_by_name() -> None:
    pods = [pod(name, container("main"), container("init", init=True)) for name in ("a", "b")]
    found = select_instances(pods, LogSelection(frozenset("b"), frozenset(["init", "other"])))
    assert [(one.pod, one.container, one.init) for one in found.values()] == [("b", "init", True)]


@pytest.mark.parametrize(
    ("fields", "exists", "has_previous", "crashed", "text"),
    [
        ({}, True, False, False, ""),
        ({"state": ""}, False, False, False, ""),
        ({"state": "Waiting", "waiting_reason": "ErrImagePull"}, False, False, False, ""),
        (
            {"has_previous": True, "exit_code": 137, "finish_reason": "OOMKilled"},
            True,
            True,
            True,
            "exit 137 OOMKilled",
        ),
        (
            {"has_previous": True, "exit_code": 0, "finish_reason": "Completed"},
            True,
            True,
            False,
            "exit 0",
        ),
        # the log of a container that waits for its next start is that of the one that ended
        (
            {
                "state": "Waiting",
                "has_previous": True,
                "exit_code": 1,
                "finish_reason": "exit code 1",
            },
            True,
            False,
            False,
            "exit 1",
        ),
        (
            {"state": "Terminated", "has_previous": True, "exit_code": 2},
            True,
            True,
            False,
            "exit 2",
        ),
    ],
)
def test_what_a_container_has_written(
    fields: dict[str, Any], exists: bool, has_previous: bool, crashed: bool, text: str
) -> None:
    one = container(**fields)
    found = find_instance(pod("a", one), one)
    assert (found.exists, found.has_previous, found.crashed_before, found.exit_text) == (
        exists,
        has_previous,
        crashed,
        text,
    )


def test_containers_are_named_where_a_pod_has_several() -> None:
    one = container("main")
    assert find_instance(pod("a", one), one).label == "a"
    assert find_instance(pod("a", one, container("x")), one).label == "a main"
