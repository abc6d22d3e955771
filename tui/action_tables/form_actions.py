"""Actions of the forms that create and edit a serving, of their review and of their save dialog."""

from __future__ import annotations

from tui.action_tables.action import SECTION_KEYS, Action

FORM_ACTIONS: tuple[Action, ...] = (
    Action(
        "create.deploy",
        "ctrl+s",
        "deploy",
        "Deploy the serving; only in the third step, after the API server's dry run.",
        footer_order=1,
    ),
    Action("create.next", "ctrl+n", "next", "Finish this step and go to the next.", footer_order=2),
    Action(
        "create.previous",
        "ctrl+p",
        "back",
        "Go to the previous step; the input is kept.",
        footer_order=3,
    ),
    Action(
        "create.close",
        "escape",
        "close",
        "Go back from the YAML to the review; otherwise close the form, which asks whether to "
        "save the draft.",
        footer_order=4,
    ),
    Action(
        "create.save",
        "ctrl+y",
        "save YAML",
        "Save the serving to a file, for git or for servedeck create -f.",
        footer_order=20,
    ),
    Action("create.load", "ctrl+o", "load YAML", "Fill the form from a file.", footer_order=21),
    Action(
        "create.reveal",
        "ctrl+g",
        "show secrets",
        "Show values that look secret, or mask them again.",
        footer_order=22,
    ),
    Action(
        "create.help",
        "f1",
        "help",
        "List every key and what it does.",
        footer_order=99,
    ),
    Action(
        "form.next_field",
        "enter",
        "next",
        "Go to the next field, or from the last one to the next step; on a + row, do its action.",
    ),
    Action(
        "form.edit_value",
        "equals_sign",
        "value",
        "Go from a variable's name to its value.",
    ),
    Action(
        "form.move",
        "down,up,tab,shift+tab",
        "field",
        "Go to the next or the previous field.",
        footer_order=5,
        passes_key=True,
    ),
    Action(
        "form.move_section",
        "pagedown,pageup",
        "section",
        "Go to the next or the previous section.",
        footer_order=6,
        passes_key=True,
    ),
    Action(
        "form.list",
        "space",
        "list",
        "List the values of a selection field; left and right select the previous or the next.",
        footer_order=7,
        bound_by_widget=True,
    ),
    Action(
        "form.remove", "ctrl+r", "remove row", "Remove the volume or the variable.", footer_order=8
    ),
    Action("form.undo", "ctrl+z", "undo", "Undo the last change in the form.", footer_order=10),
    Action("form.redo", "ctrl+x", "redo", "Redo the change that was undone last.", footer_order=11),
    Action(
        "form.source",
        "ctrl+t",
        "source",
        "Change where the variable's value comes from: a Secret's key, a ConfigMap's key, or a "
        "literal value.",
        footer_order=9,
    ),
    Action(
        "form.pick_key",
        "f2",
        "list Secrets",
        "List the Secrets or ConfigMaps of the namespace for the variable, then the keys of the "
        "chosen one, or the image pull Secrets; values are not shown.",
        footer_order=9,
    ),
    Action(
        "review.edit",
        "enter,e",
        "edit",
        "Go to the field of the line under the cursor.",
        footer_order=5,
    ),
    Action(
        "review.section",
        SECTION_KEYS,
        "edit section",
        "Go to the section with that number.",
        footer_order=7,
        passes_key=True,
    ),
    Action(
        "review.yaml",
        "y",
        "YAML",
        "Show the objects that are applied, then the serving as a file, then the review.",
        footer_order=6,
    ),
    Action(
        "review.buttons",
        "tab,shift+tab",
        "buttons",
        "Go to the buttons Edit and Deploy, and back; enter presses one.",
        passes_key=True,
    ),
    Action("review.dry_run", "r", "dry run", "Repeat the API server's dry run.", footer_order=8),
    Action(
        "review.delete_created",
        "u",
        "delete",
        "Delete what an unfinished attempt created.",
        footer_order=9,
    ),
    Action(
        "review.scroll",
        "j,k,down,up,pagedown,pageup,g,G,home,end",
        "move",
        "Move the cursor over what can be edited.",
        passes_key=True,
        bound_by_widget=True,
    ),
    Action(
        "edit.save",
        "ctrl+s",
        "Save Changes",
        "Show what the changes do, and save them after a confirmation.",
        footer_order=1,
    ),
    Action(
        "edit.close",
        "escape",
        "leave",
        "Leave the form; with changes, ask whether to save them as a draft or to discard them.",
        footer_order=2,
    ),
    Action(
        "edit.reset",
        "ctrl+o",
        "reset field",
        "Give the field the value that the serving has.",
        footer_order=4,
    ),
    Action(
        "edit.probe",
        "ctrl+p",
        "try endpoint",
        "Try the endpoint under the cursor on a running Pod; at Start-up Time, enter the time that "
        "is proposed from the last starts.",
        footer_order=3,
    ),
    Action(
        "edit.reveal",
        "ctrl+g",
        "show secrets",
        "Show values that look secret, or mask them again.",
        footer_order=22,
    ),
    Action("edit.help", "f1", "help", "List every key and what it does.", footer_order=99),
    Action("save.confirm", "enter", "confirm", "Do what is chosen.", footer_order=1),
    Action(
        "save.move",
        "down,up,tab,shift+tab,j,k,pagedown,pageup",
        "choose",
        "Choose Save Changes or Back; y and n do so at once. Page keys scroll the plan.",
        footer_order=2,
        passes_key=True,
    ),
    Action("save.close", "escape", "back", "Go back to the form.", footer_order=3),
    Action(
        "save.replace",
        "r",
        "stop an old Pod first",
        "Where no node has room for a new Pod beside the old ones: plan the change with a rollout "
        "in which an old Pod stops first.",
    ),
    Action("file.choose", "enter", "choose", "Use the file.", footer_order=1, bound_by_widget=True),
    Action(
        "file.complete",
        "tab",
        "complete",
        "Complete the path as far as it is clear, and list what can follow; ~ is the home "
        "directory, and hidden files are listed after a dot.",
        footer_order=2,
    ),
    Action("file.close", "escape", "close", "Change nothing.", footer_order=3),
)
