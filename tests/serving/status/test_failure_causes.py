"""The table of failure causes itself, and which of several causes tells most."""

from __future__ import annotations

import re
import string

import pytest

from servedeck.serving.objects.records import Event, Pod
from servedeck.serving.status import cause_lookup
from servedeck.serving.status.cause import FailureCause, Finding, Signal
from servedeck.serving.status.cause_lookup import RankedCause, find_cause, round_bytes
from servedeck.serving.status.failure_causes import FAILURE_CAUSES
from servedeck.serving.status.pod_diagnosis import diagnose
from servedeck.serving.status.status import evaluate
from tests.serving.factories import NOW, deployment, event, last_terminated, pod, waiting
from tests.serving.status.pod_factory import CREATING, crashing_pod, pending_pod, unscheduled_pod
from tests.serving.status.reported_failures import (
    CREATION_REPORTS,
    REPORTS,
    failed,
    replica_failure,
    start_error,
    starting,
)
from tests.serving.status.test_failure_reasons import CASES

VALUES = {
    *("node", "Node", "Its_node", "why", "colon_why", "start_failed", "limit", "no_limit"),
    *("detail", "comma_detail", "shown", "exit_code", "signal_name", "Image", "fit"),
    *("allowed", "reason", "free", "known"),
}
"""What the findings know besides the groups of the pattern."""


EXAMPLES: tuple[tuple[Pod, tuple[Event, ...], str], ...] = (
    (
        failed(
            "Evicted",
            "The node was low on resource: nodefs. Threshold quantity: 10Gi, available: 1Gi. ",
        ),
        (),
        "Evicted: node gpu-1 was low on nodefs (1Gi available, threshold 10Gi)",
    ),
    (
        failed("Evicted", "by an administrator"),
        (),
        "Evicted from node gpu-1: by an administrator",
    ),
    (
        failed("NodePorts", "Pod was rejected: Predicate NodePorts failed"),
        (),
        "Node gpu-1 rejected it: a host port that it requests is in use",
    ),
    (failed("Archived", "moved to tape"), (), "moved to tape"),
    (
        pod(
            waiting(
                "CrashLoopBackOff", name="added-later", lastState=last_terminated(137, "OOMKilled")
            ),
            spec={"containers": [{"name": "inference-server"}]},
        ),
        (),
        "added-later exceeded its memory limit and was killed (OOMKilled)",
    ),
    (
        start_error('exec: "/server": exec format error: unknown'),
        (),
        "inference-server could not start: its image is built for another platform than that of "
        "node gpu-1 (exec format error) (restarted 3 times)",
    ),
    (
        starting("PostStartHookError", "a text of a later kubelet"),
        (),
        "inference-server cannot be started: its postStart hook failed: a text of a later kubelet",
    ),
    (start_error(""), (), "inference-server could not start (restarted 3 times)"),
    (
        crashing_pod(126, message="/bin/sh: /mnt/run.sh: Permission denied"),
        (),
        "inference-server exited with code 126: its command cannot be executed: /bin/sh: "
        "/mnt/run.sh: Permission denied (restarted 3 times)",
    ),
    (
        crashing_pod(1, message="ValueError: bad\nvllm: error: unrecognized arguments: --omni\n"),
        (),
        "inference-server does not know the arguments --omni (restarted 3 times). Correct the "
        "command: a wrong name, an option of another version, or one that is written twice.",
    ),
    (
        crashing_pod(137, message="worker 3 was killed"),
        (),
        "inference-server was killed (exit code 137, SIGKILL): worker 3 was killed (restarted 3 "
        "times)",
    ),
    (
        crashing_pod(1, "LaterReason", "a text"),
        (),
        "inference-server terminated: LaterReason, a text (restarted 3 times)",
    ),
    (
        starting("LaterError", "a text"),
        (),
        "inference-server cannot be created: a text",
    ),
    (unscheduled_pod(""), (), "No node fits it"),
    (
        unscheduled_pod(
            "0/9 nodes are available: 1 node(s) had taints that the pod didn't tolerate, 3 "
            "node(s) didn't match pod affinity rules, 5 cannot allocate all claims."
        ),
        (),
        "0 of 9 nodes fit: 1 with an untolerated taint, 3 not matching its affinity to other Pods, "
        "5 without a free device for its ResourceClaim",
    ),
    (
        pending_pod(CREATING),
        (event("FailedAttachVolume", "no such node"),),
        "A volume cannot be attached: no such node",
    ),
    (
        pending_pod(CREATING),
        (event("FailedMapVolume", "no such device"),),
        "A volume cannot be mapped: no such device",
    ),
    (
        pending_pod(CREATING),
        (event("FailedCreatePodSandBox", "Failed to create pod sandbox: a text"),),
        "The Pod's sandbox cannot be created: a text",
    ),
)
"""Of the rows that no published report shows."""


def row_name(cause: FailureCause) -> str:
    return f"{cause.reasons or 'any'}: {cause.text}"[:60]


@pytest.mark.parametrize("cause", FAILURE_CAUSES, ids=row_name)
def test_every_row_has_a_source_and_a_text_that_can_be_filled_in(cause: FailureCause) -> None:
    assert cause.source
    groups = set(re.compile(cause.pattern).groupindex)
    fields = {name for _, name, _, _ in string.Formatter().parse(cause.text) if name}
    assert fields <= groups | VALUES
    assert groups <= fields | {"used", "resource"}, "a group that is not shown"
    assert cause.requires in VALUES | {""}


@pytest.mark.parametrize("signal", Signal)
def test_every_signal_has_a_row_for_what_nobody_knows_yet(signal: Signal) -> None:
    found = find_cause(Finding(signal, "startup", "a text of a later Kubernetes"))
    if signal is Signal.SETUP_EVENT:
        assert found is None, "only known Events are about the setup"
    else:
        assert found is not None


def test_no_row_is_hidden_by_an_earlier_one() -> None:
    seen: set[tuple[object, ...]] = set()
    for cause in FAILURE_CAUSES:
        signals = (cause.signals,) if isinstance(cause.signals, Signal) else cause.signals
        for signal in signals:
            key = (signal, cause.reasons, cause.pattern, cause.exit_codes, cause.requires)
            assert key not in seen, row_name(cause)
            seen.add(key)


@pytest.mark.parametrize(("given", "events", "message"), EXAMPLES)
def test_the_text_of_a_row_without_a_report(
    given: Pod, events: tuple[Event, ...], message: str
) -> None:
    assert diagnose(given, events, NOW).message == message


def test_every_row_is_shown_by_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: set[FailureCause] = set()

    def record(
        rank: int, cause: FailureCause, finding: Finding, groups: dict[str, str]
    ) -> RankedCause:
        shown.add(cause)
        return RankedCause(rank, cause, finding, groups)

    monkeypatch.setattr(cause_lookup, "RankedCause", record)
    for report in REPORTS.values():
        diagnose(report.pod, report.events, NOW)
    for message, _ in CREATION_REPORTS.values():
        evaluate(deployment(conditions=(replica_failure(message),)), (), (), True)
    for case in CASES.values():
        diagnose(case[0], (), NOW)
    for given, events, _ in EXAMPLES:
        diagnose(given, events, NOW)
    assert [row_name(cause) for cause in FAILURE_CAUSES if cause not in shown] == []


def test_what_tells_more_wins_whatever_the_order_of_the_containers() -> None:
    oom = waiting("CrashLoopBackOff", lastState=last_terminated(137, "OOMKilled"))
    exited = waiting("CrashLoopBackOff", name="transformer", lastState=last_terminated(1))
    unknown = waiting("CrashLoopBackOff", name="proxy")
    for given in (pod(exited, oom, unknown), pod(unknown, oom, exited)):
        assert diagnose(given, (), NOW).reason == "OOMKilled"
    assert diagnose(pod(unknown, exited), (), NOW).reason == "exit code 1"


def test_a_known_error_in_the_log_tells_more_than_the_exit_code_but_not_than_the_kernel() -> None:
    message = "vllm: error: unrecognized arguments: --omni"
    assert diagnose(crashing_pod(2, message=message), (), NOW).reason == "Unknown argument"
    assert diagnose(crashing_pod(137, "OOMKilled", message), (), NOW).reason == "OOMKilled"
    assert diagnose(crashing_pod(0, "Completed", message), (), NOW).reason == "exit code 0"


@pytest.mark.parametrize(
    ("quantity", "rounded"),
    [
        ("48458972Ki", "46.2Gi"),
        ("2146223340", "2Gi"),
        ("100Mi", "100Mi"),
        ("0", "0"),
        ("512", "512"),
        ("1e30", "909494701772928256Ti"),
        ("many", "many"),
    ],
)
def test_bytes_are_rounded(quantity: str, rounded: str) -> None:
    assert round_bytes(quantity) == rounded


def test_braces_and_markup_in_the_clusters_texts_stay_text() -> None:
    given: Pod = crashing_pod(1, message="KeyError: '{start_failed} {0} {a.b} [bold]'")
    assert diagnose(given, (), NOW).message.startswith(
        "inference-server exited with code 1: KeyError: '{start_failed} {0} {a.b} [bold]'"
    )


def test_a_long_message_is_searched_in_bounded_time() -> None:
    for text in ("exec " * 200_000, ' "' * 400_000, "low on resource: " * 60_000):
        for signal in Signal:
            find_cause(Finding(signal, "Evicted", text))
