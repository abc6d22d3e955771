"""Status texts of the serving list: how up to date it is, and why it is empty."""

from __future__ import annotations

from collections.abc import Callable

from servedeck.serving.duration import format_duration
from servedeck.serving.text import format_count
from tui.ports.serving_source import SourceState
from widgets.styled_line import Line, align_left_right, fit_line, line_width, sanitized

FAILED_PHASES = frozenset({"RETRYING", "FORBIDDEN", "MISSING", "UNAUTHORIZED"})
"""Phases with an error that the operator must see."""


def connection_line(state: SourceState) -> Line:
    """The connection state in the header, with the age of the data if they are stale."""
    name = state.phase.name
    if state.stale_for is not None:
        return (
            ("✗ ", "error"),
            (f"stale {format_duration(state.stale_for)}", "error"),
            (", retrying", "muted"),
        )
    match name:
        case "LIVE":
            return (("✓ live", "ready"),)
        case "CONNECTING":
            return (("↻ connecting", "starting"),)
        case "LISTING":
            return (("↻ loading ", "starting"), (list_progress(state), "starting"))
        case "FORBIDDEN":
            return (("✗ forbidden", "error"),)
        case "UNAUTHORIZED":
            return (("✗ not logged in", "error"),)
        case "MISSING":
            return (("! incomplete", "pending"),)
        case _:
            return (("✗ disconnected", "error"), (", retrying", "muted"))


def stale_line(state: SourceState) -> Line:
    """Why the data are stale, and since when; () if they are not."""
    if state.stale_for is None:
        return ()
    line: Line = ((" ✗ ", "error"), (state.message, "error"))
    if state.last_update_at is not None:
        line = (*line, (f" Last update: {state.last_update_at:%H:%M:%S} UTC.", ""))
    return line


MIN_CONTEXT_WIDTH = 70
"""Cells of a header from which it names the context."""


def line_with_connection(title: Line, state: SourceState, width: int, context: str = "") -> Line:
    """A title of `width` cells with the connection state at its right edge, if that leaves most of
    the line to the title; always if the data are stale."""
    connection: Line = (*connection_line(state), (" ", ""))
    if context and width >= MIN_CONTEXT_WIDTH:
        connection = ((sanitized(context), "muted"), ("  ", ""), *connection)
    if state.stale_for is None and line_width(connection) >= width // 3:
        return fit_line(title, width)
    return align_left_right(title, connection, width)


def list_progress(state: SourceState) -> str:
    """Progress of the first list, "1,200 of 5,000"."""
    if state.remaining:
        return f"{state.loaded:,} of {state.loaded + state.remaining:,}"
    return f"{state.loaded:,}" if state.loaded else ""


KeyDisplayFor = Callable[[str], str]
"""The key for an action's id as it is shown, with the operator's keymap applied."""


def banner_line(state: SourceState, key_display_for: KeyDisplayFor, *, empty: bool) -> Line:
    """The line under the header while the list is incomplete or stale, or the clocks differ; ()
    otherwise, and if the list is `empty`, since its placeholder shows it then."""
    name = state.phase.name
    if empty and name in FAILED_PHASES:
        return ()
    if state.stale_for is not None or name in FAILED_PHASES:
        spans = [*(stale_line(state) or ((" ✗ ", "error"), (state.message, "error")))]
        spans += [("  ", ""), (key_display_for("servings.retry"), "key"), (" retries now", "muted")]
        return tuple(spans)
    spans = []
    if name == "LIVE" and state.message:
        spans = [(state.message, "pending")]
    elif state.missing_permissions:
        spans = [
            (f"Not allowed to {', '.join(state.missing_permissions)}", "pending"),
            ("; data that needs it is not shown.", "muted"),
        ]
    if state.clock_warning:
        spans += [(" ", "")] if spans else []
        spans.append((state.clock_warning, "pending"))
    return ((" ! ", "pending"), *spans) if spans else ()


def placeholder_lines(
    state: SourceState,
    key_display_for: KeyDisplayFor,
    *,
    namespace: str,
    filter_text: str,
    total: int,
    other_namespaces_total: int,
    context: str,
) -> tuple[Line, ...]:
    """What is shown in place of a list without rows, and what to do about it.

    `total` counts the servings of the namespace before the filter, `other_namespaces_total` those
    of the other namespaces.
    """
    place = f"namespace {namespace}" if namespace else "any namespace"
    name = state.phase.name
    if total and filter_text:
        return (
            (
                (f"None of {format_count(total, 'serving')} matches the filter ", "strong"),
                (filter_text, "key"),
            ),
            (),
            (
                (key_display_for("servings.back"), "key"),
                (" clears the filter, ", ""),
                (key_display_for("servings.filter"), "key"),
                (" changes it.", ""),
            ),
        )
    match name:
        case "CONNECTING":
            return (
                (("Connecting", "strong"), (f" to {context}" if context else "", "strong")),
                (),
                (
                    (state.message, "pending")
                    if state.message
                    else ("The list appears as soon as the API server answers.", "muted"),
                ),
            )
        case "LISTING":
            return (
                (("Loading servings  ", "strong"), (list_progress(state), "strong")),
                (),
                (
                    (state.message, "pending")
                    if state.message
                    else ("The list appears with the first page.", "muted"),
                ),
            )
        case "FORBIDDEN":
            return (
                ((state.message or "You are not allowed to list servings.", "error"),),
                (),
                (
                    (":ns NAME", "key"),
                    (" shows a namespace that you may read, ", ""),
                    (key_display_for("servings.context"), "key"),
                    (" chooses another context.", ""),
                ),
                (
                    ("Or ask for the permissions of the role servedeck-viewer; ", "muted"),
                    (key_display_for("servings.retry"), "key"),
                    (" retries.", "muted"),
                ),
            )
        case "RETRYING" | "UNAUTHORIZED" | "MISSING":
            return (
                ((state.message or "The API server cannot be reached.", "error"),),
                (),
                (
                    ("servedeck keeps retrying; ", ""),
                    (key_display_for("servings.retry"), "key"),
                    (" retries now, ", ""),
                    (key_display_for("servings.context"), "key"),
                    (" chooses another context.", ""),
                ),
            )
    if namespace:
        others = f", {other_namespaces_total:,} in others." if other_namespaces_total else "."
        return (
            ((f"No servings in {place}", "strong"), (others, "")),
            (),
            (
                ("0", "key"),
                (" shows all namespaces, ", ""),
                (key_display_for("servings.namespace"), "key"),
                (" chooses one.", ""),
            ),
        )
    return (
        (
            (
                f"No servings in {place} of {context}." if context else f"No servings in {place}.",
                "strong",
            ),
        ),
        (),
        (
            (
                "A serving is a Deployment with the label servedeck.dev/serving, or a workload that"
                " runs a known inference server. It appears here as soon as it exists.",
                "muted",
            ),
        ),
    )
