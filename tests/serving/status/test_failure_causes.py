"""The table of failure causes itself, and which of several causes tells most."""

from __future__ import annotations

import re
import string

import pytest

from servedeck.serving.objects.records import Pod
from servedeck.serving.status.cause import FailureCause, Finding, Signal
from servedeck.serving.status.cause_lookup import find_cause, round_bytes
from servedeck.serving.status.failure_causes import FAILURE_CAUSES
from servedeck.serving.status.pod_diagnosis import diagnose
from tests.serving.factories import NOW, last_terminated, pod, waiting
from tests.serving.status.pod_factory import crashing_pod

VALUES = {
    *("node", "Node", "Its_node", "why", "colon_why", "start_failed", "limit", "no_limit"),
    *("detail", "comma_detail", "shown", "exit_code", "signal_name", "Image", "fit"),
    *("allowed", "reason", "free"),
}
"""What the findings know besides the groups of the pattern."""


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


def test_what_tells_more_wins_whatever_the_order_of_the_containers() -> None:
    oom = waiting("CrashLoopBackOff", lastState=last_terminated(137, "OOMKilled"))
    exited = waiting("CrashLoopBackOff", name="transformer", lastState=last_terminated(1))
    unknown = waiting("CrashLoopBackOff", name="proxy")
    for given in (pod(exited, oom, unknown), pod(unknown, oom, exited)):
        assert diagnose(given, (), NOW).reason == "OOMKilled"
    assert diagnose(pod(unknown, exited), (), NOW).reason == "exit code 1"


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
