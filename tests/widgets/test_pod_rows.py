"""The Pods of a serving as lines of a card."""

from __future__ import annotations

from servedeck.serving.status.diagnosis import PodHealth
from tests.tui import fakes
from tests.tui.fakes import NOW, ago
from widgets.pod_rows import MAX_CARD_PODS, PodRows, pod_card_lines, select_card_pods
from widgets.styled_line import line_width, plain_text


def texts(view, width=200, key="p") -> list[str]:
    return [plain_text(one.line).rstrip() for one in pod_card_lines(view, width, NOW, key)]


def rejected(name: str):
    return fakes.pod(
        name,
        status="UnexpectedAdmissionError",
        reason="UnexpectedAdmissionError",
        health=PodHealth.ERROR,
        is_ready=False,
        finished=True,
        node="gpu-a",
        created=ago(minutes=2),
    )


def test_the_first_pods_and_how_many_more():
    pods = tuple(fakes.pod(f"chat-{number}") for number in range(MAX_CARD_PODS + 3))
    lines = texts(fakes.serving("chat", pods=pods))
    assert lines[0] == "Pods"
    assert lines[2].split()[0] == "chat-0"
    assert lines[-2] == "  3 more Pods; p shows all"
    assert len(lines) == MAX_CARD_PODS + 4


def test_pods_that_ended_for_one_reason_take_one_line():
    pods = (fakes.pod("chat-1"), *(rejected(f"chat-r{number}") for number in range(706)))
    lines = texts(fakes.serving("chat", pods=pods))
    assert "chat-1" in lines[2]
    assert lines[3] == "  706 × UnexpectedAdmissionError on gpu-a, newest 2m"
    assert len(lines) == 6


def test_only_pods_that_ended():
    lines = texts(fakes.serving("chat", pods=(rejected("a"), rejected("b"))))
    assert lines[1] == "  2 × UnexpectedAdmissionError on gpu-a, newest 2m"


def test_every_line_fits():
    pods = (fakes.crashing_pod("chat-" + "x" * 80), fakes.pod("한국어-🚀" * 4))
    for width in (20, 40, 80, 119, 300):
        for one in pod_card_lines(fakes.serving("chat", pods=pods), width, NOW):
            if one.item is not None:
                assert line_width(one.line) <= width


def test_rows_of_unchanged_pods_are_kept():
    rows, pods = PodRows(), [fakes.pod("a"), fakes.pod("b")]
    first = rows.build(pods)
    second = rows.build([pods[0], fakes.pod("b", restarts=1)])
    assert second[0] is first[0] and second[1] is not first[1]


def test_what_is_in_no_line_is_counted_once():
    living = [fakes.pod(f"chat-{number}") for number in range(MAX_CARD_PODS + 3)]
    ended = [rejected(f"chat-ended-{number}") for number in range(5)]
    pods = (*living, *ended)
    assert select_card_pods(pods).rest_count == 3
    lines = texts(fakes.serving("chat", pods=pods))
    assert lines[-2] == "  8 more Pods; p shows all"
