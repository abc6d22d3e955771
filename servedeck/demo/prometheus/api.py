"""Prometheus' HTTP API: queries, and the names and labels of series.

Sources: https://prometheus.io/docs/prometheus/latest/querying/api/ and web/api/v1/api.go of
Prometheus 3.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from servedeck.demo.api.kubelet_api import ProxyRequest, ProxyResponse
from servedeck.demo.prometheus.query_engine import QueryEngine
from servedeck.promql.errors import PromqlError
from servedeck.promql.evaluation import MAX_STEPS
from servedeck.promql.expressions import Expression, Selector
from servedeck.promql.functions import ValueType, check_type
from servedeck.promql.parser import parse_expression
from servedeck.promql.samples import RangeSeries

Json = dict[str, Any]

VERSION = "3.9.1"
_TEXT = {"content-type": "text/plain; charset=utf-8"}
_JSON = {"content-type": "application/json"}
_DURATION = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?"
)
_DURATION_SECONDS = (31_536_000.0, 604_800.0, 86_400.0, 3600.0, 60.0, 1.0, 0.001)
_LABEL_VALUES = re.compile(r"/api/v1/label/([^/]+)/values")


class ApiError(Exception):
    """A request that is answered with an error; str() is its text."""

    def __init__(self, kind: str, message: str) -> None:
        """`kind`: "bad_data", "execution" or "not_found", as in the API."""
        super().__init__(message)
        self.kind = kind

    @property
    def status(self) -> int:
        return {"bad_data": 400, "execution": 422}.get(self.kind, 404)


class Parameters:
    """The parameters of a request: of its query, and of the form in its body."""

    def __init__(self, request: ProxyRequest) -> None:
        query = request.path.partition("?")[2]
        headers = {name.lower(): value for name, value in request.headers.items()}
        form = ""
        if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            form = request.body.decode("utf-8", "replace")
        self._pairs = [pair for text in (form, query) for pair in parse_qsl(text, True)]

    def get(self, name: str) -> str:
        """The first value, "" for none."""
        return next((value for key, value in self._pairs if key == name), "")

    def get_all(self, name: str) -> list[str]:
        return [value for key, value in self._pairs if key == name]

    def time(self, name: str, default: float | None = None) -> float:
        """Seconds since the epoch, in whole milliseconds. Raises ApiError."""
        text = self.get(name)
        if not text and default is not None:
            return default
        found = _parse_time(text)
        if found is None:
            raise _invalid(name, f'cannot parse "{text}" to a valid timestamp')
        return found

    def step(self) -> float:
        """Seconds. Raises ApiError."""
        text = self.get("step")
        found = _parse_duration(text)
        if found is None:
            raise _invalid("step", f'cannot parse "{text}" to a valid duration')
        if found <= 0:
            raise _invalid(
                "step",
                "zero or negative query resolution step widths are not accepted. "
                "Try a positive integer",
            )
        return found


class PrometheusApi:
    """Answers the requests to the port of Prometheus."""

    def __init__(self, engine: QueryEngine) -> None:
        self._engine = engine

    def handle(self, request: ProxyRequest) -> ProxyResponse:
        """The response to any request."""
        path = request.path.partition("?")[0]
        if path in ("/-/ready", "/-/healthy"):
            word = "Ready" if path.endswith("ready") else "Healthy"
            return ProxyResponse(200, _TEXT, f"Prometheus Server is {word}.\n".encode())
        if not path.startswith("/api/v1/"):
            return ProxyResponse(404, _TEXT, b"404 page not found\n")
        if request.method not in ("GET", "POST"):
            return ProxyResponse(405, _TEXT, b"Method Not Allowed\n")
        try:
            data = self._answer(path, Parameters(request))
        except ApiError as error:
            body = {"status": "error", "errorType": error.kind, "error": str(error)}
            return ProxyResponse(error.status, _JSON, msgspec.json.encode(body))
        return ProxyResponse(200, _JSON, msgspec.json.encode({"status": "success", "data": data}))

    def _answer(self, path: str, parameters: Parameters) -> Any:
        if path == "/api/v1/query":
            return self._query(parameters)
        if path == "/api/v1/query_range":
            return self._query_range(parameters)
        if path == "/api/v1/series":
            if not parameters.get_all("match[]"):
                raise ApiError("bad_data", "no match[] parameter provided")
            return [{"__name__": name, **labels} for name, labels in self._series(parameters)]
        if path == "/api/v1/labels":
            names = {key for _, labels in self._series(parameters) for key in labels}
            return sorted({"__name__", *names})
        if path == "/api/v1/status/buildinfo":
            return {"version": VERSION, "revision": "demo", "branch": "HEAD", "goVersion": "none"}
        match = _LABEL_VALUES.fullmatch(path)
        if match is not None:
            found = self._series(parameters)
            label = match[1]
            values = {name if label == "__name__" else labels.get(label) for name, labels in found}
            return sorted(value for value in values if value)
        raise ApiError("not_found", "404 page not found")

    def _query(self, parameters: Parameters) -> Json:
        expression = _parse_query(parameters)
        time = parameters.time("time", self._engine.now())
        series = self._evaluate(expression, time, time, 1.0)
        if check_type(expression) is ValueType.SCALAR:
            return {"resultType": "scalar", "result": _point(time, series[0].values[0] or 0.0)}
        result = [
            {"metric": one.labels, "value": _point(time, value)}
            for one in series
            if (value := one.values[0]) is not None
        ]
        return {"resultType": "vector", "result": result}

    def _query_range(self, parameters: Parameters) -> Json:
        start, end = parameters.time("start"), parameters.time("end")
        if end < start:
            raise _invalid("end", "end timestamp must not be before start time")
        step = parameters.step()
        if (end - start) / step > MAX_STEPS:
            raise ApiError(
                "bad_data",
                "exceeded maximum resolution of 11,000 points per timeseries. "
                "Try decreasing the query resolution (?step=XX)",
            )
        series = self._evaluate(_parse_query(parameters), start, end, step)
        result = [
            {
                "metric": one.labels,
                "values": [
                    _point(start + step * number, value)
                    for number, value in enumerate(one.values)
                    if value is not None
                ],
            }
            for one in series
        ]
        return {"resultType": "matrix", "result": result}

    def _evaluate(
        self, expression: Expression, start: float, end: float, step: float
    ) -> list[RangeSeries]:
        try:
            return self._engine.evaluate(expression, start, end, step)
        except PromqlError as error:
            raise ApiError("execution", str(error)) from error

    def _series(self, parameters: Parameters) -> list[tuple[str, dict[str, str]]]:
        """The series that one of the selectors selects, of all if there is none."""
        end = parameters.time("end", self._engine.now())
        start = parameters.time("start", self._engine.oldest())
        if end < start:
            raise _invalid("end", "end timestamp must not be before start time")
        selectors = [_parse_selector(text) for text in parameters.get_all("match[]")]
        try:
            return self._engine.find_series(selectors, start, end)
        except PromqlError as error:
            raise _invalid("match[]", str(error)) from error


def _parse_query(parameters: Parameters) -> Expression:
    text = parameters.get("query")
    try:
        expression = parse_expression(text)
        if check_type(expression) is ValueType.RANGE:
            raise PromqlError('invalid expression type "range vector" for range query')
    except PromqlError as error:
        raise _invalid("query", f"parse error: {error}") from error
    return expression


def _parse_selector(text: str) -> Selector:
    try:
        expression = parse_expression(text)
    except PromqlError as error:
        raise _invalid("match[]", f"parse error: {error}") from error
    if not isinstance(expression, Selector) or expression.window:
        raise _invalid("match[]", "parse error: a selector of series is needed")
    return expression


def _invalid(name: str, message: str) -> ApiError:
    return ApiError("bad_data", f'invalid parameter "{name}": {message}')


def _parse_time(text: str) -> float | None:
    """Seconds since the epoch of a number of seconds or an RFC 3339 time."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        if moment.tzinfo is None:
            return None
        seconds = moment.timestamp()
    return round(seconds, 3) if math.isfinite(seconds) and abs(seconds) < 1e11 else None


def _parse_duration(text: str) -> float | None:
    """Seconds of a number of seconds or a text such as "1h30m"."""
    try:
        seconds = float(text)
    except ValueError:
        match = _DURATION.fullmatch(text)
        if match is None or not text:
            return None
        seconds = sum(
            int(part or 0) * unit
            for part, unit in zip(match.groups(), _DURATION_SECONDS, strict=True)
        )
    return round(seconds, 3) if math.isfinite(seconds) else None


def _point(time: float, value: float) -> Sequence[float | str]:
    return (round(time, 3), format_value(value))


def format_value(value: float) -> str:
    """A value as Prometheus writes it: "1", "0.25", "+Inf", never with an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if "e" in text:
        text = format(Decimal(text), "f")
    return text.removesuffix(".0")
