"""The themes: one set of color names, so that no style sheet contains a color."""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="servedeck-dark",
    primary="#6cb6ff",
    secondary="#8591a5",
    accent="#56d4dd",
    warning="#f2cc60",
    error="#ff6b6b",
    success="#5fd38d",
    foreground="#d7dde8",
    background="#11151c",
    surface="#11151c",
    panel="#1b2230",
    dark=True,
    variables={
        "status-error": "#ff6b6b",
        "status-degraded": "#ffa14a",
        "status-pending": "#f2cc60",
        "status-starting": "#6cb6ff",
        "status-ready": "#5fd38d",
        "status-scaled-down": "#8591a5",
        "muted": "#8591a5",
        "cursor": "#26344d",
        "scrollbar": "#2f3b52",
        "scrollbar-background": "#11151c",
        "scrollbar-background-hover": "#11151c",
        "scrollbar-background-active": "#11151c",
        "scrollbar-corner-color": "#11151c",
        "border": "#3d4c69",
        "border-blurred": "#2f3b52",
    },
)

LIGHT = Theme(
    name="servedeck-light",
    primary="#0b62c4",
    secondary="#5c6675",
    accent="#0a7480",
    warning="#8a6100",
    error="#c1121f",
    success="#19733c",
    foreground="#1c2430",
    background="#fbfcfe",
    surface="#fbfcfe",
    panel="#e9eef6",
    dark=False,
    variables={
        "status-error": "#c1121f",
        "status-degraded": "#a8470b",
        "status-pending": "#7d5800",
        "status-starting": "#0b62c4",
        "status-ready": "#19733c",
        "status-scaled-down": "#5c6675",
        "muted": "#5c6675",
        "cursor": "#d5e3fa",
        "scrollbar": "#c2cede",
        "scrollbar-background": "#fbfcfe",
        "scrollbar-background-hover": "#fbfcfe",
        "scrollbar-background-active": "#fbfcfe",
        "scrollbar-corner-color": "#fbfcfe",
        "border": "#a9b8cf",
        "border-blurred": "#c2cede",
    },
)

ANSI = Theme(
    name="servedeck-ansi",
    ansi=True,
    primary="ansi_blue",
    secondary="ansi_cyan",
    accent="ansi_cyan",
    warning="ansi_yellow",
    error="ansi_red",
    success="ansi_green",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    dark=True,
    variables={
        "ansi-background": "ansi_default",
        "ansi-foreground": "ansi_default",
        "block-cursor-foreground": "ansi_black",
        "block-cursor-background": "ansi_white",
        "status-error": "ansi_bright_red",
        "status-degraded": "ansi_magenta",
        "status-pending": "ansi_yellow",
        "status-starting": "ansi_cyan",
        "status-ready": "ansi_green",
        "status-scaled-down": "ansi_default",
        "muted": "ansi_default",
        "cursor": "ansi_default",
        "border": "ansi_default",
        "border-blurred": "ansi_default",
        "input-cursor-background": "ansi_white",
        "input-cursor-foreground": "ansi_black",
        "input-selection-background": "ansi_blue",
        "input-selection-foreground": "ansi_white",
        "screen-selection-background": "ansi_blue",
        "screen-selection-foreground": "ansi_white",
        "scrollbar": "ansi_bright_black",
        "scrollbar-hover": "ansi_bright_black",
        "scrollbar-active": "ansi_white",
        "scrollbar-background": "ansi_default",
        "scrollbar-background-hover": "ansi_default",
        "scrollbar-background-active": "ansi_default",
        "scrollbar-corner-color": "ansi_default",
    },
)
"""The terminal's own colors: for 16 colors, for NO_COLOR, or by choice."""

THEMES = (DARK, LIGHT, ANSI)

DEFAULT_VARIABLES = {
    name: value for name, value in DARK.variables.items() if not name.startswith("scroll")
}
"""Values of our names in Textual's built-in themes."""
