"""Client of Prometheus' HTTP API, which Thanos, Mimir and VictoriaMetrics have too.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from servedeck.cluster.http.errors import clean_message
from servedeck.metrics.errors import MetricsError
from servedeck.promql.exposition import parse_value

MAX_RESPONSE_BYTES = 16 << 20
QUERY_PATH = "/api/v1/query"
QUERY_RANGE_PATH = "/api/v1/query_range"
METRIC_NAMES_PATH = "/api/v1/label/__name__/values"
LARGE_ANSWER_BYTES = 256 << 10
"""What is longer is decoded beside the screen: it takes more than a millisecond."""
MAX_ANSWER_POINTS = 50_000
"""Points of one answer that are read: 200 lines of a graph, more than are ever shown."""


class HttpAnswer(NamedTuple):
    status: int
    body: bytes


class PrometheusTransport(Protocol):
    """How Prometheus is reached."""

    @property
    def display_name(self) -> str:
        """Prometheus in a sentence, "Prometheus at prometheus.example.com:9090"."""

    async def get(self, path: str, params: Sequence[tuple[str, str]], max_bytes: int) -> HttpAnswer:
        """The answer to a GET, whatever its status is. Raises MetricsError if there is none, or it
        is longer than `max_bytes`."""

    async def close(self) -> None: ...


class Point(NamedTuple):
    time: float
    """Seconds since the epoch."""
    value: float | None
    """None for NaN and infinity: a quantile without requests, a division by 0."""


class Series(NamedTuple):
    labels: Mapping[str, str]
    """Not sanitized."""
    points: tuple[Point, ...]


class _Series(msgspec.Struct):
    metric: dict[str, str] = {}
    value: tuple[float, str] | None = None
    values: list[tuple[float, str]] = []


class _Data(msgspec.Struct, rename="camel"):
    result_type: str = ""
    result: msgspec.Raw = msgspec.Raw(b"[]")


class _Answer(msgspec.Struct, rename="camel"):
    status: str = ""
    error_type: str = ""
    error: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")
    """Empty for none."""
    warnings: list[str] = []


class Answer(NamedTuple):
    series: tuple[Series, ...]
    warning: str = ""
    """What the server says about them, one sentence: Thanos did not reach a store."""


class PrometheusClient:
    """Queries over a transport. Everything that fails is a MetricsError."""

    def __init__(self, transport: PrometheusTransport) -> None:
        self._transport = transport

    @property
    def display_name(self) -> str:
        """Prometheus in a sentence, "Prometheus at prometheus.example.com:9090"."""
        return self._transport.display_name

    async def close(self) -> None:
        await self._transport.close()

    async def query(self, expression: str, time: float | None = None) -> Answer:
        """The series of an instant query, each with one point. `time` is in seconds since the
        epoch; None for now."""
        params = [("query", expression)]
        if time is not None:
            params.append(("time", f"{time:.3f}"))
        return await self._request_series(QUERY_PATH, params)

    async def query_range(self, expression: str, start: float, end: float, step: float) -> Answer:
        """The series of a range query. Times are in seconds since the epoch, `step` in seconds. A
        point that Prometheus has no value for is missing."""
        params = [
            ("query", expression),
            ("start", f"{start:.3f}"),
            ("end", f"{end:.3f}"),
            ("step", f"{step:.3f}"),
        ]
        return await self._request_series(QUERY_RANGE_PATH, params)

    async def metric_names(self, selector: str, start: float, end: float) -> frozenset[str]:
        """The names of the series that a selector matches, of a time in seconds since the
        epoch."""
        params = [("match[]", selector), ("start", f"{start:.3f}"), ("end", f"{end:.3f}")]
        found = await self._request(METRIC_NAMES_PATH, params)
        try:
            return frozenset(msgspec.json.decode(found.data, type=list[str]))
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise MetricsError(
                f"{self._name} answers with a result that is not one of Prometheus."
            ) from error

    async def _request_series(self, path: str, params: Sequence[tuple[str, str]]) -> Answer:
        parsed = await self._request(path, params)
        if len(memoryview(parsed.data)) > LARGE_ANSWER_BYTES:
            series, left_out = await asyncio.to_thread(self._series, parsed)
        else:
            series, left_out = self._series(parsed)
        warnings = parsed.warnings[:3]
        if left_out:
            total = len(series) + left_out
            warnings.insert(0, f"only {len(series):,} of the {total:,} series are read")
        return Answer(series, clean_message("; ".join(warnings)))

    async def _request(self, path: str, params: Sequence[tuple[str, str]]) -> _Answer:
        answer = await self._transport.get(path, params, MAX_RESPONSE_BYTES)
        try:
            parsed = msgspec.json.decode(answer.body, type=_Answer)
        except (msgspec.DecodeError, ValueError, RecursionError):
            parsed = _Answer()
        if answer.status >= 300 or parsed.status == "error":
            raise self._error(answer, parsed)
        if parsed.status != "success" or not memoryview(parsed.data):
            raise MetricsError(f"{self._name} {_describe_other_answer(answer.body)}.")
        return parsed

    @property
    def _name(self) -> str:
        return self._transport.display_name

    def _error(self, answer: HttpAnswer, parsed: _Answer) -> MetricsError:
        reason = clean_message(parsed.error).rstrip(".")
        status = answer.status
        if status == 401:
            what = "requires a login (401); check the token or the headers in the settings"
        elif status == 403:
            what = f"forbids the query (403{f': {reason}' if reason else ''})"
        elif 300 <= status < 400:
            what = f"answers with a redirect ({status}), as a login does"
        elif status == 404 and not reason:
            what = "has no query API at this address (404); check its path"
        elif status in (400, 422) or parsed.error_type in ("bad_data", "execution"):
            what = f"cannot run the query: {reason or f'status {status}'}"
        elif status in (503, 504) and (parsed.error_type == "timeout" or "time" in reason):
            what = f"gave up: {reason}"
        elif status == 429:
            what = "limits the request rate (429)"
        elif status >= 500:
            what = f"is not available ({status}{f': {reason}' if reason else ''})"
        else:
            what = f"refused the query ({status}{f': {reason}' if reason else ''})"
        return MetricsError(f"{self._name} {what}.")

    def _series(self, answer: _Answer) -> tuple[tuple[Series, ...], int]:
        """The series, and how many more there are than are read."""
        series: list[Series] = []
        points = 0
        try:
            data = msgspec.json.decode(answer.data, type=_Data)
            if data.result_type in ("scalar", "string"):
                point = msgspec.json.decode(data.result, type=tuple[float, str])
                return (Series({}, (_point(point),)),), 0
            found = msgspec.json.decode(data.result, type=list[msgspec.Raw])
            for raw in found:
                one = _decode_series(raw)
                series.append(
                    Series(one.metric, tuple(map(_point, [one.value] if one.value else one.values)))
                )
                points += len(series[-1].points)
                if points >= MAX_ANSWER_POINTS:
                    break
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise MetricsError(
                f"{self._name} answers with a result that is not one of Prometheus."
            ) from error
        return tuple(series), len(found) - len(series)


_decode_series = msgspec.json.Decoder(_Series).decode
"""One by one, as no other thread runs while a whole answer is decoded: 70 ms for 15 MiB."""


def _point(pair: tuple[float, str]) -> Point:
    value = parse_value(pair[1])
    return Point(pair[0], None if value is None or not math.isfinite(value) else value)


def _describe_other_answer(body: bytes) -> str:
    if body.lstrip()[:1] == b"<":
        return "answers with a web page, as a login or another program does"
    return "does not answer as Prometheus; check its address"


def single_value(answer: Answer) -> float | None:
    """The value of a query whose result is one number; None if there is none."""
    for one in answer.series:
        for point in one.points:
            return point.value
    return None
