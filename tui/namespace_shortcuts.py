"""The namespaces of the digits 1 to 9."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence


class NamespaceShortcuts:
    """Favorites first, then the namespaces with most servings; an assigned digit stays."""

    def __init__(self, favorites: Sequence[str] = ()) -> None:
        self._namespaces = list(favorites)[:9]

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Namespaces of the digits from 1 on."""
        return tuple(self._namespaces)

    def assign_free(self, namespaces: Iterable[str]) -> None:
        """Assign free digits to the namespaces of the servings."""
        if len(self._namespaces) == 9:
            return
        counted = Counter(namespaces)
        for name, _count in sorted(counted.items(), key=lambda item: (-item[1], item[0])):
            if name not in self._namespaces and len(self._namespaces) < 9:
                self._namespaces.append(name)

    def namespace_for(self, digit: int) -> str | None:
        """Namespace of a digit, "" (all) for 0, None if the digit is free."""
        if digit == 0:
            return ""
        return self._namespaces[digit - 1] if digit <= len(self._namespaces) else None
