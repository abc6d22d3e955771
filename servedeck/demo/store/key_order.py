"""The keys of one kind's objects in order, for all namespaces and for each, without sorting them
for every list."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence

from servedeck.demo.store.objects import Key


class KeyOrder:
    """The keys by namespace and name."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._all = sorted(keys)
        self._by_namespace: dict[str, list[Key]] = {}
        for key in self._all:
            self._by_namespace.setdefault(key[0], []).append(key)

    def of(self, namespace: str | None) -> Sequence[Key]:
        """The keys of a namespace, of all for None or ""."""
        return self._by_namespace.get(namespace, ()) if namespace else self._all

    def add(self, key: Key) -> None:
        """A key that is not there yet."""
        insort(self._all, key)
        insort(self._by_namespace.setdefault(key[0], []), key)

    def remove(self, key: Key) -> None:
        """A key that is there."""
        own = self._by_namespace[key[0]]
        for keys in (self._all, own):
            del keys[bisect_left(keys, key)]
        if not own:
            del self._by_namespace[key[0]]
