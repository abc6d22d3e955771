"""Actions of the test request to an inference server."""

from __future__ import annotations

from tui.action_tables.action import Action

INFERENCE_ACTIONS: tuple[Action, ...] = (
    Action(
        "connect.request",
        "enter",
        "test request",
        "Send a short request to the inference server, to see whether and how fast it answers.",
        footer_order=1,
    ),
    Action("inference.send", "enter,ctrl+s", "send", "Send the request.", footer_order=1),
    Action(
        "inference.way",
        "ctrl+t",
        "way",
        "Send through the endpoint, the API server, or a port-forward that runs here.",
        footer_order=2,
    ),
    Action(
        "inference.raw",
        "ctrl+o",
        "raw answer",
        "Show the status, the headers and the body as the server sent them.",
        footer_order=3,
    ),
    Action("inference.copy", "ctrl+y", "copy raw", "Copy the raw answer.", footer_order=4),
    Action(
        "inference.move",
        "down,up,tab,shift+tab,pagedown,pageup",
        "field",
        "Go to the next or the previous field; page keys scroll the answer.",
        footer_order=5,
        passes_key=True,
    ),
    Action(
        "inference.close",
        "escape",
        "close",
        "Close; while the request is answered, cancel it and close its connection.",
        footer_order=9,
    ),
)
