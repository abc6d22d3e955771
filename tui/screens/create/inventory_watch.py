"""Watches nodes, PVCs and namespaces while the create form is open."""

from __future__ import annotations

from collections.abc import Callable

from tui.ports.change_service import Inventory


class InventoryWatch:
    """The current inventory; replaced if another namespace requires it."""

    def __init__(self, watch: Callable[[str, Callable[[], None]], Inventory | None]) -> None:
        """`watch` starts to watch the inventory of a namespace, and calls its second argument
        after each change; it returns None while there is no connection."""
        self._watch = watch
        self._namespace = ""
        self.inventory: Inventory | None = None
        self.changed = False
        """Whether it changed since `take_change`."""

    def start(self, namespace: str) -> None:
        """Start as soon as there is a connection: call it again until then."""
        self.inventory = self._watch(namespace, self._on_change)
        self._namespace = namespace
        self.changed = True

    def _on_change(self) -> None:
        self.changed = True

    def take_change(self) -> bool:
        """Whether it changed since the last call."""
        changed, self.changed = self.changed, False
        return changed

    async def watch_namespace(self, namespace: str) -> None:
        """If PVCs can only be listed in one namespace, watch those of this one."""
        before = self.inventory
        if before is None or namespace == self._namespace or before.pvcs(namespace) is not None:
            return
        self.start(namespace)
        await before.close()

    async def close(self) -> None:
        if self.inventory is not None:
            before, self.inventory = self.inventory, None
            await before.close()
