"""Actions of the tab Metrics."""

from __future__ import annotations

from tui.action_tables.action import Action

METRICS_ACTIONS: tuple[Action, ...] = (
    Action("metrics.hour", "h", "1h", "Show the last hour.", footer_order=2),
    Action("metrics.six_hours", "H", "6h", "Show the last 6 hours.", footer_order=3),
    Action("metrics.day", "D", "24h", "Show the last 24 hours.", footer_order=4),
    Action(
        "metrics.full",
        "z,enter",
        "full size",
        "Show the chosen graph at full size, or all graphs again.",
        footer_order=6,
    ),
    Action(
        "metrics.pods",
        "p",
        "by Pod",
        "Show the chosen graph for each Pod, or for the whole serving again.",
        footer_order=7,
    ),
    Action(
        "metrics.query",
        "q",
        "query",
        "Show the queries behind the chosen graph, to copy them.",
        footer_order=8,
    ),
    Action(
        "metrics.objectives",
        "o",
        "objectives",
        "Change the objectives of the serving: targets of P95, time to first token and error rate.",
        footer_order=9,
    ),
    Action(
        "metrics.cursor",
        "left,right,shift+left,shift+right,ctrl+left,ctrl+right",
        "read values",
        "Move the cursor that reads all values at a moment; with shift or ctrl by ten columns. esc "
        "removes it.",
        footer_order=10,
        passes_key=True,
    ),
    Action(
        "metrics.zoom_in",
        "plus,equals_sign",
        "zoom",
        "Show half of the time around the cursor, with more points.",
        footer_order=11,
    ),
    Action(
        "metrics.zoom_out",
        "minus",
        "zoom out",
        "Show twice the time, at most the whole period; esc shows all of it.",
    ),
    Action(
        "metrics.graph",
        "j,k,down,up,pagedown,pageup,g,G,home,end",
        "graph",
        "Choose a graph; there are more below.",
        footer_order=5,
        passes_key=True,
    ),
    Action("query.close", "escape,q", "close", "Close the queries.", footer_order=1),
    Action("query.copy", "C", "copy", "Copy the queries.", footer_order=2),
    Action(
        "query.link",
        "l",
        "Grafana link",
        "Copy the link to the dashboard of the serving, if the settings name one (grafana_url).",
        footer_order=3,
    ),
    Action(
        "query.scroll",
        "j,k,down,up,pagedown,pageup,g,G,home,end",
        "scroll",
        "Scroll the queries.",
        passes_key=True,
    ),
)
