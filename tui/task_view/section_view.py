"""Makes the document of each section of a task, the large ones in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import NamedTuple

from servedeck.async_queue.body_text import BodyText
from servedeck.async_queue.queue_api import Side
from tui.task_view.bodies import KeyDisplay, body_heading, request_items, response_items
from tui.task_view.body_sources import BodyView, available_views, body_source
from tui.task_view.reader import TaskReader
from tui.task_view.summary import TaskPicture, attempt_items, attempt_rows, summary_items
from widgets.document_view import Document, JoinedDocument, LineList, Place
from widgets.wrapped_document import TextSource, WrappedDocument, is_large

BODY_PART = 2
"""Which part of the document of a request or response has its body."""


class Section(Enum):
    """Parts of the screen, of which one is shown."""

    SUMMARY = "Summary"
    ATTEMPTS = "Attempts"
    REQUEST = "Request"
    RESPONSE = "Response"

    @property
    def side(self) -> Side | None:
        """Whose body it shows."""
        return {Section.REQUEST: Side.REQUEST, Section.RESPONSE: Side.RESPONSE}.get(self)


SECTIONS = tuple(Section)
"""In the order of their keys."""


class _BodyKey(NamedTuple):
    """What the document of a body was made of."""

    text: BodyText
    view: BodyView
    folded: frozenset[int]
    width: int

    def is_same(self, other: _BodyKey | None) -> bool:
        return other is not None and self.text is other.text and self[1:] == other[1:]


class BodyDocuments:
    """The document of one body, and how it is shown: its view, and what is folded."""

    def __init__(self, start_worker: Callable[[Coroutine[None, None, None]], object]) -> None:
        """`start_worker` runs what makes a large document, in place of the one before."""
        self._start_worker = start_worker
        self._view: BodyView | None = None
        """None for the best one."""
        self._folded: frozenset[int] = frozenset()
        self._folded_of: BodyText | None = None
        self._key: _BodyKey | None = None
        self._document: Document = LineList()
        self._made_for: _BodyKey | None = None
        """What a thread makes the document of."""

    def view(self, text: BodyText) -> BodyView | None:
        """How the body is shown; None if it is empty."""
        views = available_views(text)
        if self._view in views:
            return self._view
        return views[0] if views else None

    def next_view(self, text: BodyText) -> None:
        """Show it in the next way."""
        views = available_views(text)
        if (shown := self.view(text)) is not None:
            self._view = views[(views.index(shown) + 1) % len(views)]

    def document(self, text: BodyText, width: int, on_made: Callable[[], None]) -> Document:
        """The document of the body; that of before, or of less of the same body, while a thread
        makes another, which calls `on_made` when it is done."""
        view = self.view(text)
        if view is None:
            return LineList()
        self._prepare_folds(text)
        key = _BodyKey(text, view, self._folded, width)
        if key.is_same(self._key) or key.is_same(self._made_for):
            return self._document
        source = body_source(text, view, self._folded) if view is BodyView.JSON else None
        if source is not None and not is_large(source):
            self._set(key, WrappedDocument(source, width))
        elif source is None and len(text.text) < _FEW_CHARACTERS:
            self._set(key, WrappedDocument(body_source(text, view, self._folded), width))
        else:
            if self._key is None or not _is_more_of(text, self._key.text):
                self._document = LineList([[(("Loading…", "muted"),)]])
            self._made_for = key
            self._start_worker(self._make(key, source, on_made))
        return self._document

    def _set(self, key: _BodyKey, document: Document) -> None:
        self._key, self._document, self._made_for = key, document, None

    async def _make(
        self, key: _BodyKey, source: TextSource | None, on_made: Callable[[], None]
    ) -> None:
        def make() -> WrappedDocument:
            lines = source or body_source(key.text, key.view, key.folded)
            return WrappedDocument(lines, key.width)

        document = await asyncio.to_thread(make)
        if key.is_same(self._made_for):
            self._set(key, document)
            on_made()

    # -- folding ------------------------------------------------------------------------------

    def _prepare_folds(self, text: BodyText) -> None:
        """What is folded at first, of another body; more of the same one keeps its folds."""
        before, self._folded_of = self._folded_of, text
        if before is text or text.json is None:
            return
        if before is None or before.json is None or not _is_more_of(text, before):
            self._folded = text.json.folded_at_first
        else:
            self._folded |= text.json.folded_at_first - before.json.folded_at_first

    def can_fold(self, text: BodyText | None) -> bool:
        return text is not None and self.view(text) is BodyView.JSON

    def fold(self, text: BodyText, item: int) -> int:
        """Fold or unfold what begins on a line, else what the line is in; returns the line where
        that begins."""
        json = text.json
        if json is None or not json.lines:
            return item
        item = min(item, len(json.lines) - 1)
        if not json.can_fold(item):
            parent = json.parent(item)
            if parent is None:
                return item
            item = parent
        self._folded ^= {item}
        return item

    def fold_all(self, text: BodyText) -> None:
        """Fold all that is within the outermost value, or unfold all."""
        if (json := text.json) is None:
            return
        inner = frozenset(one for one in range(1, len(json.lines)) if json.can_fold(one))
        self._folded = frozenset() if inner <= self._folded else self._folded | inner


def _is_more_of(text: BodyText, before: BodyText) -> bool:
    """Whether it is the same body, of which more may be read by now."""
    return text is before or text.text.startswith(before.text[:1000])


_FEW_CHARACTERS = 20_000
"""The lines of a text of fewer, or of a conversation from it, are made in about 5 ms."""


class SectionView:
    """The documents of the sections of one task."""

    def __init__(
        self,
        reader: TaskReader,
        key_display: KeyDisplay,
        start_worker: Callable[[Coroutine[None, None, None], str], object],
    ) -> None:
        """`start_worker` runs a coroutine, replacing the one of the same group."""
        self._reader = reader
        self._key_display = key_display
        self.shows_headers = True
        self.places: dict[Section, Place] = {}
        """Where the cursor was in each section."""

        def documents(side: Side) -> BodyDocuments:
            return BodyDocuments(lambda work: start_worker(work, f"document-{side.value}"))

        self.bodies = {side: documents(side) for side in Side}

    def document(
        self, section: Section, picture: TaskPicture, width: int, on_made: Callable[[], None]
    ) -> Document:
        """The document of a section; `on_made` is called when a better one has been made."""
        if section is Section.SUMMARY:
            return LineList(summary_items(picture, width))
        if section is Section.ATTEMPTS:
            rows = attempt_rows(picture.task, picture.attempts or ())
            if rows:
                return LineList(attempt_items(rows, picture.now, width))
            text = "There was no attempt yet." if picture.attempts is not None else "Loading…"
            problem = self._reader.problem if picture.attempts is None else ""
            return LineList([[((problem or text, "muted"),)]])
        side = section.side or Side.REQUEST
        return JoinedDocument(self._body_parts(side, width, on_made))

    def _body_parts(self, side: Side, width: int, on_made: Callable[[], None]) -> list[Document]:
        reader = self._reader
        if side is Side.REQUEST:
            items = request_items(
                reader.request, reader.problem, width, shows_headers=self.shows_headers
            )
        else:
            items = response_items(
                reader.response,
                reader.task,
                reader.problem,
                width,
                is_missing=reader.has_no_response,
                shows_headers=self.shows_headers,
            )
            if reader.has_no_response:
                return [LineList(items)]
        state = reader.bodies[side]
        documents = self.bodies[side]
        view = documents.view(state.text) if state.text is not None else None
        heading = body_heading(state, view, self._key_display, width)
        parts: list[Document] = [LineList(items), LineList(heading)]
        if state.text is not None:
            parts.append(documents.document(state.text, width, on_made))
        return parts

    def offers(self, name: str, section: Section) -> bool:
        """Whether the footer names an action on the body that is shown."""
        side = section.side
        if side is None or (text := self._reader.bodies[side].text) is None:
            return False
        if name == "view":
            return len(available_views(text)) > 1
        if name == "fold":
            return self.bodies[side].can_fold(text)
        return self._reader.bodies[side].can_load_more

    def disabled_reason(self, name: str, section: Section, place: Place) -> str:
        """Why an action on a body is not possible, in one sentence; "" if it is."""
        side = section.side
        if side is None:
            return "Show the request or the response first."
        if name == "headers":
            return ""
        state = self._reader.bodies[side]
        if state.text is None:
            return state.problem or "The body is not read."
        if name == "more" and not state.can_load_more:
            return "All that can be shown of the body is shown."
        if name == "fold" and place.part != BODY_PART:
            return "There is nothing to fold under the cursor."
        if name in ("fold", "fold_all") and not self.bodies[side].can_fold(state.text):
            return "Only JSON can be folded."
        return ""
