"""The samples of Pods that were scraped, in bounded memory."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from threading import Lock

from servedeck.promql.exposition import Sample
from servedeck.promql.expressions import Matcher
from servedeck.promql.matching import compile_matchers
from servedeck.promql.samples import STALE, Labels, SampleSeries, is_stale

MAX_BYTES = 48 << 20
MAX_BEGINS = 100
"""Begins of readings that are known of one serving."""
SERIES_BYTES = 700
"""What a series takes besides its values: its labels, and the entries that find it."""
_VALUE_BYTES = 8
_FEWEST_THINNED = 16
"""Times of a Pod below which nothing is gained by fewer."""
_RESERVE = 32
"""The share of the memory, one in so many, that is freed at once."""
_MAX_SELECTIONS = 256

PodCondition = Callable[[Mapping[str, str]], bool]
"""Of the labels that the samples of a Pod were added with."""


def _is_any(_labels: Mapping[str, str]) -> bool:
    return True


class _Series:
    """Values at a Pod's times from one of them on, to the last that is known."""

    __slots__ = ("labels", "name", "start", "values")

    def __init__(self, name: str, labels: Labels, start: int) -> None:
        self.name = name
        self.labels = labels
        self.start = start
        self.values = array("d")

    @property
    def end(self) -> int:
        return self.start + len(self.values)

    @property
    def is_live(self) -> bool:
        return not is_stale(self.values[-1])

    def set_value(self, at: int, value: float) -> None:
        """Append the value at a time; it had none at those between."""
        self.values.extend([STALE] * (at - self.end))
        self.values.append(value)

    def thin(self, low: int, high: int) -> None:
        """Keep every second of the values at the times from `low` to `high`, an even number."""
        is_live, end = self.is_live, self.end
        first, last = (min(max(one - self.start, 0), len(self.values)) for one in (low, high))
        skipped = (self.start - low) & 1 if self.start > low else 0
        thinned = self.values[first + skipped : last : 2]
        self.values = self.values[:first] + thinned + self.values[last:]
        self.start = _thinned(self.start, low, high)
        if not is_live and low < end <= high and (end - low) % 2 == 0:
            self.values.append(STALE)  # its end was at a time that is gone: now at the next one


def _thinned(at: int, low: int, high: int) -> int:
    """The number of the first time that is kept from `at` on, among those kept."""
    return at - (min(max(at, low), high) - low) // 2


class _Pod:
    """The times of a Pod's pages, and the series of them."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = dict(labels)
        self.times = array("d")
        self.levels = [0]
        """How many of the times have their neighbours, every second one, every fourth one, … of the
        pages. The newest are first; in `times` they are last."""
        self.series: dict[tuple[str, Labels], _Series] = {}
        """By name and labels as they are on the page."""
        self.by_name: dict[str, list[_Series]] = {}
        """Every name that was ever seen."""

    def thin(self) -> None:
        """Keep every second time of the older half of the level that has most. So each has about
        as many, and the distance of samples grows with their age."""
        level = max(range(len(self.levels)), key=self.levels.__getitem__)
        low = sum(self.levels[level + 1 :])
        count = self.levels[level] // 4 * 2
        high = low + count
        self.levels[level] -= count
        if level + 1 == len(self.levels):
            self.levels.append(0)
        self.levels[level + 1] += count // 2
        self.times = self.times[:low] + self.times[low:high:2] + self.times[high:]
        for key, series in list(self.series.items()):
            series.thin(low, high)
            if not series.values:
                self.remove(key)

    def remove(self, key: tuple[str, Labels]) -> None:
        series = self.series.pop(key)
        self.by_name[series.name].remove(series)

    @property
    def size(self) -> int:
        values = len(self.times) + sum(len(one.values) for one in self.series.values())
        return values * _VALUE_BYTES + len(self.series) * SERIES_BYTES


class SampleRing:
    """Samples of Pods by time. A `SampleSource`, which other threads may read than the one that
    appends.

    When they take more than the memory that is given, series that ended in the older half of the
    history are dropped, the one that ended first before the others; then every second of some older
    samples of the Pod that has most, so that the distance between samples grows with their age. The
    history remains from its begin on, and is as precise as it was scraped where it is new. A
    counter that is reset between two samples that remain still counts what it had at the first.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._pods: dict[Labels, _Pod] = {}
        self._size = 0
        self._lock = Lock()
        """Values are computed in a thread while others arrive."""
        self._reading_begins: dict[tuple[str, str], list[float]] = {}
        self._is_full = False
        """Whether there was no memory for a series."""
        self._selections: dict[
            tuple[str, tuple[Matcher, ...]], list[tuple[_Pod, list[_Series]]]
        ] = {}
        """What was selected since the last series was added or dropped."""
        self.version = 0
        """Another number after each page."""

    @property
    def size(self) -> int:
        """Bytes in use, estimated."""
        return self._size

    def since(self, is_wanted: PodCondition = _is_any) -> float | None:
        """The time of the oldest sample of the Pods whose labels fulfil a condition, in seconds
        since the epoch; None without any."""
        with self._lock:
            wanted = (pod for pod in self._pods.values() if pod.by_name and is_wanted(pod.labels))
            return min((pod.times[0] for pod in wanted), default=None)

    def names(self, is_wanted: PodCondition = _is_any) -> set[str]:
        """The names of all samples that were added of these Pods."""
        with self._lock:
            return {
                name for pod in self._pods.values() if is_wanted(pod.labels) for name in pod.by_name
            }

    def live_pods(self, is_wanted: PodCondition = _is_any) -> list[Mapping[str, str]]:
        """The labels of these Pods, of which a series has not ended."""
        with self._lock:
            return [
                pod.labels
                for pod in self._pods.values()
                if is_wanted(pod.labels) and any(one.is_live for one in pod.series.values())
            ]

    def note_reading(self, namespace: str, name: str, time: float) -> None:
        """Note that the Pods of a serving are read from `time` on, in seconds since the epoch."""
        begins = self._reading_begins.setdefault((namespace, name), [])
        begins.append(time)
        del begins[:-MAX_BEGINS]

    def reading_begins(self, namespace: str, name: str) -> list[float]:
        """When the Pods of a serving began to be read, also again, the first time first."""
        return list(self._reading_begins.get((namespace, name), ()))

    def append(self, pod_labels: Mapping[str, str], time: float, samples: Iterable[Sample]) -> None:
        """Add the samples of a page that was read at `time`, in seconds since the epoch, whole
        milliseconds of which count; a page that is not newer than the last one is ignored.

        `pod_labels` are those that a Prometheus adds when it finds the Pod: namespace, pod,
        instance. A label of the page with such a name becomes "exported_" and its name, as with
        honor_labels false. Series of the page before that this one does not have are stale.
        """
        with self._lock:
            self._append(pod_labels, time, samples)
            self.version += 1

    def _append(
        self, pod_labels: Mapping[str, str], time: float, samples: Iterable[Sample]
    ) -> None:
        pod = self._find_pod(pod_labels)
        if (at := self._add_time(pod, time)) is None:
            return
        for sample in samples:
            series = pod.series.get(sample[:2])
            if series is None:
                series = self._add_series(pod, sample, at)
            if series is not None and series.end <= at:
                self._set_value(series, at, sample.value)
        self._end_series(pod, at)
        self._shrink()

    def mark_stale(self, pod_labels: Mapping[str, str], time: float) -> None:
        """Note that the Pod did not answer at `time`, or is gone: its series have ended."""
        self.append(pod_labels, time, ())

    def select(
        self, name: str, matchers: Sequence[Matcher], start: float, end: float
    ) -> Iterator[SampleSeries]:
        """See `SampleSource`. Series of one Pod share their times where they can."""
        with self._lock:  # the parts are copied at once, and converted without it
            found = list(self._select_parts(name, tuple(matchers), start, end))
        for series, times, part in found:
            yield SampleSeries(series.name, series.labels, times, part.tolist())

    def _select_parts(
        self, name: str, matchers: tuple[Matcher, ...], start: float, end: float
    ) -> Iterator[tuple[_Series, array[float], array[float]]]:
        """The series with their times and values."""
        for pod, selected in self._selected(name, matchers):
            low, high = bisect_right(pod.times, start), bisect_right(pod.times, end)
            known = {(low, high): pod.times[low:high]}
            for series in selected:
                first, values = series.start, series.values
                if first <= low and first + len(values) >= high:
                    span = (low, high)
                else:
                    span = (max(low, first), min(high, first + len(values)))
                if span[0] >= span[1]:
                    continue
                times = known.get(span)
                if times is None:
                    times = known[span] = pod.times[span[0] : span[1]]
                yield series, times, values[span[0] - first : span[1] - first]

    def _selected(
        self, name: str, matchers: tuple[Matcher, ...]
    ) -> list[tuple[_Pod, list[_Series]]]:
        key = (name, matchers)
        found = self._selections.get(key)
        if found is None:
            matches = compile_matchers(matchers)
            found = []
            for pod in self._pods.values():
                named = pod.by_name.get(name, ()) if name else pod.series.values()
                series = [one for one in named if matches(one.name, one.labels)]
                if series:
                    found.append((pod, series))
            if len(self._selections) >= _MAX_SELECTIONS:
                self._selections.clear()
            self._selections[key] = found
        return found

    def _find_pod(self, labels: Mapping[str, str]) -> _Pod:
        key = tuple(sorted(labels.items()))
        pod = self._pods.get(key)
        if pod is None:
            pod = self._pods[key] = _Pod(labels)
            self._size += SERIES_BYTES
        return pod

    def _add_time(self, pod: _Pod, time: float) -> int | None:
        """The number of a new time; None if it is not newer."""
        time = round(time, 3)
        if pod.times and not time > pod.times[-1]:
            return None
        pod.times.append(time)
        pod.levels[0] += 1
        self._size += _VALUE_BYTES
        return len(pod.times) - 1

    def _add_series(self, pod: _Pod, sample: Sample, at: int) -> _Series | None:
        """A new series; None if there is no memory for it until others are dropped."""
        if self._size + SERIES_BYTES > self._max_bytes:
            self._is_full = True
            return None
        labels = _add_labels(sample.labels, pod.labels)
        series = pod.series[sample[:2]] = _Series(sample.name, labels, at)
        pod.by_name.setdefault(sample.name, []).append(series)
        self._size += SERIES_BYTES
        self._selections.clear()
        return series

    def _set_value(self, series: _Series, at: int, value: float) -> None:
        before = len(series.values)
        series.set_value(at, value)
        self._size += (len(series.values) - before) * _VALUE_BYTES

    def _end_series(self, pod: _Pod, at: int) -> None:
        """Mark the series that have no value at the newest time."""
        for series in pod.series.values():
            if series.end == at and series.is_live:
                self._set_value(series, at, STALE)

    def _shrink(self) -> None:
        """If too much memory is in use, free some, and more than that for new series."""
        if self._size <= self._max_bytes and not self._is_full:
            return
        wanted = self._max_bytes - self._max_bytes // _RESERVE
        self._drop_ended(wanted)
        while self._size > wanted:
            pod = max(
                (one for one in self._pods.values() if len(one.times) >= _FEWEST_THINNED),
                key=lambda one: one.size,
                default=None,
            )
            if pod is None:
                break
            before = pod.size
            pod.thin()
            self._size -= before - pod.size
            self._selections.clear()
        self._is_full = False

    def _drop_ended(self, wanted: int) -> None:
        """Drop the series that ended in the older half of the history, the first one first, until
        `wanted` bytes are in use; where there was no memory for new series, later ones too."""
        since = min((pod.times[0] for pod in self._pods.values()), default=None)
        if since is None:
            return
        newest = max(pod.times[-1] for pod in self._pods.values())
        limit = newest if self._is_full else (since + newest) / 2
        ended = sorted(
            (
                (pod.times[one.end - 1], number, pod, key)
                for number, (pod, key, one) in enumerate(self._all_series())
                if not one.is_live and pod.times[one.end - 1] < limit
            ),
            key=lambda found: found[:2],
        )
        for _time, _number, pod, key in ended:
            if self._size <= wanted:
                break
            before = pod.size
            pod.remove(key)
            self._size -= before - pod.size
            self._selections.clear()
            if not pod.series:
                self._drop_pod(pod)

    def _all_series(self) -> Iterator[tuple[_Pod, tuple[str, Labels], _Series]]:
        for pod in self._pods.values():
            for key, series in pod.series.items():
                yield pod, key, series

    def _drop_pod(self, pod: _Pod) -> None:
        del self._pods[tuple(sorted(pod.labels.items()))]
        self._size -= len(pod.times) * _VALUE_BYTES + SERIES_BYTES


def _add_labels(labels: Labels, added: Mapping[str, str]) -> Labels:
    """The labels of a page with those of its Pod. Source: scrape/target.go of Prometheus
    (resolveConflictingExposedLabels)."""
    result = {name: value for name, value in labels if name not in added}
    for name, value in labels:
        if name in added:
            renamed = f"exported_{name}"
            while renamed in result or renamed in added or renamed in dict(labels):
                renamed = f"exported_{renamed}"
            result[renamed] = value
    return tuple(sorted((result | {k: v for k, v in added.items() if v}).items()))
