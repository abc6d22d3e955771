"""Port numbers in texts that anybody may have written."""

from __future__ import annotations

MAX_PORT = 65535


def parse_port_number(text: str) -> int | None:
    """The number from 0 to MAX_PORT that the ASCII digits say, also with leading zeros; None for
    any other text, of whatever length."""
    if not (text.isascii() and text.isdigit()):
        return None
    # int() refuses thousands of digits, also zeros.
    digits = text.lstrip("0") or "0"
    number = int(digits) if len(digits) <= len(str(MAX_PORT)) else MAX_PORT + 1
    return number if number <= MAX_PORT else None
