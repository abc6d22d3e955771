"""servedeck's picker, dialog, help, command line, footer and messages beside Textual's.

    python -m benchmarks.textual_widgets [--json FILE] [--rounds N]

Each part is a program in a pseudo terminal (`widget_programs`). Measured are the time from a key
to the bytes that first change the screen, all bytes that the key causes, the same for opening the
part, and the memory that it takes; and what becomes of hostile text in an entry.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import clean_environment, has_output
from benchmarks.terminal import BenchmarkTerminal
from benchmarks.widget_programs import (
    HOSTILE_TEXTS,
    MARKER,
    MESSAGE,
    PARTS,
    QUESTION,
    SIDES,
)

SIZE = (120, 40)
QUIET_SECONDS = 0.3
"""Seconds without output after which a key has had its effect."""

OPENED_TEXTS = {
    "pick": MARKER,
    "dialog": QUESTION,
    "help": "",
    "command": MARKER,
    "footer": "Action 1",
    "message": MESSAGE,
}
"""Text on the screen once a part is open; "" for any change."""

KEYS = {
    "pick": {"move": "\x1b[B", "type": "2"},
    "dialog": {"move": "\x1b[B"},
    "command": {"type": "2"},
    "footer": {"toggle": "\x1b[17~"},
}
"""The keys that are measured in each part; the typed one removes MARKER from the list."""

LONG_LISTS = ("pick", "command")
"""Parts that are measured with 5,000 entries too."""


def screen_cells(terminal: BenchmarkTerminal) -> tuple[object, ...]:
    """Text and style of every cell of the screen."""
    rows = map(terminal.screen.buffer.__getitem__, range(SIZE[1]))
    return tuple(tuple(map(row.__getitem__, range(SIZE[0]))) for row in rows)


def wait_for_quiet(terminal: BenchmarkTerminal) -> None:
    """Wait until nothing was written for QUIET_SECONDS."""
    written, since = terminal.bytes_written, time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS:
        time.sleep(0.02)
        if terminal.bytes_written != written:
            written, since = terminal.bytes_written, time.monotonic()


def wait_for_start(terminal: BenchmarkTerminal) -> None:
    """Wait until the program has drawn its first screen."""
    terminal.wait(partial(has_output, terminal), 20)
    wait_for_quiet(terminal)


def press(
    terminal: BenchmarkTerminal, keys: str, wanted: str = "", unwanted: str = ""
) -> tuple[float, int] | None:
    """Milliseconds until the screen changes (until it shows `wanted` and not `unwanted`), and the
    bytes written until it is quiet; None where nothing changes."""
    before, written = screen_cells(terminal), terminal.bytes_written

    def changed() -> bool:
        if wanted:
            shown = "\n".join(terminal.screen_lines())
            return wanted in shown and not (unwanted and unwanted in shown)
        return screen_cells(terminal) != before

    at = time.monotonic()
    terminal.send_keys(keys)
    shown = terminal.wait(changed, 5)
    wait_for_quiet(terminal)
    return None if shown is None else (1000 * (shown - at), terminal.bytes_written - written)


def summarize(pressed: list[tuple[float, int] | None]) -> dict[str, float]:
    """Median and worst time in milliseconds, and the median of the bytes."""
    found = [each for each in pressed if each is not None]
    if not found:
        return {"lost": len(pressed)}
    times = [each[0] for each in found]
    return {
        "p50_ms": round(statistics.median(times), 1),
        "max_ms": round(max(times), 1),
        "bytes": round(statistics.median(each[1] for each in found)),
        "lost": len(pressed) - len(found),
    }


def measure_part(side: str, part: str, count: int, rounds: int) -> dict[str, Any]:
    """All figures of one part on one side."""
    argv = [sys.executable, "-m", "benchmarks.widget_programs", side, part, str(count)]
    opened: list[tuple[float, int] | None] = []
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as home:
        for _ in range(3):  # opened in a new process: a second time, styles are cached
            terminal = BenchmarkTerminal(argv, SIZE, clean_environment(Path("/nonexistent"), home))
            try:
                wait_for_start(terminal)
                memory = terminal.rss_mib()
                opened.append(press(terminal, "\x1b[15~", OPENED_TEXTS[part]))
                result["memory_mib"] = round(terminal.rss_mib() - memory, 1)
                if len(opened) == 3:
                    result["open"] = summarize(opened)
                    result["keys"] = measure_keys(terminal, part, rounds)
                    result["rss_mib"] = round(terminal.rss_mib())
            finally:
                terminal.close()
    return result


def measure_keys(terminal: BenchmarkTerminal, part: str, rounds: int) -> dict[str, Any]:
    """The keys of a part, each several times; a typed letter is taken back after each."""
    found: dict[str, Any] = {}
    for name, keys in KEYS.get(part, {}).items():
        pressed: list[tuple[float, int] | None] = []
        for _ in range(rounds):
            if name == "type":
                pressed.append(press(terminal, keys, "entry-", MARKER))
                press(terminal, "\x7f", MARKER)
            else:
                pressed.append(press(terminal, keys))
        found[name] = summarize(pressed)
    return found


# -- hostile text ---------------------------------------------------------------------------------


def measure_hostile_text(side: str, number: int, text: str) -> str:
    """What becomes of an entry with that text."""
    argv = [sys.executable, "-m", "benchmarks.widget_programs", side, "hostile", str(number)]
    with tempfile.TemporaryDirectory() as home:
        terminal = BenchmarkTerminal(argv, SIZE, clean_environment(Path("/nonexistent"), home))
        try:
            wait_for_start(terminal)
            terminal.recorded = []
            opened = press(terminal, "\x1b[15~", MARKER)
            sent = b"".join(terminal.recorded)
            lines, has_ended = terminal.screen_lines(), terminal.closed
        finally:
            terminal.close()
    if has_ended:
        return "ends the app"
    if not text.isprintable() and text[1:5].encode() in sent:  # some controls are left out
        return "sent to the terminal"
    if opened is None:
        return "nothing is shown"
    return (
        "as text" if any(text in line for line in lines) else "without the controls or the markup"
    )


def measure_hostile() -> dict[str, dict[str, str]]:
    return {
        side: {
            label: measure_hostile_text(side, number, text)
            for number, (label, text) in enumerate(HOSTILE_TEXTS.items())
        }
        for side in ("servedeck", "textual", "markup")
    }


# -- output ---------------------------------------------------------------------------------------


def format_part(name: str, sides: dict[str, dict[str, Any]]) -> list[str]:
    lines = []
    for side, figures in sides.items():
        for key, found in {"open": figures["open"], **figures["keys"]}.items():
            if "p50_ms" in found:
                memory = figures["memory_mib"] if key == "open" else ""
                lines.append(
                    f"{name:<14} {side:<10} {key:<7} {found['p50_ms']:>8.1f}"
                    f" {found['max_ms']:>8.1f} {found['bytes']:>8,} {memory:>8}"
                )
            else:
                lines.append(f"{name:<14} {side:<10} {key:<7} nothing changed")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.textual_widgets")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--rounds", type=int, default=10, help="how often each key is pressed")
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--counts", nargs="*", type=int, default=[20, 5000], help="entries")
    args = parser.parse_args()
    versions = {name: importlib.metadata.version(name) for name in ("textual", "rich")}
    result: dict[str, Any] = {"python": platform.python_version(), **versions}
    print(
        f"{'part':<14} {'side':<10} {'key':<7} {'P50 ms':>8} {'max ms':>8} {'bytes':>8} {'MiB':>8}"
    )
    for part in args.parts:
        for count in args.counts if part in LONG_LISTS else (20,):
            name = f"{part} {count}" if part in LONG_LISTS else part
            result[name] = {side: measure_part(side, part, count, args.rounds) for side in SIDES}
            print("\n".join(format_part(name, result[name])), flush=True)
    result["hostile"] = measure_hostile()
    for name, found in result["hostile"].items():
        for label, what in found.items():
            print(f"{name:<26} {label:<20} {what}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
