"""Which controller acts. The clock of the event loop is moved: no test waits for a Lease to end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from servedeck.cluster.http.errors import ApiError, ConnectionFailedError
from servedeck.controller.election import LeaderElection, is_older_version
from servedeck.controller.settings import ControllerSettings
from tests.controller.fake_api import FakeApi
from tests.waiting import TimeSkipper, wait_until

PATH = "/apis/coordination.k8s.io/v1/namespaces/servedeck-system/leases/servedeck-controller"
SETTINGS = ControllerSettings(lease_duration=15, renew_deadline=10, retry_period=2)


class Candidate:
    """A candidate, and what it does while it leads."""

    def __init__(self, api: FakeApi, identity: str) -> None:
        self.election = LeaderElection(api.connection, SETTINGS, "servedeck-controller", identity)
        self.leads = False
        self.times = 0
        self.fails = asyncio.Event()
        self.trace: list[str] = []
        self._api = api

    async def lead(self) -> None:
        self.leads, self.times = True, self.times + 1
        try:
            await self.fails.wait()
            raise ValueError("a part failed")
        finally:
            # It holds the Lease until it has ended.
            await asyncio.sleep(0)
            self.trace.append(f"ended, holder {self._api.objects[PATH]['spec']['holderIdentity']}")
            self.leads = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.election.run(self.lead))
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, ValueError):
                await task


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
async def skip() -> TimeSkipper:
    return TimeSkipper(asyncio.get_running_loop())


def holder(api: FakeApi) -> str:
    found: str = api.objects[PATH]["spec"]["holderIdentity"]
    return found


def held_by(api: FakeApi, identity: str, **spec: object) -> None:
    """Another one writes the Lease."""
    times = {"renewTime": f"2026-11-30T12:00:00.{len(api.log):06}Z", "leaseTransitions": 3}
    held = {"holderIdentity": identity, "leaseDurationSeconds": 15}
    api.put(PATH, {"spec": held | times | spec})


def reads(api: FakeApi) -> int:
    """How often the Lease was read."""
    return sum(method == "GET" and path == PATH for method, path, _ in api.log)


async def test_a_lease_that_does_not_exist_is_made(api: FakeApi) -> None:
    candidate = Candidate(api, "me")
    async with candidate.running():
        await wait_until(lambda: candidate.leads)
        spec = api.objects[PATH]["spec"]
        assert (spec["holderIdentity"], spec["leaseDurationSeconds"]) == ("me", 15)
        assert spec["leaseTransitions"] == 0 and spec["acquireTime"] == spec["renewTime"]
        assert candidate.election.is_leader and candidate.election.holder == "me"


async def test_it_is_renewed_and_keeps_its_labels(api: FakeApi, skip: TimeSkipper) -> None:
    api.put(PATH, {"metadata": {"labels": {"a": "b"}}})
    candidate = Candidate(api, "me")
    async with candidate.running():
        await wait_until(lambda: candidate.leads)
        acquired, renewed = (api.objects[PATH]["spec"][one] for one in ("acquireTime", "renewTime"))
        for _ in range(12):  # longer than all durations
            count = len(api.writes())
            skip(2)
            await wait_until(lambda count=count: len(api.writes()) > count)
        assert candidate.leads and candidate.times == 1
        lease = api.objects[PATH]
        assert lease["metadata"]["labels"] == {"a": "b"}
        assert lease["spec"]["acquireTime"] == acquired and lease["spec"]["renewTime"] > renewed


async def test_one_that_is_held_is_taken_only_when_it_was_not_renewed_for_its_duration(
    api: FakeApi, skip: TimeSkipper
) -> None:
    held_by(api, "other")
    candidate = Candidate(api, "me")
    async with candidate.running():
        for _ in range(4):
            count = reads(api)
            skip(14)
            held_by(api, "other", renewTime=f"2026-11-30T12:01:{len(api.log):02}Z")
            skip(2)  # it looks by itself, as there is no watch here
            await wait_until(lambda count=count: reads(api) > count)
            assert not candidate.leads and api.writes() == []
        skip(16)
        await wait_until(lambda: candidate.leads)
        assert (holder(api), api.objects[PATH]["spec"]["leaseTransitions"]) == ("me", 4)


async def test_of_two_that_see_a_free_lease_one_gets_it(api: FakeApi) -> None:
    held_by(api, "")
    first, second = Candidate(api, "first"), Candidate(api, "second")
    async with first.running(), second.running():
        await wait_until(lambda: first.leads or second.leads)
        for _ in range(50):
            await asyncio.sleep(0)
        assert first.leads is not second.leads
        assert holder(api) == ("first" if first.leads else "second")


@pytest.mark.parametrize(
    "error", [ConnectionFailedError("No way."), ApiError(500, "InternalError", "no")]
)
async def test_one_that_cannot_renew_it_stops_before_another_may_act(
    api: FakeApi, skip: TimeSkipper, error: Exception
) -> None:
    candidate = Candidate(api, "me")
    async with candidate.running():
        await wait_until(lambda: candidate.leads)
        api.fail = error
        skip(9)
        assert candidate.election.is_leader
        skip(1.5)
        # without a look at the event loop: as after a stop of the process
        assert not candidate.election.is_leader and candidate.leads
        await wait_until(lambda: not candidate.leads)
        api.fail = None
        skip(10)
        await wait_until(lambda: candidate.leads)
        assert candidate.times == 2


async def test_one_whose_lease_was_taken_stops(api: FakeApi, skip: TimeSkipper) -> None:
    candidate = Candidate(api, "me")
    async with candidate.running():
        await wait_until(lambda: candidate.leads)
        held_by(api, "other")
        skip(2)
        await wait_until(lambda: not candidate.leads)
        assert holder(api) == "other" and not candidate.election.is_leader


async def test_a_conflict_with_itself_is_no_loss(api: FakeApi, skip: TimeSkipper) -> None:
    candidate = Candidate(api, "me")
    async with candidate.running():
        await wait_until(lambda: candidate.leads)
        api.put(PATH, {"metadata": {"labels": {"changed": "by kubectl"}}})
        count = len(api.writes())
        skip(2)
        await wait_until(lambda: len(api.writes()) > count)
        assert candidate.leads and candidate.times == 1


async def test_it_is_released_after_the_work_has_ended(api: FakeApi) -> None:
    candidate = Candidate(api, "me")
    async with candidate.running():
        await wait_until(lambda: candidate.leads)
    assert candidate.trace == ["ended, holder me"]
    assert holder(api) == "" and api.objects[PATH]["spec"]["leaseDurationSeconds"] == 1
    other = Candidate(api, "other")
    async with other.running():
        await wait_until(lambda: other.leads)


async def test_what_the_work_raises_ends_the_candidacy(api: FakeApi) -> None:
    candidate = Candidate(api, "me")
    async with candidate.running() as task:
        await wait_until(lambda: candidate.leads)
        candidate.fails.set()
        await wait_until(task.done)
        assert isinstance(task.exception(), ValueError)
        assert holder(api) == ""


@pytest.mark.parametrize(
    ("version", "than", "is_older"),
    [
        ("9", "10", True),
        ("10", "9", False),
        ("10", "10", False),
        ("010", "11", True),
        ("9" * 5000, "1" + "0" * 5000, True),
        ("1" + "0" * 5000, "9" * 5000, False),
        ("", "10", False),
        ("abc", "abd", False),
    ],
)
def test_versions_of_an_object_are_numbers_of_any_length(
    version: str, than: str, is_older: bool
) -> None:
    assert is_older_version(version, than) is is_older
