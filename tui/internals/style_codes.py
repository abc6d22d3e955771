"""Escape sequences for styles: only what differs from the style before is sent. Rich and Textual
send the whole style and a reset with each piece of text, which is half of all bytes of a screen: a
terminal takes 10 kB at once, and for the rest of a frame the program waits."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from rich.color import ColorSystem
from rich.style import Style
from textual.strip import Strip


class StyleCodes(NamedTuple):
    """The SGR parameters of a style (ECMA-48 8.3.117)."""

    attributes: str
    """Bold and others; "" for none."""
    foreground: str
    background: str


DEFAULT_CODES = StyleCodes("", "39", "49")


@lru_cache(maxsize=2048)
def style_codes(style: Style | None, colors: ColorSystem) -> StyleCodes:
    """The parameters of a style. Links are left out: no text of the cluster becomes one."""
    if style is None:
        return DEFAULT_CODES
    plain = Strip.render_style(style.without_color.update_link(None), "", colors)
    color, background = (
        None if one is None else ";".join(one.downgrade(colors).get_ansi_codes(is_foreground))
        for one, is_foreground in ((style.color, True), (style.bgcolor, False))
    )
    return StyleCodes(
        plain.removeprefix("\x1b[").removesuffix("m\x1b[0m"),
        color or DEFAULT_CODES.foreground,
        background or DEFAULT_CODES.background,
    )


@lru_cache(maxsize=8192)
def change_style(before: StyleCodes, after: StyleCodes) -> str:
    """The sequence that makes a terminal that shows text like `before` show it like `after`."""
    if before == after:
        return ""
    if after == DEFAULT_CODES:
        return "\x1b[m"
    codes: list[str] = []
    if before.attributes and before.attributes != after.attributes:
        codes.append("0")  # attributes are only set, never taken back one by one
        before = DEFAULT_CODES
    if before.attributes != after.attributes:
        codes.append(after.attributes)
    codes += [new for old, new in zip(before[1:], after[1:], strict=True) if old != new]
    return f"\x1b[{';'.join(codes)}m"
