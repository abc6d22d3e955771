from __future__ import annotations

import pytest

from servedeck.serving.status.pod_diagnosis import diagnose
from servedeck.serving.status.status import evaluate
from tests.serving.factories import NOW, deployment
from tests.serving.status.reported_failures import CREATION_REPORTS, REPORTS, replica_failure


@pytest.mark.parametrize("source", REPORTS)
def test_the_failure_reason_of_a_published_report(source: str) -> None:
    report = REPORTS[source]
    found = diagnose(report.pod, report.events, NOW)
    assert (found.reason, found.message) == (report.reason, report.message)
    reversed_events = tuple(reversed(report.events))
    assert diagnose(report.pod, reversed_events, NOW) == found, "the order of Events is no matter"


@pytest.mark.parametrize("source", CREATION_REPORTS)
def test_why_no_pod_can_be_created_in_a_published_report(source: str) -> None:
    message, expected = CREATION_REPORTS[source]
    given = deployment(conditions=(replica_failure(message),))
    found = evaluate(given, (), (), True)
    assert (found.reason, found.message) == ("FailedCreate", expected)


def test_the_reports_are_many_and_of_many_kinds() -> None:
    assert len(REPORTS) + len(CREATION_REPORTS) >= 60
