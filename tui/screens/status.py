"""The status of one serving in front of the list: opened by key, click or mouse, kept true."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.geometry import Region
from textual.timer import Timer

from servedeck.fleet.views import Key, ServingView
from servedeck.serving.capacity import Scarce, nearest
from widgets.status_popover import Crash, StatusPopover, Tail, crash_of

if TYPE_CHECKING:
    from tui.screens.servings import ServingsScreen
    from tui.workbench import Around

TAIL_LINES = 20
"""Lines of the crashed container that are shown."""

NODES_PERIOD = 0.5
"""Seconds between two looks at what is free on the nodes, while that changes all the time."""

HOVER_DELAY = 0.35
"""Seconds that the mouse rests on a status before it is shown."""


class StatusPane:
    """Keeps the popover of the serving list where it belongs and true."""

    def __init__(self, screen: ServingsScreen) -> None:
        self._screen = screen
        self._hover: Timer | None = None
        self._peeking = False
        self._tail: Tail | None = None
        self._placed: tuple[Region, int] | None = None
        """Where it was placed last; None where that was of another text."""
        self._nodes: Around | None = None
        """The nodes and what is in use of them, watched while a shortage is shown."""
        self._nodes_shown: Timer | None = None

    @property
    def popover(self) -> StatusPopover:
        return self._screen.popover

    @property
    def is_open(self) -> bool:
        return self.popover.is_open

    @property
    def has_keys(self) -> bool:
        """Whether keys are meant for it; not where the mouse alone shows it."""
        return self.is_open and not self._peeking

    def open(self, view: ServingView, *, peeking: bool = False) -> None:
        """Show the status of a serving; `peeking` leaves the keys to the list."""
        self._peeking = peeking
        self._tail = None
        self._watch_nodes(view)
        self._show(view, self._wanted_tail(view))
        if not peeking:
            self.popover.focus()
        self._screen.show_hints()

    def close(self) -> None:
        self._peeking = False
        self._tail = None
        self._leave_nodes()
        self.popover.hide()
        self._screen.table.focus()
        self._screen.show_hints()

    def refresh(self) -> None:
        """Bring what is open up to date."""
        if self.popover.view is None:
            return
        key = self.popover.view.key
        view = self._view(key)
        if view is None:
            self.close()
            self._screen.say(f"{key} was deleted.", "warning")
        else:
            if view is not self.popover.view:
                self._watch_nodes(view)
                self._show(view, self._wanted_tail(view))
            self.place()  # other rows may have moved this one

    def _show(self, view: ServingView, tail: Tail | None) -> None:
        self.popover.show(view, tail, self._room(view))
        self._placed = None
        self.place()

    def place(self) -> None:
        """Below or above the serving's row, at its edge where the row was scrolled out of
        sight; column labels and row stay in sight."""
        view = self.popover.view
        if view is not None:
            rows, line = self._screen.table.beside(view.key)
            placed = (rows, line)
            if placed != self._placed:
                self._placed = placed
                self.popover.place(rows, line)

    def hovered(self, key: Key | None) -> None:
        """The mouse is on the status of a serving, or on none."""
        if self._hover is not None:
            self._hover.stop()
        if key is not None or self._peeking:
            self._hover = self._screen.set_timer(HOVER_DELAY, lambda: self._peek(key))

    def _peek(self, key: Key | None) -> None:
        """Show the status under the mouse while the mouse stays there or on what is shown."""
        view = self._view(key) if key is not None else None
        if view is not None and not self.has_keys:
            self.open(view, peeking=True)
        elif self._peeking and self._screen.app.mouse_over is not self.popover:
            self.close()

    def _view(self, key: Key) -> ServingView | None:
        return self._screen.servedeck.source.fleet.view(key)

    def _wanted_tail(self, view: ServingView) -> Tail | None:
        """The crashed container's lines; begins to read them where they are not known, and again
        where that failed, with the next change of the serving."""
        crash = crash_of(view)
        if crash is None:
            self._tail = None
        elif self._tail is None or self._tail.crash != crash or self._tail.problem:
            known = self._tail if self._tail and self._tail.crash[:3] == crash[:3] else None
            self._tail = Tail(crash, known.lines if known else ())
            self._screen.start(self._read_tail(crash), "tail")
        return self._tail

    async def _read_tail(self, crash: Crash) -> None:
        tail = await self._screen.servedeck.read_tail(crash, TAIL_LINES)
        if self._tail is not None and self._tail.crash == crash and self.popover.view is not None:
            self._tail = tail
            self._show(self.popover.view, self._tail)

    # -- what is free on the nodes ------------------------------------------------------------

    def _watch_nodes(self, view: ServingView) -> None:
        """Watch the nodes while they can say something about what is shown."""
        workbench = self._screen.servedeck.workbench
        if not _scarce(view) or self._peeking or workbench is None:
            self._leave_nodes()
        elif self._nodes is None:
            self._nodes = workbench.around(view.key.namespace, self._on_nodes, nodes_only=True)

    def _leave_nodes(self) -> None:
        if self._nodes_shown is not None:
            self._nodes_shown.stop()
            self._nodes_shown = None
        if self._nodes is not None:
            nodes, self._nodes = self._nodes, None
            self._screen.run_worker(nodes.close(), "nodes", exit_on_error=False)

    def _on_nodes(self) -> None:
        """Something on the nodes changed; many changes at once are shown as one."""
        if self._nodes_shown is None and self._nodes is not None:
            self._nodes_shown = self._screen.set_timer(NODES_PERIOD, self._show_nodes)

    def _show_nodes(self) -> None:
        self._nodes_shown = None
        if self.popover.view is not None:
            self._show(self.popover.view, self._tail)

    def _room(self, view: ServingView) -> str:
        """Where the most is free of what is scarce; "" where that is not known."""
        rooms = self._nodes.rooms() if self._nodes is not None else None
        return nearest(rooms, _scarce(view)) if rooms is not None else ""


def _scarce(view: ServingView) -> list[Scarce]:
    """What the Pods of the serving ask for of the resources that are scarce."""
    found = {one.resource: one for pod in view.failing_pods for one in pod.scarce}
    return list(found.values())
