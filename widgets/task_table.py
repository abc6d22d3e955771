"""The table of the tasks that are loaded of a longer list."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from widgets.table import KeyedTable


class TaskTable(KeyedTable):
    """Its ends are those of the whole list: who has it loads what is there."""

    @dataclass
    class EdgeRequested(Message):
        """The first or the last task of the whole list was requested; the cursor is at that end of
        those that are loaded already."""

        at_end: bool

    KEEPS_LINE = True

    def action_edge(self, bottom: bool) -> None:
        super().action_edge(bottom)
        self.post_message(self.EdgeRequested(bottom))
