"""Actions of the screen that replays other settings of auto scaling."""

from __future__ import annotations

from tui.action_tables.action import Action

SCALING_ACTIONS: tuple[Action, ...] = (
    Action(
        "what_if.use",
        "ctrl+s",
        "use these",
        "Put these values into the form, where they can be saved.",
        footer_order=1,
    ),
    Action(
        "what_if.move",
        "down,up,tab,shift+tab",
        "field",
        "Go to the next or the previous field; enter goes to the next one, too.",
        footer_order=2,
        passes_key=True,
    ),
    Action(
        "what_if.period",
        "pagedown,pageup",
        "period",
        "Replay the next longer time, or the next shorter one: 1h, 6h or 24h.",
        footer_order=3,
        passes_key=True,
    ),
    Action(
        "what_if.assumption",
        "ctrl+t",
        "assumption",
        "Assume that the response time would have been the same with other replicas, or that it "
        "follows the load of each one.",
        footer_order=4,
    ),
    Action("what_if.close", "escape", "close", "Close it; nothing is changed.", footer_order=99),
)
"""The key that closes it is last, which the footer always shows."""
