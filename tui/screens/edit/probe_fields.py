"""What the edit form offers at the fields of the probes: an endpoint is tried on a running Pod, and
a start-up time is proposed from the last starts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence

from servedeck.cluster.http.errors import ClusterError
from servedeck.detail.endpoint_try import EndpointAnswer, EndpointTarget
from servedeck.serving.objects.probe_text import PROBES_BY_FIELD
from servedeck.serving.spec.issues import Issue
from servedeck.serving.spec.spec import FIELDS, ServingSpec
from servedeck.serving.status.start_times import (
    describe_starts,
    propose_startup_seconds,
    startup_seconds_issue,
)
from widgets.styled_line import Line

STARTUP = "startup_seconds"


class ProbeFields:
    """The answers of the endpoints that were tried, the last one of each field, and the proposed
    start-up time."""

    def __init__(
        self,
        *,
        get_text: Callable[[str], str],
        set_text: Callable[[str, str], None],
        find_error: Callable[[str], str],
        find_target: Callable[[str], EndpointTarget],
        try_endpoint: Callable[[EndpointTarget, str], Awaitable[EndpointAnswer]],
        last_starts: Callable[[], Sequence[int]],
        find_other_probe: Callable[[str], str],
        start_worker: Callable[[Coroutine[None, None, None], str], object],
        on_change: Callable[[str], None],
    ) -> None:
        """`get_text`, `set_text` and `find_error` are about the field of a name: its text, and the
        message of its error, "" for none. `find_target` raises ClusterError where an endpoint
        cannot be tried, and `try_endpoint` where nothing answers. `last_starts` returns durations
        in seconds. `find_other_probe` returns what the probe of a field does in place of an HTTP
        request, "" if it makes one. `start_worker` runs the trial of the endpoint of a field, in
        place of the previous one of this field. `on_change` is called with the name of a field
        about which more is known."""
        self._get_text = get_text
        self._set_text = set_text
        self._find_error = find_error
        self._find_target = find_target
        self._try_endpoint = try_endpoint
        self._last_starts = last_starts
        self._find_other_probe = find_other_probe
        self._start_worker = start_worker
        self._on_change = on_change
        self._results: dict[str, tuple[str, EndpointAnswer | str | None]] = {}
        """By field the path that was tried and its answer, or why there is none; None while it is
        tried."""

    @staticmethod
    def handles(name: str) -> bool:
        """Whether there is something to do at the field."""
        return name in PROBES_BY_FIELD or name == STARTUP

    @staticmethod
    def label(name: str) -> str:
        """What `run` does at the field, for the footer."""
        return "enter proposed time" if name == STARTUP else "try endpoint"

    def disabled_reason(self, name: str) -> str:
        """Why `run` can do nothing at the field, in a sentence; "" if it can."""
        if name == STARTUP:
            proposed = propose_startup_seconds(self._last_starts())
            if not proposed:
                return "No start of a Pod was seen yet, so that no start-up time is proposed."
            if self._text(name) == str(proposed):
                return "The proposed start-up time is entered."
            return ""
        if name not in PROBES_BY_FIELD:
            labels = [FIELDS[one].label for one in (*PROBES_BY_FIELD, STARTUP)]
            return f"This key is for the fields {', '.join(labels[:-1])} and {labels[-1]}."
        if not self._text(name):
            return "There is no endpoint to try; enter a path such as /health."
        return self._find_error(name)

    def run(self, name: str) -> None:
        """Try the endpoint in the field, or enter the proposed start-up time."""
        if name == STARTUP:
            self._set_text(name, str(propose_startup_seconds(self._last_starts())))
            return
        path = self._text(name)
        self._results[name] = (path, None)
        self._on_change(name)
        self._start_worker(self._try(name, path), name)

    async def _try(self, name: str, path: str) -> None:
        result: EndpointAnswer | str
        try:
            result = await self._try_endpoint(self._find_target(name), path)
        except ClusterError as error:
            result = str(error)
        self._results[name] = (path, result)
        self._on_change(name)

    def note(self, name: str) -> Line:
        """What is known about the field, to be shown below it."""
        if name == STARTUP:
            starts = self._last_starts()
            if not starts:
                return ()
            return (
                (f"{describe_starts(starts)} Proposed: {propose_startup_seconds(starts)}.", ""),
            )
        path, result = self._results.get(name, ("", None))
        if not path or path != self._text(name):
            return self._other_probe_note(name)
        if result is None:
            return ((f"GET {path} …", "muted"),)
        if isinstance(result, str):
            return ((result, "warning"),)
        return ((result.text, "ready" if result.is_success else "warning"),)

    def _other_probe_note(self, name: str) -> Line:
        """That the Pods have another probe than the field can say."""
        if name not in PROBES_BY_FIELD or not (other := self._find_other_probe(name)):
            return ()
        return ((f"Now: {other}, which stays unless the field is changed.", "warning"),)

    def issues(self, spec: ServingSpec | None) -> list[Issue]:
        """Warnings about the values in the form: endpoints that were tried and would fail a probe,
        and a start-up time that is shorter than the last starts. `spec` is the wanted one, None
        if it cannot be read."""
        found: list[Issue] = []
        for name, (path, result) in self._results.items():
            is_current = path == self._text(name)
            if is_current and isinstance(result, EndpointAnswer) and (one := result.issue(name)):
                found.append(one)
        seconds = spec.startup_seconds if spec is not None else None
        if (too_short := startup_seconds_issue(seconds, self._last_starts())) is not None:
            found.append(too_short)
        return found

    def _text(self, name: str) -> str:
        return self._get_text(name).strip()
