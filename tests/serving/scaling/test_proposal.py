"""Settings of an autoscaler as they are typed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servedeck.serving.scaling.proposal import (
    ProposalError,
    ProposalField,
    ScalingProposal,
    field_label,
    parse_proposal,
)
from servedeck.serving.scaling.scaling_metrics import MetricType, ScaledBy

BASE = ScalingProposal(ScaledBy.RESPONSE_TIME, 1234.5625, 1, 10, 60, 90.0)


def test_the_texts_of_a_proposal_are_read_back() -> None:
    assert parse_proposal(BASE.texts(), BASE) == BASE
    assert BASE.texts()[ProposalField.TARGET] == "1234.5625"


def test_a_proposal_is_replayed_with_its_type() -> None:
    settings = BASE.settings()
    assert (settings.metric_type, settings.target) == (MetricType.VALUE, 1234.5625)
    assert (settings.scale_in_delay, settings.startup_seconds) == (60.0, 90.0)
    assert not settings.missing_is_zero
    assert replace(BASE, min_replicas=0).settings().missing_is_zero
    waiting = ScalingProposal(ScaledBy.WAITING_REQUESTS, 10.0).settings()
    assert waiting.metric_type is MetricType.AVERAGE_VALUE


@pytest.mark.parametrize(
    ("field", "text", "sentence"),
    [
        ("target", "fast", "Enter milliseconds, such as 5000."),
        ("target", "0", "Enter milliseconds, such as 5000."),
        ("target", "nan", "Enter milliseconds, such as 5000."),
        ("min-replicas", "-1", "Enter a whole number from 0 to 10,000."),
        ("min-replicas", "", "Enter a whole number from 0 to 10,000."),
        ("max-replicas", "0", "Enter a whole number from 1 to 10,000."),
        ("max-replicas", "²", "Enter a whole number from 1 to 10,000."),
        ("max-replicas", "9" * 5000, "Enter a whole number from 1 to 10,000."),
        ("scale-in-delay", "3601", "Enter a whole number from 0 to 3,600."),
        ("scale-in-delay", "1.5", "Enter a whole number from 0 to 3,600."),
    ],
)
def test_what_is_wrong_is_said_of_its_field(field: str, text: str, sentence: str) -> None:
    texts = {**BASE.texts(), ProposalField(field): text}
    with pytest.raises(ProposalError) as raised:
        parse_proposal(texts, BASE)
    assert raised.value.sentences == {ProposalField(field): sentence}
    assert str(raised.value) == sentence


def test_the_sentences_of_several_fields() -> None:
    texts = {**BASE.texts(), ProposalField.MIN_REPLICAS: "11", ProposalField.TARGET: ""}
    with pytest.raises(ProposalError) as raised:
        parse_proposal(texts, ScalingProposal(ScaledBy.WAITING_REQUESTS, 1.0))
    assert raised.value.sentences == {
        ProposalField.TARGET: "Enter a number, such as 10.",
        ProposalField.MAX_REPLICAS: "Enter at least 11, which is Min Replicas.",
    }


def test_labels_fit_a_narrow_screen() -> None:
    for by in ScaledBy:
        for field in ProposalField:
            assert len(field_label(field, by, is_short=True)) <= 9
            assert len(field_label(field, by)) <= 25
