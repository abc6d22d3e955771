"""Actions of the dialogs of operations, port-forwards, objectives, commands in a container and the
bundle."""

from __future__ import annotations

from tui.action_tables.action import Action

OPERATION_ACTIONS: tuple[Action, ...] = (
    Action(
        "confirm.choose", "enter", "choose", "Choose the option under the cursor.", footer_order=1
    ),
    Action(
        "confirm.move",
        "down,up,tab,shift+tab,j,k,pagedown,pageup",
        "move",
        "Move the cursor; a letter chooses its option.",
        footer_order=2,
        passes_key=True,
    ),
    Action("confirm.close", "escape", "close", "Cancel.", footer_order=3),
    Action("operation.confirm", "enter", "confirm", "Do what is chosen.", footer_order=1),
    Action(
        "operation.move",
        "down,up,tab,shift+tab,j,k,pagedown,pageup",
        "choose",
        "Choose the operation or Cancel; y and n do so at once. In a number, add or subtract 1.",
        footer_order=2,
        passes_key=True,
    ),
    Action(
        "operation.copy",
        "ctrl+y",
        "copy command",
        "Copy the equivalent command of kubectl.",
        footer_order=3,
    ),
    Action("operation.close", "escape", "cancel", "Change nothing.", footer_order=4),
    Action(
        "adoption.service",
        "s",
        "Service",
        "Create a Service if none leads to the Pods, or create none.",
        footer_order=3,
    ),
    Action(
        "adoption.route",
        "r",
        "route",
        "Create a route, which opens the Pods to the outside, or create none.",
        footer_order=3,
    ),
    Action(
        "bundle.close",
        "escape,q",
        "close",
        "Close it; a bundle that is not complete is canceled, and leaves no file.",
        footer_order=1,
    ),
    Action("bundle.copy", "C", "copy path", "Copy the path of the file.", footer_order=2),
    Action(
        "bundle.scroll",
        "j,k,down,up,pagedown,pageup,g,G,home,end",
        "scroll",
        "Scroll what is missing.",
        passes_key=True,
    ),
    Action("forward.start", "enter", "start", "Start the port-forward.", footer_order=1),
    Action(
        "forward.copy",
        "ctrl+y",
        "copy command",
        "Copy the equivalent command of kubectl.",
        footer_order=2,
    ),
    Action("forward.close", "escape", "cancel", "Forward nothing.", footer_order=3),
    Action(
        "objectives.save",
        "enter",
        "save",
        "Check the objectives, and show what saving them does.",
        footer_order=1,
    ),
    Action(
        "objectives.move",
        "down,up,tab,shift+tab",
        "field",
        "Go to the next or the previous field.",
        footer_order=2,
        passes_key=True,
    ),
    Action("objectives.close", "escape", "cancel", "Change nothing.", footer_order=3),
    Action("forwards.close", "escape,q,f", "close", "Close the list.", footer_order=1),
    Action(
        "forwards.copy", "enter,C", "copy URL", "Copy the URL under the cursor.", footer_order=2
    ),
    Action(
        "forwards.stop",
        "ctrl+d",
        "stop",
        "Stop the port-forward under the cursor; its connections end.",
        footer_order=3,
    ),
    Action(
        "forwards.new",
        "n,F",
        "new",
        "Start another port-forward to the serving under the cursor.",
        footer_order=4,
    ),
    Action("forwards.error", "space", "error", "Show the last error in full.", footer_order=5),
    Action("run.start", "enter", "run", "Run the command.", footer_order=1),
    Action(
        "run.copy",
        "ctrl+y",
        "copy command",
        "Copy the equivalent command of kubectl.",
        footer_order=2,
    ),
    Action(
        "run.history",
        "up,down",
        "history",
        "Go to the command before or after this one.",
        footer_order=3,
        passes_key=True,
    ),
    Action("run.close", "escape", "cancel", "Run nothing.", footer_order=4),
    Action(
        "output.close",
        "escape,q",
        "close",
        "End a command that still runs; close its output.",
        footer_order=1,
    ),
    Action("output.copy", "C", "copy", "Copy the output.", footer_order=2),
    Action(
        "output.copy_command",
        "ctrl+y",
        "copy command",
        "Copy the equivalent command of kubectl.",
        footer_order=3,
    ),
    Action("output.again", "x", "run again", "Run another command there.", footer_order=4),
    Action("output.wrap", "w", "wrap", "Wrap long lines, or truncate them.", footer_order=5),
    Action(
        "output.scroll",
        "j,k,down,up,pagedown,pageup,g,G,home,end,left,right",
        "scroll",
        "Scroll the output; g goes to its first line, G to its end.",
        passes_key=True,
        bound_by_widget=True,
    ),
)
