"""Actions that are the same on all screens, in all lists and in all pickers."""

from __future__ import annotations

from tui.action_tables.action import Action

SHARED_ACTIONS: tuple[Action, ...] = (
    Action("pick.choose", "enter", "choose", "Choose the line under the cursor.", footer_order=1),
    Action("pick.close", "escape", "close", "Change nothing.", footer_order=2),
    Action(
        "pick.move",
        "down,up,pagedown,pageup,ctrl+n,ctrl+p",
        "move",
        "Move the cursor; letters narrow the list.",
        footer_order=3,
        passes_key=True,
    ),
    Action(
        "pick_pods.mark",
        "tab",
        "mark",
        "Mark the Pod under the cursor, or remove its mark; enter chooses the marked ones.",
        footer_order=4,
    ),
    Action(
        "table.move",
        "j,k,down,up",
        "move",
        "Down and up by one.",
        bound_by_widget=True,
        passes_key=True,
    ),
    Action(
        "table.page",
        "pagedown,pageup,ctrl+f,ctrl+u",
        "page",
        "Down and up by a page.",
        bound_by_widget=True,
        passes_key=True,
    ),
    Action(
        "table.edge",
        "g,G,home,end",
        "top/end",
        "To the top, to the end.",
        bound_by_widget=True,
        passes_key=True,
    ),
    Action(
        "table.scroll",
        "left,right",
        "scroll",
        "Scroll a list that is wider than the screen.",
        bound_by_widget=True,
        passes_key=True,
    ),
    Action("help.close", "escape,q,question_mark", "close", "Close the help.", footer_order=1),
    Action(
        "help.scroll",
        "j,k,down,up,pagedown,pageup,g,G,home,end",
        "scroll",
        "Scroll the help.",
        footer_order=2,
        passes_key=True,
    ),
    Action(
        "app.help", "question_mark,f1", "help", "List every key and what it does.", command="help"
    ),
    Action(
        "app.command",
        "colon,ctrl+p",
        "commands",
        "Type a command, or pick an action by its name.",
        footer_order=10,
    ),
    Action(
        "app.redraw",
        "ctrl+l",
        "redraw",
        "Redraw the screen, for example after another program wrote to it.",
        command="redraw",
    ),
    Action(
        "app.theme",
        "f9",
        "theme",
        "Choose the colors; the setting theme keeps them.",
        command="theme",
    ),
    Action(
        "app.screenshot",
        "f12",
        "screenshot",
        "Save what the screen shows as an SVG picture that only its owner can read.",
        command="screenshot",
    ),
    Action(
        "app.suspend",
        "ctrl+z",
        "suspend",
        "Suspend servedeck and return to the shell; fg resumes it.",
        command="suspend",
    ),
    Action(
        "app.quit",
        "ctrl+c,ctrl+q",
        "quit",
        "Quit servedeck from any screen. An open form is saved as a draft; a write to the cluster "
        "is finished first, unless the key is pressed again.",
        command="q",
    ),
)
