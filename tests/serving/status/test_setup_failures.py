"""Which Events about a Pod's setup explain why it does not start, and which are history."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from servedeck.serving.objects.records import Event, Pod
from servedeck.serving.status.diagnosis import Diagnosis, PodHealth
from servedeck.serving.status.pod_diagnosis import diagnose
from tests.serving.factories import (
    NOW,
    ago,
    condition,
    event,
    last_terminated,
    pod,
    running,
    waiting,
)
from tests.serving.factories import terminated as ended
from tests.serving.status.pod_factory import CREATING, pending_pod, unscheduled_pod

MULTI_ATTACH = 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) llama-old'
TIMEOUT = (
    "Unable to attach or mount volumes: unmounted volumes=[cache], unattached volumes=[cache]: "
    "timed out waiting for the condition"
)
NO_SECRET = 'MountVolume.SetUp failed for volume "cache" : secret "s3" not found'


def diagnose_new_pod(*events: Event) -> Diagnosis:
    return diagnose(pending_pod(CREATING), events, NOW)


def at(minutes: float, reason: str, message: str, **fields: Any) -> Event:
    """An Event of `minutes` ago."""
    return event(reason, message, when=ago(minutes=minutes), **fields)


def normal(minutes: float, reason: str, message: str = "") -> Event:
    return at(minutes, reason, message, type="Normal")


def test_a_failed_mount_explains_a_pod_that_does_not_start() -> None:
    got = diagnose_new_pod(event("FailedMount", NO_SECRET))
    assert (got.health, got.reason) == (PodHealth.PENDING, "FailedMount")
    assert got.message == 'A volume cannot be mounted: volume "cache": secret "s3" not found'
    assert got.raw_message == NO_SECRET
    assert got.reevaluate_at == NOW - timedelta(seconds=30) + timedelta(minutes=5)


def test_a_mount_that_failed_long_ago_or_before_the_container_ran_is_over() -> None:
    old = at(6, "FailedMount", "timed out")
    assert diagnose_new_pod(old).health is PodHealth.STARTING
    fresh = event("FailedMount", "timed out")
    assert diagnose(pod(running(ready=False)), (fresh,), NOW).health is PodHealth.STARTING


def test_an_attachment_that_failed_once_outranks_the_timeouts_that_follow_and_does_not_expire() -> (
    None
):
    attach = at(59, "FailedAttachVolume", MULTI_ATTACH)
    timeouts = [at(minutes, "FailedMount", TIMEOUT) for minutes in (57, 3, 1)]
    got = diagnose_new_pod(attach, *timeouts)
    assert got.reason == "FailedAttachVolume"
    assert got.reevaluate_at is None
    assert diagnose_new_pod(attach) == got, "also between two timeouts"


@pytest.mark.parametrize(
    "success",
    [
        normal(2, "SuccessfulAttachVolume", 'AttachVolume.Attach succeeded for volume "pvc-1"'),
        normal(2, "Pulling", 'Pulling image "vllm"'),
        at(2, "FailedMount", 'MountVolume.MountDevice failed for volume "pvc-1" : no such device'),
        at(2, "FailedCreatePodSandBox", "Failed to create pod sandbox: no free IP"),
    ],
    ids=lambda each: each.reason,
)
def test_an_attachment_that_succeeded_later_is_history(success: Event) -> None:
    attach = at(9, "FailedAttachVolume", MULTI_ATTACH)
    assert diagnose_new_pod(attach).reason == "FailedAttachVolume"
    assert diagnose_new_pod(attach, success).reason != "FailedAttachVolume"
    again = at(1, "FailedAttachVolume", MULTI_ATTACH)
    assert diagnose_new_pod(attach, success, again).reason == "FailedAttachVolume"


def test_another_volume_that_was_attached_says_nothing() -> None:
    attach = at(9, "FailedAttachVolume", MULTI_ATTACH)
    other = normal(2, "SuccessfulAttachVolume", 'AttachVolume.Attach succeeded for volume "pvc-2"')
    mounted = at(2, "FailedMount", 'MountVolume.SetUp failed for volume "pvc-2" : exit status 32')
    assert diagnose_new_pod(attach, other, mounted).reason == "FailedAttachVolume"


def test_a_later_step_of_the_setup_makes_the_earlier_ones_history() -> None:
    mount = at(3, "FailedMount", NO_SECRET)
    sandbox = at(1, "FailedCreatePodSandBox", "Failed to create pod sandbox: no free IP")
    assert diagnose_new_pod(mount, sandbox).reason == "FailedCreatePodSandBox"
    devices = at(2, "FailedPrepareDynamicResources", "Failed to prepare dynamic resources: x")
    assert diagnose_new_pod(mount, devices).reason == "FailedPrepareDynamicResources"
    assert diagnose_new_pod(devices, sandbox).reason == "FailedCreatePodSandBox"
    network = at(1, "NetworkNotReady", "network is not ready: cni plugin not initialized")
    assert diagnose_new_pod(mount, network).reason == "FailedMount", "it may still fail"


def test_an_event_before_the_last_start_of_a_container_is_history() -> None:
    fetched = ended(0, "Completed", name="fetch")
    fetched["state"]["terminated"]["finishedAt"] = ago(minutes=2)
    given = pending_pod(waiting("PodInitializing"), init=(fetched,))
    before, after = at(3, "FailedMount", NO_SECRET), at(1, "FailedMount", NO_SECRET)
    assert diagnose(given, (before,), NOW).health is PodHealth.STARTING
    assert diagnose(given, (after,), NOW).reason == "FailedMount"


def test_a_pull_that_failed_before_one_succeeded_does_not_explain_the_next_failure() -> None:
    given = pending_pod(waiting("ImagePullBackOff", 'Back-off pulling image "acme/llm:1"'))
    failure = 'Failed to pull image "acme/llm:1": 429 Too Many Requests'
    failed, pulled = at(9, "Failed", failure), normal(5, "Pulled", "Successfully pulled image")
    assert "rate limit" in diagnose(given, (failed,), NOW).message
    assert "rate limit" not in diagnose(given, (failed, pulled), NOW).message


def test_the_scheduler_is_asked_first_and_its_events_are_history_after_it() -> None:
    failed = at(1, "FailedScheduling", "0/2 nodes are available: 2 Too many pods.")
    unscheduled: Pod = unscheduled_pod("")
    assert diagnose(unscheduled, (failed,), NOW).message == (
        "0 of 2 nodes fit: 2 at their maximum number of Pods"
    )
    scheduled = pending_pod(CREATING, conditions=(condition("PodScheduled"),))
    assert diagnose(scheduled, (failed,), NOW).health is PodHealth.STARTING


def test_a_crash_outranks_what_the_setup_reported() -> None:
    given = pod(waiting("CrashLoopBackOff", lastState=last_terminated(1)))
    assert diagnose(given, (event("FailedMount", NO_SECRET),), NOW).reason == "exit code 1"
