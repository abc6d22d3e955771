"""A test request and its answer as text."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from servedeck.detail.inference_answer import InferenceAnswer
from servedeck.detail.inference_text import before_sending, figure_texts
from servedeck.detail.inference_ways import Way, no_way_reason
from servedeck.fleet.views import ServingView
from servedeck.serving.duration import format_duration
from servedeck.serving.inference_request import InferenceRequest
from widgets.styled_line import Span
from widgets.text_view import Paragraph


class SentRequest:
    """A request that was sent, and what has come of it."""

    def __init__(self, way: Way, request: InferenceRequest, sent_at: float) -> None:
        """`sent_at` in seconds of `time.monotonic`."""
        self.way = way
        self.request = request
        self.sent_at = sent_at
        self.ended_at: float | None = None
        self.answer: InferenceAnswer | None = None
        self.is_canceled = False

    def cancel(self, text: str) -> None:
        """The operator canceled it; `text` says so."""
        self.is_canceled = True
        self.ended_at = monotonic()
        if self.answer is None:
            self.answer = InferenceAnswer()
        self.answer.fail(text, self.ended_at - self.sent_at)


def request_paragraphs(
    view: ServingView,
    ways: Sequence[Way],
    way: Way | None,
    request: str,
    sent: SentRequest | None,
    *,
    has_token: bool,
    way_key: str,
    is_low: bool,
) -> list[Paragraph]:
    """What is below the fields. `request` is the method and the path of the next request; on a low
    terminal the answer comes before where the next request goes."""
    where = _where(view, ways, way, request, has_token=has_token, way_key=way_key)
    if sent is None:
        return where
    answer = _answer(sent)
    return [*answer, Paragraph(), *where] if is_low else [*where, Paragraph(), *answer]


def _where(
    view: ServingView,
    ways: Sequence[Way],
    way: Way | None,
    request: str,
    *,
    has_token: bool,
    way_key: str,
) -> list[Paragraph]:
    if way is None:
        return [_warning(no_way_reason(view.endpoint))]
    method, _, path = request.partition(" ")
    more: list[Span] = []
    if len(ways) > 1:
        number = f"  {ways.index(way) + 1} of {len(ways)}, "
        more = [(number, "muted"), (way_key, "key"), (" takes the next", "muted")]
    found = [
        Paragraph((("Through ", "muted"), (way.name, "strong"), *more), 2),
        Paragraph(((f"{method} {way.shown(path)}", ""),), 2),
    ]
    return found + [_warning(one) for one in before_sending(view, way, has_token=has_token)]


def _answer(sent: SentRequest) -> list[Paragraph]:
    answer = sent.answer
    found = [_state(sent)]
    if answer is None:
        return found
    texts = figure_texts(answer.figures, is_stream=answer.is_stream)
    if texts:
        spans: list[Span] = [("  ", "")]
        for at, text in enumerate(texts):
            spans += [("   ", "")] if at else []
            spans.append((text, "strong" if at < 2 and answer.is_stream else ""))
        found.append(Paragraph(tuple(spans), 2, keep_spans=True))
    found += [Paragraph((("  ", ""), (one, "muted")), 2) for one in answer.notes]
    if text := answer.text:
        found += [Paragraph(), Paragraph((("Answer", "muted"),))]
        found += [
            Paragraph((("  ", ""), (line, "")), 2) if line else Paragraph()
            for line in text.split("\n")
        ]
        if answer.is_text_cut:
            found.append(Paragraph((("  … the rest of the text is not kept", "muted"),), 2))
    return found


def _state(sent: SentRequest) -> Paragraph:
    """How far the request is."""
    answer, through = sent.answer, f" through {sent.way.name}"
    if answer is not None and answer.problem:
        mark, style_name = ("–", "warning") if sent.is_canceled else ("✗", "error")
        return Paragraph(((f"{mark} ", style_name), (answer.problem, style_name)), 2)
    if sent.ended_at is not None:
        return Paragraph((("✓ ", "ready"), ("answered", "ready"), (through, "")), 2)
    seconds = format_duration(monotonic() - sent.sent_at)
    is_coming = answer is not None and answer.status is not None
    text = "the answer is coming" if is_coming else "waiting for the answer"
    return Paragraph((("↻ ", "starting"), (f"{text}{through}, {seconds}", "")), 2)


def _warning(text: str) -> Paragraph:
    return Paragraph((("! ", "warning"), (text, "warning")), 2)
