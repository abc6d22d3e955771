"""Many equal Pods in the status of a serving."""

from __future__ import annotations

from typing import Any

from servedeck.fleet.views import ServingView
from servedeck.serving.status.diagnosis import PodHealth
from servedeck.serving.status.log_errors import find_log_error
from servedeck.serving.status.status import Status
from tests.fleet.factories import pod_view
from tests.fleet.failing_pods import GROUP_LINE, NOW, crashing, rejected, rejected_serving
from widgets.serving_rows import reason_text
from widgets.status_paragraphs import CrashedContainer, LogTail, status_paragraphs
from widgets.text_view import Paragraph

KEYS = tuple("123456789")


def shown(view: ServingView, **more: Any) -> list[Paragraph]:
    return status_paragraphs(view, NOW, None, KEYS, **more)


def texts(view: ServingView, **more: Any) -> list[str]:
    lines = ("".join(text for text, _ in one.line) for one in shown(view, **more))
    return [line for line in lines if line]


def test_706_rejected_pods_take_one_line_after_the_living_ones() -> None:
    lines = texts(rejected_serving(crashing(1), crashing(2)))
    assert sum("UnexpectedAdmissionError" in line for line in lines) == 2, "title and group"
    at = next(index for index, line in enumerate(lines) if GROUP_LINE in line)
    assert lines[at + 1].strip() == "Node gpu-a rejected it"
    assert [line[:14] for line in lines if "crashing-" in line] == [
        " 1 crashing-1 ",
        " 2 crashing-2 ",
    ]
    assert at > max(index for index, line in enumerate(lines) if "crashing-" in line)
    assert len(lines) < 12
    assert GROUP_LINE in "\n".join(texts(rejected_serving(), compact=True))


def test_a_click_on_the_line_of_a_group_opens_the_newest_pod() -> None:
    found = [
        one for one in shown(rejected_serving()) if GROUP_LINE in "".join(t for t, _ in one.line)
    ]
    assert [one.target for one in found] == ["uid-rejected-0"]


def test_of_many_living_pods_the_first_are_shown_with_their_keys() -> None:
    pods = tuple(
        crashing(number, reason="ImagePullBackOff", health=PodHealth.PENDING, message="not found")
        for number in range(40)
    )
    view = rejected_serving(
        status=Status.PENDING, reason="ImagePullBackOff", message="not found", pods=pods
    )
    lines = texts(view)
    group = next(index for index, line in enumerate(lines) if "40 × ImagePullBackOff" in line)
    assert [line[:14] for line in lines[group + 1 : group + 4]] == [
        " 1 crashing-0 ",
        " 2 crashing-1 ",
        " 3 crashing-2 ",
    ]
    assert not any("crashing-3 " in line for line in lines)
    assert reason_text(view) == "40 × ImagePullBackOff"


def test_a_few_pods_stay_in_their_order_with_their_own_lines() -> None:
    pods = (crashing(1), crashing(2, reason="exit code 1"), crashing(3), rejected(9))
    lines = texts(rejected_serving(reason="OOMKilled", pods=(*pods, pod_view("ready"))))
    named = [line.split()[1] for line in lines if line[:2].strip() in KEYS and line[:2].strip()]
    assert named == ["crashing-1", "crashing-2", "crashing-3", "rejected-9", "ready"]
    assert reason_text(rejected_serving(reason="OOMKilled", pods=pods)) == "OOMKilled"


def test_the_known_error_in_the_last_lines_is_named_above_them_once() -> None:
    lines = ("vllm: error: unrecognized arguments: --omni",)
    crash = CrashedContainer("team-a", "crashing-1", "inference-server", False, ("id", 0))
    tail = LogTail(crash, lines, loading=False, cause=find_log_error(lines))
    named = "inference-server does not know the arguments --omni. Correct the command: "

    def shown_with(message: str, **more: bool) -> list[str]:
        view = rejected_serving(crashing(1), message=message)
        paragraphs = status_paragraphs(view, NOW, tail, KEYS, **more)
        return ["".join(text for text, _ in one.line) for one in paragraphs]

    for compact in (False, True):
        texts_shown = shown_with("inference-server exited with code 2", compact=compact)
        at = next(i for i, line in enumerate(texts_shown) if line.startswith(named))
        assert texts_shown[at + 1].startswith("Last lines of inference-server")
        assert texts_shown[at + 2].endswith(lines[0])
    known = "inference-server does not know the arguments --omni (restarted once). Correct"
    assert not any(line.startswith(named) for line in shown_with(known))
