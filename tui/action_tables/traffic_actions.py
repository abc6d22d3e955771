"""Actions of the dialogs that divide the requests of an endpoint."""

from __future__ import annotations

from tui.action_tables.action import Action

TRAFFIC_ACTIONS: tuple[Action, ...] = (
    Action(
        "traffic.weight",
        "w,enter",
        "weight",
        "Enter how many percent of the requests the other serving gets; shows first what that "
        "changes.",
        footer_order=1,
    ),
    Action(
        "traffic.promote",
        "P",
        "promote",
        "Send all requests to the other serving, behind the same endpoint.",
        footer_order=2,
    ),
    Action(
        "traffic.finish",
        "F",
        "finish",
        "Open the serving's form with the settings of its promoted revision as unsaved changes.",
        footer_order=3,
    ),
    Action(
        "traffic.abort",
        "X",
        "abort",
        "Send all requests to the serving itself again, and take the other one out of the route.",
        footer_order=4,
    ),
    Action(
        "traffic.new",
        "n",
        "new revision",
        "Create a second revision of the serving, which gets no requests until it is sent a share.",
        footer_order=5,
    ),
    Action(
        "traffic.other",
        "o",
        "other serving",
        "Choose the serving that gets a share, while none has one.",
        footer_order=6,
    ),
    Action("traffic.close", "escape,q,K", "close", "Close it.", footer_order=7),
    Action(
        "traffic.scroll",
        "j,k,down,up,pagedown,pageup,g,G,home,end",
        "scroll",
        "Scroll the text.",
        passes_key=True,
    ),
    Action("traffic_weight.save", "enter", "plan", "Show what the weight changes.", footer_order=1),
    Action(
        "traffic_weight.step",
        "up,down",
        "add or subtract 1",
        "Add 1 to the weight, or subtract it.",
        footer_order=2,
        passes_key=True,
    ),
    Action("traffic_weight.close", "escape", "cancel", "Change nothing.", footer_order=3),
    Action("traffic_plan.confirm", "enter", "confirm", "Do what is chosen.", footer_order=1),
    Action(
        "traffic_plan.move",
        "down,up,tab,shift+tab,j,k,pagedown,pageup",
        "choose",
        "Choose the change or Back; y and n do so at once. Page keys scroll the plan.",
        footer_order=2,
        passes_key=True,
    ),
    Action(
        "traffic_plan.force",
        "o",
        "overwrite",
        "Plan to overwrite the fields that other managers have set.",
        footer_order=3,
    ),
    Action("traffic_plan.close", "escape", "back", "Change nothing.", footer_order=4),
)
