"""The index page of a bundle: HTML without scripts and without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from urllib.parse import quote

from servedeck import __version__
from servedeck.bundle.archive import ArchiveEntry, safe_part
from servedeck.bundle.reader import Problem
from servedeck.detail.cards import CardRow
from servedeck.detail.description import Description
from servedeck.fleet.views import PodView
from servedeck.serving.duration import format_duration
from servedeck.serving.text import format_count, format_size, sanitize

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em;
  color: #1b1f24; background: #fff; }
h1 { font-size: 1.5em; margin-bottom: 0; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; } th, td { text-align: left; vertical-align: top;
  padding: .2em 1.2em .2em 0; } th { font-weight: 600; white-space: nowrap; }
thead th { border-bottom: 1px solid #d0d7de; } td.number { text-align: right; white-space: nowrap; }
td.time { white-space: nowrap; } .note { color: #57606a; }
.warning { border-left: 4px solid #bf8700; background: #fff8c5; padding: .6em 1em; }
@media (prefers-color-scheme: dark) { body { color: #e6edf3; background: #0d1117; }
  a { color: #4493f8; } .note { color: #9198a1; } .warning { background: #272115; }
  thead th { border-color: #3d444d; } }
"""


@dataclass(frozen=True, slots=True)
class IndexContent:
    """What the index shows. Its texts are redacted, but may contain anything else."""

    description: Description
    context: str
    """Name of the context of the kubeconfig."""
    created: datetime
    limits: str
    """The limits of the bundle in words."""
    files: Sequence[ArchiveEntry]
    problems: Sequence[Problem]
    """What is missing, and why."""
    warnings: Sequence[str]
    """What a reader must know first, one sentence each."""
    redaction: Sequence[str]
    """What was redacted, one sentence each."""


def build_index(content: IndexContent, max_rows: int = 2_000) -> str:
    """The page, with at most `max_rows` rows of each table."""
    view = content.description.view
    title = f"{view.key}: {view.status.value}"
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta http-equiv="Content-Security-Policy"'
        " content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_text(view.key)}</h1>",
        f'<p class="note">Incident bundle of {_time(content.created)}, context'
        f" {_text(content.context)}, servedeck {_text(__version__)}. {_text(content.limits)}</p>",
        *(f'<p class="warning">{_text(one)}</p>' for one in content.warnings),
        "<h2>Status</h2>",
        _rows((row.label, _value(row, content.created)) for row in content.description.status),
        "<h2>Pods</h2>",
        *_pods(content, max_rows),
        "<h2>Timeline</h2>",
        *_timeline(content, max_rows),
        "<h2>Files</h2>",
        *_files(content.files, max_rows),
        "<h2>What is missing</h2>",
        *_problems(content.problems, max_rows),
        "<h2>What was redacted</h2>",
        "<ul>",
        *(f"<li>{_text(one)}</li>" for one in content.redaction),
        "</ul></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _text(value: object) -> str:
    return escape(sanitize(str(value)))


def _time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _value(row: CardRow, now: datetime) -> str:
    if row.time is not None:
        age = format_duration(max((now - row.time).total_seconds(), 0.0))
        return f"{_time(row.time)} ({age} ago)"
    return f"{row.value} ({row.note})" if row.value and row.note else row.value or row.note


def _rows(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{_text(a)}</th><td>{_text(b)}</td></tr>\n" for a, b in rows)
    return f"<table>{cells}</table>"


def _table(headings: Sequence[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A table; the cells of `rows` are HTML."""
    yield f"<table><thead><tr>{''.join(f'<th>{one}</th>' for one in headings)}</tr></thead><tbody>"
    for row in rows:
        yield f"<tr>{''.join(row)}</tr>"
    yield "</tbody></table>"


def _more(count: int, max_rows: int, noun: str, where: str, plural: str = "") -> Iterator[str]:
    if count > max_rows:
        rest = format_count(count - max_rows, f"more {noun}", plural and f"more {plural}")
        yield f'<p class="note">{rest}: {where}.</p>'


def _pods(content: IndexContent, max_rows: int) -> Iterator[str]:
    view = content.description.view
    if not view.pods:
        yield f"<p>{_text(view.no_pods_text)}</p>"
        return
    headings = ("Pod", "Status", "Ready", "Restarts", "Node", "Reason", "Message")
    paths = {entry.path for entry in content.files}
    rows = (_pod_cells(pod, paths) for pod in view.pods[:max_rows])
    yield from _table(headings, rows)
    yield from _more(len(view.pods), max_rows, "Pod", "see description.txt")


def _pod_cells(pod: PodView, paths: set[str]) -> list[str]:
    path = f"objects/Pod-{safe_part(pod.name)}.yaml"
    name = _link(path, pod.name) if path in paths else _text(pod.name)
    values = (pod.status, pod.ready, pod.restarts, pod.node or "-", pod.reason, pod.message)
    return [f"<td>{name}</td>", *(f"<td>{_text(one)}</td>" for one in values)]


def _timeline(content: IndexContent, max_rows: int) -> Iterator[str]:
    entries = content.description.timeline
    if not entries:
        yield "<p>Nothing is known.</p>"
        return
    rows = (
        (
            f'<td class="time">{_time(one.end)}</td>',
            f"<td>{_text(one.text)}</td>",
            f"<td>{'servedeck' if one.observed else 'objects'}</td>",
        )
        for one in entries[-max_rows:]
    )
    yield from _table(("Time", "Change", "Source"), rows)
    yield from _more(len(entries), max_rows, "entry", "see timeline.txt", "entries")


def _files(files: Sequence[ArchiveEntry], max_rows: int) -> Iterator[str]:
    rows = (
        (
            f"<td>{_link(one.path, one.path)}</td>",
            f'<td class="number">{format_size(one.size)}</td>',
        )
        for one in files[:max_rows]
    )
    yield from _table(("File", "Size"), rows)
    yield from _more(len(files), max_rows, "file", "see the archive")


def _problems(problems: Sequence[Problem], max_rows: int) -> Iterator[str]:
    if not problems:
        yield "<p>Nothing: everything that belongs to a bundle was read.</p>"
        return
    rows = (
        (f"<td>{_text(one.what)}</td>", f"<td>{_text(one.reason)}</td>")
        for one in problems[:max_rows]
    )
    yield from _table(("What", "Why"), rows)
    yield from _more(len(problems), max_rows, "entry", "see errors.txt", "entries")


def _link(path: str, text: str) -> str:
    return f'<a href="{escape(quote(path))}">{_text(text)}</a>'
