"""The figures of an inference request as lines and as JSON, and what to know before it is sent."""

from __future__ import annotations

from typing import Any

from servedeck.detail.inference_answer import InferenceAnswer, InferenceFigures
from servedeck.detail.inference_ways import Way
from servedeck.fleet.view_json import API_VERSION
from servedeck.fleet.views import ServingView
from servedeck.metrics.units import Unit, format_value
from servedeck.serving.inference_request import InferenceRequest
from servedeck.serving.text import format_count


def figure_texts(figures: InferenceFigures, *, is_stream: bool) -> list[str]:
    """What is known, a few words each, that which matters most first: "time to first token 231 ms",
    "38.2 tokens/s after the first token". `is_stream`: the answer came token by token."""
    found = []
    if figures.first_token_seconds is not None:
        found.append(f"time to first token {_seconds(figures.first_token_seconds)}")
    if figures.tokens_per_second is not None:
        found.append(f"{figures.tokens_per_second:.1f} tokens/s after the first token")
    if figures.tokens is not None:
        source = "counted chunks" if figures.tokens_are_counted else "usage"
        found.append(f"{format_count(figures.tokens, 'token')} ({source})")
    elif figures.prompt_tokens is not None:
        found.append(f"{format_count(figures.prompt_tokens, 'prompt token')} (usage)")
    if figures.headers_seconds is not None:
        found.append(f"headers after {_seconds(figures.headers_seconds)}")
    if figures.total_seconds is not None and figures.status is not None:
        found.append(f"total {_seconds(figures.total_seconds)}")
    if figures.status is not None:
        found.append(f"HTTP {figures.status}")
    if figures.finish_reason:
        found.append(f"finish reason {figures.finish_reason}")
    if figures.model:
        found.append(f"model {figures.model}")
    if figures.total_seconds is not None and figures.tokens is not None and not is_stream:
        found.append("not streamed")
    return found


def before_sending(view: ServingView, way: Way, *, has_token: bool) -> list[str]:
    """What is to be known before a request is sent, a sentence each."""
    found = []
    if not view.ready:
        found.append(
            "No Pod is Ready: the request fails unless one becomes Ready."
            if view.desired
            else "It is scaled to 0: the request fails, unless requests scale it up."
        )
    if view.endpoint.issue and way.base == view.endpoint.url:
        found.append(view.endpoint.issue)
    if has_token and not way.passes_token:
        found.append("The API server does not pass the API token on; it is not sent.")
    if has_token and way.is_unencrypted:
        found.append("The endpoint has no TLS: the API token is sent unencrypted.")
    return found


def request_json(
    view: ServingView, way: Way, request: InferenceRequest, answer: InferenceAnswer
) -> dict[str, Any]:
    """The JSON object of `servedeck request -o json`; what is not known is null."""
    figures = answer.figures
    is_known = figures.tokens is not None
    return {
        "apiVersion": API_VERSION,
        "kind": "InferenceRequest",
        "namespace": view.key.namespace,
        "name": view.key.name,
        "through": way.kind.value,
        "method": request.method,
        "url": way.shown(request.path),
        "answered": not answer.problem,
        "problem": answer.problem,
        "notes": list(answer.notes),
        "status": figures.status,
        "headersSeconds": _rounded(figures.headers_seconds),
        "firstTokenSeconds": _rounded(figures.first_token_seconds),
        "totalSeconds": _rounded(figures.total_seconds),
        "promptTokens": figures.prompt_tokens,
        "tokens": figures.tokens,
        "tokensFrom": ("chunks" if figures.tokens_are_counted else "usage") if is_known else None,
        "tokensPerSecond": _rounded(figures.tokens_per_second),
        "finishReason": figures.finish_reason,
        "model": figures.model,
        "text": answer.text,
        "textIsCut": answer.is_text_cut,
    }


def _seconds(value: float) -> str:
    return format_value(value, Unit.SECONDS)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
