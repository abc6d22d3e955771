"""Keys that scroll a view of lines."""

from __future__ import annotations

from textual.binding import Binding

SCROLL_BINDINGS = (
    Binding("down,j", "lines(1)", "Down", show=False),
    Binding("up,k", "lines(-1)", "Up", show=False),
    Binding("pagedown,ctrl+f", "pages(1)", "Page down", show=False),
    Binding("pageup,ctrl+u", "pages(-1)", "Page up", show=False),
    Binding("home,g", "top", "Top", show=False),
    Binding("left", "sideways(-1)", "Left", show=False),
    Binding("right", "sideways(1)", "Right", show=False),
)
"""The widget has the actions; what the end does is its own."""
