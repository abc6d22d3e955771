"""Colours that a program wrote into its log, as names of styles; every other terminal escape is
dropped."""

from __future__ import annotations

import re

from servedeck.logs.text import decode_line, plain_text, shown_part
from servedeck.serving.text import TERMINAL_ESCAPE, sanitize

COLORS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
"""The colours of a style, in the order of their numbers in ECMA-48: red is bit 0, green bit 1, blue
bit 2."""

# Select graphic rendition: ECMA-48, 8.3.117; its parameters, and those of ITU-T T.416 that 38 and
# 48 introduce, are listed in https://invisible-island.net/xterm/ctlseqs/ctlseqs.html.
_SGR = re.compile(r"(?:\x1b\[|\x9b)([0-9;:]*)m\Z")
_MOST_PARAMETERS = 32
_LONGEST_STYLED = 1 << 16

# The steps of each channel in the color cube of 256-color terminals.
_CUBE = (0, 95, 135, 175, 215, 255)
# A color whose strongest channel is weaker than this is black.
_DARKEST = 48


def styled_text(raw: bytes) -> tuple[tuple[str, str], ...]:
    """Pieces (text, style) of one line; joined, their texts are `plain_text(raw)`.

    A style is "", a name of `COLORS`, "bold", or "bold" and such a name ("bold red"). Bright
    colours, those of 256-color terminals and true colours are given as the nearest of the eight.
    A line of more than 64 KiB has no styles. A line without text has no pieces.
    """
    plain = plain_text(raw)
    if not plain:
        return ()
    if len(raw) > _LONGEST_STYLED or (b"\x1b" not in raw and b"\xc2\x9b" not in raw):
        return ((plain, ""),)
    chunks, styles = _split(decode_line(raw))
    start, end = shown_part("".join(chunks))
    pieces: list[tuple[str, str]] = []
    position = 0
    for chunk, style in zip(chunks, styles, strict=True):
        part = chunk[max(start - position, 0) : max(end - position, 0)]
        position += len(chunk)
        if not (text := sanitize(part).replace("\n", " ")):
            continue
        if pieces and pieces[-1][1] == style:
            pieces[-1] = (pieces[-1][0] + text, style)
        else:
            pieces.append((text, style))
    # Escapes inside each other, or between stacked accents, are not worth a second set of rules.
    if "".join([text for text, _ in pieces]) != plain:
        return ((plain, ""),)
    return tuple(pieces)


def _split(text: str) -> tuple[list[str], list[str]]:
    """The text between the escapes, and the style of each of these chunks."""
    chunks: list[str] = []
    styles: list[str] = []
    color, bold = "", False
    position = 0
    for escape in TERMINAL_ESCAPE.finditer(text):
        chunks.append(text[position : escape.start()])
        styles.append(_style(color, bold))
        position = escape.end()
        if rendition := _SGR.match(escape[0]):
            color, bold = _render(rendition[1], color, bold)
    chunks.append(text[position:])
    styles.append(_style(color, bold))
    return chunks, styles


def _style(color: str, bold: bool) -> str:
    if not bold:
        return color
    return f"bold {color}" if color else "bold"


def _render(parameters: str, color: str, bold: bool) -> tuple[str, bool]:
    """Color and boldness after a select graphic rendition."""
    fields = parameters.split(";", _MOST_PARAMETERS)[:_MOST_PARAMETERS]
    index = 0
    while index < len(fields):
        # Parts that are joined with colons belong to one parameter: 38:2::255:0:0.
        parts = [int(part[:5]) if part else 0 for part in fields[index].split(":")]
        code = parts[0]
        index += 1
        if code in (38, 48):
            if len(parts) > 1:
                rest = parts[1:]
                if rest[0] == 2 and len(rest) > 4:
                    del rest[1]  # the color space
            else:
                count = {"5": 2, "2": 4}.get(fields[index] if index < len(fields) else "", 1)
                rest = [int(part[:5]) if part.isdigit() else 0 for part in fields[index:][:count]]
                index += count
            if code == 38:
                color = _nearest(rest) or color
        elif code == 0:
            color, bold = "", False
        elif code in (1, 22):
            bold = code == 1
        elif 30 <= code <= 37 or 90 <= code <= 97:
            color = COLORS[code % 10]
        elif code == 39:
            color = ""
    return color, bold


def _nearest(values: list[int]) -> str:
    """The nearest of `COLORS` to (5, number) or (2, red, green, blue); "" if it is neither."""
    match values:
        case [5, number] if number < 16:
            return COLORS[number % 8]
        case [5, number] if number < 232:
            steps = number - 16
            return _nearest_rgb(_CUBE[steps // 36], _CUBE[steps // 6 % 6], _CUBE[steps % 6])
        case [5, number] if number < 256:
            gray = 8 + 10 * (number - 232)
            return _nearest_rgb(gray, gray, gray)
        case [2, red, green, blue, *_]:
            return _nearest_rgb(red, green, blue)
        case _:
            return ""


def _nearest_rgb(red: int, green: int, blue: int) -> str:
    """A channel counts if it is more than half as strong as the strongest, so that a dark red is
    red and not black."""
    strongest = max(red, green, blue)
    if strongest < _DARKEST:
        return "black"
    return COLORS[(2 * red > strongest) + 2 * (2 * green > strongest) + 4 * (2 * blue > strongest)]
