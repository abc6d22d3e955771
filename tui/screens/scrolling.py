"""Keys that scroll a text, the same on every screen."""

from __future__ import annotations

from widgets.text_view import TextView

SCROLL_TO_END_LINES = 1_000_000
"""A number of lines greater than any text has."""


def scroll_by_key(text: TextView, key: str) -> None:
    """Scroll by the key."""
    match key:
        case "j" | "down":
            text.scroll_lines(1)
        case "k" | "up":
            text.scroll_lines(-1)
        case "pagedown":
            text.scroll_pages(1)
        case "pageup":
            text.scroll_pages(-1)
        case "g" | "home":
            text.scroll_lines(-SCROLL_TO_END_LINES)
        case "G" | "end":
            text.scroll_lines(SCROLL_TO_END_LINES)
