"""The session watches other workloads than Deployments, and their Pods while there are any."""

from __future__ import annotations

import pytest

from servedeck.cluster.watch.kinds import STATEFUL_SET_PODS
from servedeck.fleet import session as module
from servedeck.fleet.views import NamespacedName
from servedeck.serving.status.status import Status
from tests.fleet.fake_cluster import FakeCluster
from tests.fleet.session_recorder import SessionRecorder, recorded_session
from tests.fleet.test_other_workloads import GROUPS, PLAIN, STATEFUL, group_records, member
from tests.fleet.test_session import watched_selectors
from tests.fleet.workload_factory import inference_service, plain_pod, stateful_set
from tests.waiting import wait_until

SELECTOR = STATEFUL_SET_PODS.label_selector


def status_of(watched: SessionRecorder, key: NamespacedName) -> Status | None:
    view = watched.session.fleet.view(key)
    return view.status if view is not None else None


async def test_the_pods_of_stateful_sets_are_watched_only_while_one_is_a_serving(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STOP_DELAY", 0.05)
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        assert SELECTOR not in watched_selectors(cluster, "pods")
        cluster.put(member("llama-0", "sts-llama"), stateful_set())
        await watched.wait_until(lambda: status_of(watched, STATEFUL) is Status.READY)
        assert SELECTOR in watched_selectors(cluster, "pods")
        cluster.delete(stateful_set())
        await watched.wait_until(lambda: status_of(watched, STATEFUL) is None)
        await wait_until(lambda: SELECTOR not in watched_selectors(cluster, "pods"))


async def test_all_kinds_are_complete_when_the_session_is_settled(cluster: FakeCluster) -> None:
    cluster.absent_kinds.clear()
    cluster.put(*group_records(None), stateful_set(), member("llama-0", "sts-llama"))
    cluster.put(plain_pod(), inference_service())
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        assert sorted(str(view.key) for view in watched.session.fleet.views()) == [
            "InferenceService team-a/bert",
            "LeaderWorkerSet team-a/big",
            "Pod team-a/solo",
            "StatefulSet team-a/llama",
            "team-a/llama",
        ]
        assert status_of(watched, GROUPS) is Status.READY
        assert status_of(watched, PLAIN) is Status.READY


async def test_forbidden_stateful_sets_are_named_and_the_rest_goes_on(
    cluster: FakeCluster,
) -> None:
    cluster.forbidden = {("statefulsets", ""), ("leaderworkersets", "")}
    cluster.put(plain_pod())
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        # LeaderWorkerSets do not exist there: nothing is missing.
        assert watched.session.state.missing_permissions == ("list statefulsets.apps",)
        assert status_of(watched, PLAIN) is Status.READY
        cluster.forbidden.clear()
        cluster.put(stateful_set(), member("llama-0", "sts-llama"))
        watched.session.retry_now()
        await watched.wait_until(lambda: status_of(watched, STATEFUL) is Status.READY)


async def test_a_kind_that_is_installed_later_appears(cluster: FakeCluster) -> None:
    cluster.put(*group_records(None))
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        leaders = NamespacedName("team-a", "big", "StatefulSet")
        assert status_of(watched, leaders) is Status.READY
        cluster.absent_kinds.clear()
        watched.session.retry_now()
        await watched.wait_until(lambda: status_of(watched, GROUPS) is Status.READY)
        assert status_of(watched, leaders) is None
