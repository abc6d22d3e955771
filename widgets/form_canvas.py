"""Draws the rows of a form from plain data, and says where each field is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from rich.cells import set_cell_size
from rich.segment import Segment
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from widgets.field_input import empty_text, to_display
from widgets.form_rows import ButtonField, FieldPlace, FormField, FormRow, TextField
from widgets.styled_line import Line, StyledLineView

SPACE_AROUND = 6
"""Lines of the screen around a form, about; used before its size is known."""


class FormCanvas(StyledLineView):
    """Rows, one below the other, as they look with the focus on one of their fields."""

    COMPONENT_CLASSES = StyledLineView.COMPONENT_CLASSES | {
        "form--input",
        "form--placeholder",
        "form--focused-choice",
        "form--focused-button",
    }
    DEFAULT_CSS = """
    FormCanvas {
        height: 1fr;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
    }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: Sequence[FormRow] = ()
        self._row_tops: list[int] = []
        self.fields: Sequence[FormField] = ()
        """All fields, in the order of the focus."""
        self._rows_by_field: dict[FormField, FormRow] = {}
        self._focused_field: FormField | None = None
        self._line_width = 1
        self._laid_out_size = Size()

    # -- for the subclass -----------------------------------------------------------------------

    @property
    def contains_focus(self) -> bool:
        """Whether keys go to the form."""
        return False

    def rows_laid_out(self) -> None:
        """Fields may be in other places."""

    def scroll_to_focus(self) -> None:
        """Scroll the focused row into view."""

    # -- rows -----------------------------------------------------------------------------------

    @property
    def rows(self) -> Sequence[FormRow]:
        """All rows, from top to bottom."""
        return self._rows

    def set_rows(self, rows: Sequence[FormRow]) -> None:
        """Show other rows; none of their fields has the focus. The view stays where it is."""
        self._rows = rows
        self._rows_by_field = {field: row for row in rows for field in row.fields}
        self.fields = list(self._rows_by_field)
        self._focused_field = None
        self._lay_out()
        self.refresh()

    def _lay_out(self) -> None:
        # Before the first layout of the screen the size is estimated, to paint the form once.
        width = self.size.width or self.app.size.width
        view_height = self.size.height or self.app.size.height - SPACE_AROUND
        height = self._lay_out_rows(width - self.scrollbar_size_vertical)
        has_scrollbar = height > view_height
        if has_scrollbar != self.show_vertical_scrollbar:
            self.show_vertical_scrollbar = has_scrollbar
            height = self._lay_out_rows(width - self.scrollbar_size_vertical)
        self._laid_out_size = self.size
        size = Size(self._line_width, height)
        if size != self.virtual_size:
            # Textual's own setter lays the screen out, which is needed for the scrollbar only.
            self.set_reactive(Widget.virtual_size, size)
            if has_scrollbar:
                self.vertical_scrollbar.window_virtual_size = height
            self.scroll_y = self.validate_scroll_y(self.scroll_y)
        self.rows_laid_out()

    def _lay_out_rows(self, width: int) -> int:
        """Fit the rows into so many cells; returns the number of their lines."""
        self._line_width = max(width, 1)
        self._row_tops = []
        top = 0
        for row in self._rows:
            row.lay_out(self._line_width)
            self._row_tops.append(top)
            top += row.height
        return top

    def update_layout(self) -> None:
        """Rows may have another height: lay them out again, and keep the focused one in view."""
        height = self.virtual_size.height
        self._lay_out()
        self.refresh()
        if self.virtual_size.height != height:
            self.scroll_to_focus()

    def on_resize(self) -> None:
        if self.size != self._laid_out_size:
            self._lay_out()
            self.refresh()
        self.scroll_to_focus()

    def row_of(self, field: FormField) -> FormRow:
        """The row of a field."""
        return self._rows_by_field[field]

    def refresh_row(self, row: FormRow) -> None:
        """Repaint a row."""
        top = self.top_of(row) - self.scroll_offset.y
        self.refresh(Region(0, top, self._line_width, row.height))

    def top_of(self, row: FormRow) -> int:
        """The line of the content on which a row begins."""
        return self._row_tops[self._rows.index(row)]

    def _row_at(self, y: int) -> tuple[FormRow, int] | None:
        """The row on line `y` of the content, and which of its lines that is; None below all."""
        at = bisect_right(self._row_tops, y) - 1
        if at < 0 or y >= self._row_tops[at] + self._rows[at].height:
            return None
        return self._rows[at], y - self._row_tops[at]

    # -- places ---------------------------------------------------------------------------------

    def place_of(self, field: FormField | None) -> FieldPlace | None:
        """Where a field is in its row; None if it is not shown."""
        row = self._rows_by_field.get(field) if field is not None else None
        return next((one for one in row.places if one.field is field), None) if row else None

    def field_region(self, field: FormField) -> Region:
        """Where a field is on the screen; it may be scrolled out of view."""
        place = self.place_of(field)
        if place is None:
            return Region()
        y = self.top_of(self._rows_by_field[field]) - self.scroll_offset.y
        return Region(place.x, y, place.width, 1).translate(self.content_region.offset)

    def field_at(self, screen_x: int, screen_y: int) -> FormField | None:
        """The field at a position of the screen."""
        offset = self.content_region.offset
        x, y = screen_x - offset.x, screen_y - offset.y + self.scroll_offset.y
        found = self._row_at(y)
        if found is None or found[1]:
            return None
        return next((one.field for one in found[0].places if one.x <= x < one.x + one.width), None)

    # -- drawing --------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        width, style = self._line_width, self.rich_style
        found = self._row_at(self.scroll_offset.y + y)
        if found is None:
            return Strip.blank(width, style)
        row, line = found
        if line or not row.places:
            return self.make_strip(row.line(line), width, style)
        focused = self._focused_field if self.contains_focus else None
        between = row.lines_between(has_focus=focused in row.fields)
        segments: list[Segment] = []
        x = 0
        for place, line_before in zip(row.places, between, strict=False):
            segments += self.make_segments(line_before, place.x - x, style)
            segments += self._draw_field(place, has_focus=place.field is focused)
            x = place.x + place.width
        segments += self.make_segments(between[-1], width - x, style)
        strip = Strip(segments, max(x, width))
        return strip if x <= width else strip.crop(0, width)

    def _draw_field(self, place: FieldPlace, *, has_focus: bool) -> list[Segment]:
        field, style = place.field, self.rich_style
        if isinstance(field, TextField):
            return [self._draw_text(field, place.width)]
        line: Line
        if isinstance(field, ButtonField):
            if has_focus:
                style += self.component_style("form--focused-button", partial=True)
            line = (("▌" if has_focus else " ", "accent"), (field.label, "key"))
            return self.make_segments(line, place.width, style)
        focused = "form--focused-choice" if has_focus else "form--input"
        style += self.component_style(focused, partial=True)
        mark = ("◂▸", "key") if has_focus else ("▾ ", "muted")
        detail = ((f"  {field.detail}", "muted"),) if field.detail else ()
        line = ((field.display_text, ""), (" ", ""), mark, *detail)
        return self.make_segments(line, place.width, style)

    def _draw_text(self, field: TextField, width: int) -> Segment:
        text = to_display(field.text)
        name = "form--input"
        if not text:
            name = "form--placeholder"
            text = field.placeholder or empty_text(width, self.app.no_color)
        elif field.masked:
            text = "•" * len(text)
        style = self.rich_style + self.component_style(name, partial=True)
        return Segment(set_cell_size(text, width), style)
