"""Equal Pods together, and living Pods before those that failed for good."""

from __future__ import annotations

from servedeck.commands import printers
from servedeck.fleet import view_json
from servedeck.fleet.fleet import Completeness, Fleet
from servedeck.fleet.views import NamespacedName, PodGroup, PodView, group_pods
from servedeck.serving.objects.records import Pod, PodStatus
from tests.fleet.factories import (
    PENDING_STATUS,
    change,
    crashing_status,
    deployment,
    pod,
    pod_view,
    ready_status,
    replicaset,
    serving_view,
)
from tests.fleet.failing_pods import GROUP_LINE, NOW, crashing, rejected, rejected_serving

GPU_LOST = (
    "Pod Allocate failed due to device plugin GetPreferredAllocation rpc failed with err: rpc "
    "error: code = Unknown desc = Unable to retrieve list of available devices: error creating "
    "nvml.Device 3: nvml: GPU is lost, which is unexpected"
)
REJECTED_STATUS = PodStatus(phase="Failed", reason="UnexpectedAdmissionError", message=GPU_LOST)


def test_706_rejected_pods_are_one_group() -> None:
    (group,) = group_pods(rejected(number) for number in range(706))
    assert group.count == 706
    assert group.is_collapsed
    assert group.summary(NOW) == GROUP_LINE
    assert (group.newest.name, group.message) == ("rejected-0", "Node gpu-a rejected it")


def test_groups_differ_by_what_an_operator_does_about_them() -> None:
    pods = [
        crashing(1),
        crashing(2, reason="exit code 1"),
        crashing(3),
        crashing(4, container="transformer"),
        crashing(5, old_revision=True),
        crashing(6, finished=True),
        pod_view("ready-1"),
        pod_view("ready-2"),
    ]
    groups = group_pods(pods)
    assert [[each.name[-1] for each in group.pods] for group in groups] == [
        ["1", "3"],
        ["2"],
        ["4"],
        ["5"],
        ["6"],
        ["1", "2"],
    ]
    assert groups[-1].title == "2 × Running"
    assert group_pods([]) == ()


def test_living_pods_keep_their_rows_while_they_are_few() -> None:
    def collapsed(*pods: PodView) -> list[bool]:
        return [group.is_collapsed for group in group_pods(pods)]

    assert collapsed(*map(crashing, range(3))) == [False]
    assert collapsed(*map(crashing, range(4))) == [True]
    assert collapsed(rejected(1)) == [False]
    assert collapsed(rejected(1), rejected(2)) == [True]


def test_nodes_are_named_while_they_are_few() -> None:
    def summary(*nodes: str) -> str:
        pods = [rejected(0, node=node, created=None) for node in nodes]
        (group,) = group_pods(pods)
        return group.summary(NOW)

    assert summary("b", "a", "b") == "3 × UnexpectedAdmissionError on a, b"
    assert summary("a", "b", "c", "d") == "4 × UnexpectedAdmissionError on 4 nodes"
    assert summary("", "") == "2 × UnexpectedAdmissionError"


def test_the_view_has_the_groups_and_the_one_that_is_its_reason() -> None:
    view = rejected_serving(pod_view("ready"))
    assert [group.count for group in view.pod_groups] == [1, 706]
    assert view.pod_groups is view.pod_groups, "built once"
    main = view.main_group
    assert isinstance(main, PodGroup) and main.count == 706
    assert rejected_serving(reason="OOMKilled").main_group is None
    assert serving_view(reason="OOMKilled", pods=(crashing(1), crashing(2))).main_group is None


def test_get_prints_the_group_as_the_reason() -> None:
    view = rejected_serving()
    for wide, expected in ((True, GROUP_LINE), (False, "706 × UnexpectedAdmissionError")):
        table = printers.TablePrinter(wide=wide, with_namespace=False)
        cells = dict(zip(table.columns, table.row_cells(view, NOW), strict=True))
        assert cells["REASON"] == expected
    (group,) = view_json.serving_json(view)["podGroups"]
    assert (group["count"], group["nodes"], group["newest"]) == (
        706,
        ["gpu-a"],
        "2026-01-01T02:58:00Z",
    )


def failed_pod(number: int) -> Pod:
    return pod(f"p-failed-{number}", status=REJECTED_STATUS)


def test_the_fleet_puts_living_pods_before_those_that_failed() -> None:
    fleet = Fleet()
    fleet.set_completeness(Completeness.COMPLETE, Completeness.COMPLETE)
    records = [
        deployment(replicas=3),
        replicaset(),
        *(failed_pod(number) for number in range(20)),
        pod("p-ready", status=ready_status()),
        pod("p-crashing", status=crashing_status()),
        pod("p-pending", status=PENDING_STATUS),
    ]
    for record in records:
        fleet.apply(change(record))
    fleet.flush(NOW)
    view = fleet.view(NamespacedName("team-a", "llama"))
    assert view is not None
    assert [each.name for each in view.pods[:3]] == ["p-crashing", "p-pending", "p-ready"]
    assert all(each.finished for each in view.pods[3:])
    failed = view.pod_groups[-1]
    assert (failed.count, failed.nodes) == (20, ("gpu-1",))
    assert failed.message == (
        "Node gpu-1 rejected it: the driver has lost GPU 3 of the node (GPU is lost)"
    )
