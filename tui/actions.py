"""The table of actions: id, keys, label, help. Key bindings, footer, help, command line and the
user's keymap are derived from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from textual.binding import Binding, BindingType


@dataclass(frozen=True, slots=True)
class Action:
    """Something that the operator can do, and where."""

    id: str
    """Scope and name, "servings.logs", as the keymap of the settings has it."""
    keys: str
    """Keys as Textual names them, comma separated; the first one is shown."""
    label: str
    """One or two words for the footer."""
    help: str
    """One sentence for the help and the command line."""
    footer_order: int = 0
    """Place in the footer, the smallest first; 0 is not shown there."""
    command: str = ""
    """Equivalent command of the command line, "q"."""
    passes_key: bool = False
    """Whether the key that was pressed is passed to the action."""
    bound_by_widget: bool = False
    """The focused widget binds it; the entry is for the footer and the help only."""

    @property
    def scope(self) -> str:
        """Screen or widget where it can be done; "app" is everywhere."""
        return self.id.partition(".")[0]

    @property
    def name(self) -> str:
        return self.id.partition(".")[2]


SCOPE_TITLES: Mapping[str, str] = {
    "servings": "Serving list",
    "filter": "Filter",
    "status": "Status popover",
    "connect": "Connect",
    "serving": "Page of a serving",
    "describe": "Description",
    "overview": "Overview",
    "pod": "Pod",
    "value": "Value",
    "log": "Logs",
    "events": "Events",
    "event": "One Event",
    "rollouts": "Rollouts",
    "difference": "Difference between revisions",
    "yaml": "YAML",
    "search": "Search",
    "timeline": "Timeline",
    "bundle": "Incident bundle",
    "forward": "Start a port-forward",
    "forwards": "Port-forwards",
    "run": "Command in a container",
    "output": "Output of a command",
    "create": "Create a serving",
    "form": "Create and edit: the fields",
    "edit": "Edit a serving",
    "review": "Create: review and deploy",
    "file": "File dialog",
    "save": "Save Changes",
    "confirm": "Dialog",
    "operation": "Dialog of an operation",
    "adoption": "Dialog of an adoption",
    "pick": "Picker",
    "table": "List navigation",
    "help": "Help",
    "app": "Everywhere",
}
"""Title of each scope in the help, in the order of the help."""

DIGIT_KEYS = "0,1,2,3,4,5,6,7,8,9"
SECTION_KEYS = "1,2,3,4,5,6,7"
"""Keys of the review's sections, of which there are seven at most."""
TAB_KEYS = "1,2,3,4,5,6,7,8,9"
"""Keys of the tabs of a serving's page."""
POD_KEYS = "1,2,3,4,5,6,7,8,9,a,b,d,e,f,i,m,n,o,r,s,t,u,v,x,y,z"
"""Keys that open the log of the n-th Pod in a status; none of them scrolls or closes it."""

ACTIONS: tuple[Action, ...] = (
    Action(
        "servings.open",
        "enter",
        "open",
        "Open the page of the serving: its status, Pods and logs.",
        footer_order=1,
        command="open",
    ),
    Action(
        "servings.status",
        "space",
        "status",
        "Show why the serving has its status: failing Pods, their Events, the last lines of the"
        " crashed container.",
        footer_order=1,
        command="status",
    ),
    Action(
        "servings.logs",
        "l",
        "logs",
        "Follow the log of the serving's first failing Pod.",
        footer_order=2,
        command="logs",
    ),
    Action(
        "servings.yaml",
        "y",
        "YAML",
        "Show the YAML of the serving's workload, and from there of its other objects.",
        footer_order=12,
        command="yaml",
    ),
    Action(
        "servings.describe",
        "d",
        "describe",
        "Show everything about the serving as one text, as servedeck describe prints it.",
        command="describe",
    ),
    Action(
        "servings.connect",
        "c",
        "connect",
        "Show the endpoint, the paths and curl commands, ready to copy.",
        footer_order=5,
        command="connect",
    ),
    Action(
        "servings.create",
        "n",
        "create",
        "Create a serving in three steps.",
        footer_order=6,
        command="create",
    ),
    Action(
        "servings.clone",
        "C",
        "clone",
        "Create a serving with the settings of the one under the cursor.",
        footer_order=11,
        command="clone",
    ),
    Action(
        "servings.mark",
        "m",
        "mark",
        "Mark the serving, or remove its mark: an operation is done for all marked servings.",
        footer_order=11,
    ),
    Action(
        "servings.mark_all",
        "M",
        "mark all",
        "Mark all servings that are shown, or remove all marks.",
    ),
    Action(
        "servings.edit",
        "e",
        "edit",
        "Edit the serving: its fields become inputs; nothing is saved before a confirmation.",
        footer_order=3,
        command="edit",
    ),
    Action(
        "servings.scale",
        "s",
        "scale",
        "Change the number of replicas; with marks, of each marked serving.",
        footer_order=3,
        command="scale",
    ),
    Action(
        "servings.restart",
        "r",
        "restart",
        "Replace the Pods by the strategy of the Deployment, as kubectl rollout restart does.",
        footer_order=3,
        command="restart",
    ),
    Action(
        "servings.stop",
        "S",
        "stop/start",
        "Scale to 0, or back to the number of replicas before that.",
        command="stop",
    ),
    Action(
        "servings.pause",
        "P",
        "pause rollout",
        "Pause the rollout, or resume it.",
        command="pause",
    ),
    Action(
        "servings.rollback",
        "R",
        "roll back",
        "Show the revisions of the serving, to go back to one of them.",
        footer_order=10,
        command="rollback",
    ),
    Action(
        "servings.unblock",
        "U",
        "unblock rollout",
        "Let a rollout go on that its own old Pods block: an old Pod stops before a new one "
        "starts.",
        command="unblock",
    ),
    Action(
        "servings.delete",
        "ctrl+d",
        "delete",
        "Delete the serving: says first what goes with it and what stays.",
        footer_order=10,
        command="delete",
    ),
    Action(
        "servings.adopt",
        "A",
        "adopt",
        "Make the Deployment of another tool a serving of servedeck: its label, and a Service if "
        "none leads to its Pods; shows the difference first.",
        command="adopt",
    ),
    Action(
        "servings.undo",
        "u",
        "undo",
        "Put back what the last operation changed, while nobody has changed it since.",
        command="undo",
    ),
    Action(
        "servings.bundle",
        "B",
        "bundle",
        "Save an incident bundle: objects, Events, logs and rollouts in one archive, with secrets "
        "redacted.",
        command="bundle",
    ),
    Action(
        "servings.forward",
        "F",
        "forward",
        "Forward a local port to a Ready Pod of the serving, also through rollouts.",
        footer_order=10,
        command="port-forward",
    ),
    Action(
        "servings.forwards",
        "f",
        "forwards",
        "List the port-forwards, to copy the URL of one or to stop it.",
        command="forwards",
    ),
    Action(
        "servings.filter",
        "slash",
        "filter",
        'Show only what matches: text, !text, status:error, reason:crash, ns:team, "max length",'
        " -l key=value. Text is searched in every column of a serving and in the status of its "
        "Pods; a click on a count in the header filters by that status.",
        footer_order=4,
        command="filter",
    ),
    Action(
        "servings.namespace_key",
        DIGIT_KEYS,
        "namespace",
        "0 shows all namespaces, 1 to 9 the namespace beside that digit in the header.",
        footer_order=8,
        passes_key=True,
    ),
    Action(
        "servings.sort_next",
        "greater_than_sign",
        "sort",
        "Sort by the next column, or click a column's name.",
        footer_order=7,
    ),
    Action(
        "servings.sort_previous",
        "less_than_sign",
        "sort previous",
        "Sort by the previous column.",
    ),
    Action("servings.sort_reverse", "o", "reverse", "Reverse the sort order.", command="reverse"),
    Action(
        "servings.wide",
        "w",
        "wide",
        "Show every column at full width; left and right scroll, the name stays.",
        footer_order=6,
        command="wide",
    ),
    Action(
        "servings.context",
        "ctrl+k",
        "context",
        "Choose another context of the kubeconfig; :ctx NAME goes there at once.",
        footer_order=9,
        command="ctx",
    ),
    Action(
        "servings.namespace",
        "ctrl+n",
        "namespaces",
        "Choose a namespace from the list; :ns NAME goes there at once, :ns all shows all.",
        command="ns",
    ),
    Action(
        "servings.retry",
        "ctrl+r",
        "retry now",
        "Retry the API server now instead of waiting.",
        command="retry",
    ),
    Action(
        "servings.back",
        "escape",
        "clear",
        "Close the status popover; if it is not open, clear the filter.",
    ),
    Action("servings.quit", "q", "quit", "Quit servedeck."),
    Action(
        "filter.keep",
        "enter",
        "apply",
        "Go back to the list, filtered.",
        footer_order=1,
        bound_by_widget=True,
    ),
    Action(
        "filter.clear",
        "escape",
        "clear",
        "Clear the filter.",
        footer_order=2,
        bound_by_widget=True,
    ),
    Action(
        "status.close",
        "escape,space,q,enter",
        "close",
        "Close the status popover.",
        footer_order=1,
        bound_by_widget=True,
    ),
    Action(
        "status.pod_log",
        POD_KEYS,
        "Pod's log",
        "Follow the log of the Pod beside the key.",
        footer_order=2,
        passes_key=True,
        bound_by_widget=True,
    ),
    Action(
        "status.scroll",
        "j,k,down,up,pagedown,pageup,g,G,home,end",
        "scroll",
        "Scroll the status popover.",
        footer_order=3,
        passes_key=True,
        bound_by_widget=True,
    ),
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
    Action("file.close", "escape", "close", "Change nothing.", footer_order=2),
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
    Action("connect.close", "escape,c,q", "close", "Close the overlay.", footer_order=9),
    Action("connect.url", "u", "URL", "Copy the endpoint URL.", footer_order=1),
    Action("connect.address", "a", "address", "Copy the in-cluster address.", footer_order=2),
    Action("connect.curl", "s", "curl", "Copy the curl command for a request.", footer_order=3),
    Action(
        "connect.curl_async",
        "x",
        "async curl",
        "Copy the curl command for an asynchronous request (X-Async: true).",
        footer_order=4,
    ),
    Action(
        "connect.port_forward",
        "f",
        "port-forward",
        "Copy the kubectl port-forward command.",
        footer_order=5,
    ),
    Action(
        "connect.scroll",
        "j,k,down,up,pagedown,pageup,g,G,home,end",
        "scroll",
        "Scroll the overlay.",
        passes_key=True,
    ),
    Action("serving.close", "escape,q", "close", "Go back to the list.", footer_order=1),
    Action(
        "serving.tab",
        TAB_KEYS,
        "tab",
        "Show the tab with that number.",
        footer_order=12,
        passes_key=True,
    ),
    Action("serving.next_tab", "tab", "next tab", "Show the next tab."),
    Action("serving.previous_tab", "shift+tab", "previous tab", "Show the previous tab."),
    Action(
        "serving.next",
        "right_square_bracket",
        "next",
        "Show the next serving of the list.",
        footer_order=15,
    ),
    Action(
        "serving.previous",
        "left_square_bracket",
        "previous",
        "Show the previous serving of the list.",
        footer_order=15,
    ),
    Action(
        "serving.connect",
        "c",
        "connect",
        "Show the endpoint, the paths and curl commands, ready to copy.",
        footer_order=13,
        command="connect",
    ),
    Action(
        "serving.describe",
        "d",
        "describe",
        "Show everything about the serving as one text, as servedeck describe prints it.",
        footer_order=12,
        command="describe",
    ),
    Action(
        "serving.edit",
        "e",
        "edit",
        "Edit the serving: its fields become inputs; nothing is saved before a confirmation.",
        footer_order=4,
        command="edit",
    ),
    Action(
        "serving.scale",
        "s",
        "scale",
        "Change the number of replicas of the serving.",
        footer_order=13,
        command="scale",
    ),
    Action(
        "serving.restart",
        "r",
        "restart",
        "Replace the Pods by the strategy of the Deployment, as kubectl rollout restart does.",
        footer_order=13,
        command="restart",
    ),
    Action(
        "serving.stop",
        "S",
        "stop/start",
        "Scale to 0, or back to the number of replicas before that.",
        command="stop",
    ),
    Action(
        "serving.pause",
        "P",
        "pause rollout",
        "Pause the rollout, or resume it.",
        command="pause",
    ),
    Action(
        "serving.rollback",
        "R",
        "roll back",
        "Go back to the revision under the cursor of the tab Rollouts, after its difference; "
        "elsewhere, show that tab.",
        footer_order=14,
        command="rollback",
    ),
    Action(
        "serving.unblock",
        "U",
        "unblock rollout",
        "Let a rollout go on that its own old Pods block: an old Pod stops before a new one "
        "starts.",
        command="unblock",
    ),
    Action(
        "serving.delete",
        "ctrl+d",
        "delete",
        "Delete the Pod under the cursor in the tab Overview, elsewhere the serving: says first "
        "what goes with it and what stays.",
        footer_order=14,
        command="delete",
    ),
    Action(
        "serving.adopt",
        "A",
        "adopt",
        "Make the Deployment of another tool a serving of servedeck: its label, and a Service if "
        "none leads to its Pods; shows the difference first.",
        command="adopt",
    ),
    Action(
        "serving.undo",
        "u",
        "undo",
        "Put back what the last operation changed, while nobody has changed it since.",
        command="undo",
    ),
    Action(
        "serving.edit_object",
        "E",
        "edit YAML",
        "Open the object of the tab YAML, elsewhere the Deployment, in your editor (KUBE_EDITOR, "
        "VISUAL or EDITOR); nothing is saved before a confirmation.",
        footer_order=14,
        command="edit-yaml",
    ),
    Action(
        "serving.bundle",
        "B",
        "bundle",
        "Save an incident bundle: objects, Events, logs and rollouts in one archive, with secrets "
        "redacted.",
        command="bundle",
    ),
    Action(
        "serving.forward",
        "F",
        "forward",
        "Forward a local port to a Ready Pod of the serving, also through rollouts; list its "
        "port-forwards if there are some.",
        footer_order=14,
        command="port-forward",
    ),
    Action(
        "serving.run",
        "x",
        "run",
        "Run one command in a container of the Pod under the cursor of the tab Overview, elsewhere "
        "of the first Pod.",
        footer_order=14,
        command="run",
    ),
    Action("describe.close", "escape,q,d", "close", "Close the description.", footer_order=1),
    Action("describe.copy", "C", "copy", "Copy the description.", footer_order=2),
    Action(
        "describe.scroll",
        "j,k,down,up,pagedown,pageup,g,G,home,end",
        "scroll",
        "Scroll the description.",
        passes_key=True,
    ),
    Action(
        "serving.timeline",
        "t",
        "timeline",
        "Show when the serving changed status, restarted, scaled, rolled out or lost a node.",
        footer_order=13,
        command="timeline",
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
    Action("timeline.close", "escape,q,t", "close", "Close the timeline.", footer_order=1),
    Action("timeline.open", "enter", "open", "Show the change in full.", footer_order=2),
    Action(
        "serving.yaml",
        "y",
        "YAML",
        "Show the YAML of the Pod under the cursor in the tab Overview, elsewhere of the "
        "serving's workload.",
        footer_order=11,
        command="yaml",
    ),
    Action(
        "serving.copy_link",
        "Y",
        "copy link",
        "Copy the command that opens this tab of the serving, for a colleague.",
        footer_order=14,
    ),
    Action(
        "overview.open",
        "enter",
        "open",
        "Show the Pod under the cursor: its containers, Events and node; or the whole value.",
        footer_order=2,
    ),
    Action(
        "overview.logs",
        "l",
        "logs",
        "Follow the log of the Pod under the cursor, or of the first failing one.",
        footer_order=3,
    ),
    Action(
        "overview.pods",
        "p",
        "all Pods",
        "Show all Pods at full size, or the cards again.",
        footer_order=4,
    ),
    Action(
        "overview.copy",
        "C",
        "copy",
        "Copy the value under the cursor.",
        footer_order=16,
    ),
    Action(
        "overview.reveal",
        "ctrl+g",
        "show secret",
        "Show the masked value under the cursor, or mask it again; a Secret is read only then.",
        footer_order=17,
    ),
    Action(
        "overview.move",
        "j,k,down,up,left,right,pagedown,pageup,g,G,home,end",
        "move",
        "Move over the Pods and values; left and right go to the card beside.",
        passes_key=True,
        bound_by_widget=True,
    ),
    Action("pod.close", "escape,q", "close", "Go back to the serving.", footer_order=1),
    Action(
        "pod.open",
        "enter",
        "whole value",
        "Show the value under the cursor whole.",
        footer_order=2,
    ),
    Action(
        "pod.logs",
        "l",
        "logs",
        "Follow the log of the Pod, of the container under the cursor or of the failing one.",
        footer_order=3,
    ),
    Action("pod.describe", "d", "describe", "Describe the serving as one text."),
    Action("pod.yaml", "y", "YAML", "Show the YAML of the Pod.", footer_order=4),
    Action(
        "pod.shell",
        "s",
        "shell",
        "Open a shell in the container under the cursor, or in the one that fails, with kubectl "
        "exec.",
        footer_order=3,
    ),
    Action(
        "pod.run",
        "x",
        "run",
        "Run one command in the container under the cursor, or in the one that fails.",
        footer_order=5,
    ),
    Action(
        "pod.forward",
        "F",
        "forward",
        "Forward a local port to the Pod, and when it is replaced to another Ready one of the "
        "serving.",
        footer_order=7,
    ),
    Action(
        "pod.delete",
        "ctrl+d",
        "delete Pod",
        "Delete the Pod; its controller replaces it with a new one.",
        footer_order=6,
    ),
    Action(
        "pod.cordon",
        "N",
        "cordon node",
        "Schedule no new Pod on the Pod's node, or allow it again.",
        footer_order=7,
    ),
    Action("pod.copy", "C", "copy", "Copy the value under the cursor.", footer_order=5),
    Action(
        "pod.move",
        "j,k,down,up,left,right,pagedown,pageup,g,G,home,end",
        "move",
        "Move over the values; left and right go to the card beside.",
        passes_key=True,
        bound_by_widget=True,
    ),
    Action("value.close", "escape,q,enter", "close", "Close the value.", footer_order=1),
    Action("value.copy", "C", "copy", "Copy the whole value.", footer_order=2),
    Action(
        "value.scroll",
        "j,k,down,up,pagedown,pageup,g,G,home,end",
        "scroll",
        "Scroll the value.",
        passes_key=True,
    ),
    Action(
        "log.previous",
        "p",
        "previous",
        "Show the log of the container's previous instance, and back.",
        footer_order=2,
    ),
    Action(
        "log.container",
        "o",
        "container",
        "Go to the Pod's next container.",
        footer_order=3,
    ),
    Action("log.pod", "n", "next Pod", "Go to the serving's next Pod.", footer_order=4),
    Action(
        "log.follow",
        "f",
        "follow",
        "Pause the log, or follow its end; scrolling up pauses, G follows.",
        footer_order=5,
    ),
    Action("log.wrap", "w", "wrap", "Wrap long lines, or truncate them.", footer_order=6),
    Action(
        "log.scroll",
        "j,k,down,up,pagedown,pageup,g,G,home,end,left,right",
        "scroll",
        "Scroll the log; g goes to its first line, G to its end.",
        passes_key=True,
        bound_by_widget=True,
    ),
    Action(
        "rollouts.compare",
        "enter",
        "difference",
        "Show the difference between the two marked revisions, or between the one under the cursor "
        "and the one before it.",
        footer_order=2,
    ),
    Action(
        "rollouts.mark",
        "space",
        "mark",
        "Mark the revision to compare it with another one; a third mark replaces the first.",
        footer_order=3,
    ),
    Action(
        "rollouts.copy",
        "C",
        "copy",
        "Copy the details of the revision under the cursor.",
        footer_order=4,
    ),
    Action("difference.close", "escape,q,enter", "close", "Close the overlay.", footer_order=1),
    Action("difference.copy", "C", "copy", "Copy the difference.", footer_order=2),
    Action(
        "difference.scroll",
        "j,k,down,up,pagedown,pageup,g,G,home,end",
        "scroll",
        "Scroll the difference.",
        footer_order=3,
        passes_key=True,
    ),
    Action(
        "yaml.objects",
        "o",
        "object",
        "Choose another object of the serving: Service, route, ReplicaSet, Pod, and others.",
        footer_order=2,
    ),
    Action("yaml.search", "slash", "search", "Search a text.", footer_order=3),
    Action("yaml.next_hit", "n", "next hit", "Go to the next hit of the search.", footer_order=4),
    Action("yaml.previous_hit", "N", "previous hit", "Go to the previous hit of the search."),
    Action(
        "yaml.managed_fields",
        "m",
        "managed fields",
        "Unfold or fold the managed fields and the annotation of kubectl apply.",
        footer_order=5,
    ),
    Action(
        "yaml.copy",
        "C",
        "copy",
        "Copy the YAML with what is shown of it, up to 56 kB.",
        footer_order=6,
    ),
    Action(
        "yaml.save",
        "ctrl+s",
        "save",
        "Save the YAML with what is shown of it to a file for kubectl apply.",
        footer_order=7,
    ),
    Action(
        "yaml.reveal",
        "ctrl+g",
        "show secrets",
        "Show values that look secret until another tab is shown, or mask them again.",
        footer_order=8,
    ),
    Action(
        "yaml.scroll",
        "j,k,down,up,pagedown,pageup,g,G,home,end,left,right",
        "scroll",
        "Scroll the YAML; g goes to its first line, G to its end.",
        passes_key=True,
        bound_by_widget=True,
    ),
    Action(
        "search.keep",
        "enter",
        "go on",
        "Go back to the text; what was found stays marked. Upper case is distinguished only if "
        "the searched text has some.",
        footer_order=1,
        bound_by_widget=True,
    ),
    Action(
        "search.clear",
        "escape",
        "clear",
        "Clear the search and go back to where it began.",
        footer_order=2,
        bound_by_widget=True,
    ),
    Action("events.open", "enter", "open", "Show the Event in full.", footer_order=2),
    Action(
        "events.filter",
        "slash",
        "filter",
        "Show only Events that match: text, !text, type:warning, kind:pod, reason:back, "
        "object:name, message:text, source:kubelet.",
        footer_order=3,
    ),
    Action(
        "events.warnings",
        "W",
        "Warnings",
        "Show only Warnings, or Events of every type.",
        footer_order=4,
    ),
    Action(
        "events.follow",
        "f",
        "follow",
        "Pause the list, or follow its end; moving up pauses, G follows.",
        footer_order=5,
    ),
    Action("events.copy", "C", "copy", "Copy the Event under the cursor.", footer_order=6),
    Action("event.close", "escape,q,enter", "close", "Close the Event.", footer_order=1),
    Action("event.copy", "C", "copy", "Copy the Event.", footer_order=2),
    Action(
        "event.scroll",
        "j,k,down,up,pagedown,pageup,g,G,home,end",
        "scroll",
        "Scroll the Event.",
        footer_order=3,
        passes_key=True,
    ),
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

ACTIONS_BY_ID: Mapping[str, Action] = {action.id: action for action in ACTIONS}


def actions_in_scope(scope: str) -> tuple[Action, ...]:
    """Actions of a scope, in the order of the table."""
    return tuple(action for action in ACTIONS if action.scope == scope)


def bindings(*scopes: str) -> list[BindingType]:
    """Textual's bindings for the actions of the scopes; each calls `action_do`."""
    return list(scope_bindings(*scopes))


def action_bindings(action_id: str) -> list[BindingType]:
    """Textual's bindings for one action."""
    return list(_iter_bindings(ACTIONS_BY_ID[action_id]))


def scope_bindings(*scopes: str) -> list[Binding]:
    """The same as Binding objects, for callers that change them."""
    return [
        binding
        for scope in scopes
        for action in actions_in_scope(scope)
        for binding in _iter_bindings(action)
    ]


def _iter_bindings(action: Action) -> Iterator[Binding]:
    if action.bound_by_widget:
        return
    if not action.passes_key:
        yield Binding(action.keys, f"do('{action.id}')", action.label, id=action.id)
        return
    for key in action.keys.split(","):
        yield Binding(key, f"do('{action.id}', '{key}')", action.label, id=f"{action.id}.{key}")


_KEY_DISPLAY = {
    "slash": "/",
    "equals_sign": "=",
    "colon": ":",
    "question_mark": "?",
    "greater_than_sign": ">",
    "less_than_sign": "<",
    "right_square_bracket": "]",
    "left_square_bracket": "[",
    "escape": "esc",
    "pagedown": "pgdn",
    "pageup": "pgup",
    "down": "↓",
    "up": "↑",
    "left": "←",
    "right": "→",
}


def key_display(key: str) -> str:
    """A key as it is shown to the operator."""
    return _KEY_DISPLAY.get(key, key)


def action_key_display(action: Action, keymap: Mapping[str, str], *, all_keys: bool = False) -> str:
    """The action's first key, or all of them, as shown to the operator, with the keymap applied."""
    keys = keymap.get(action.id, action.keys).split(",")
    if action.keys == DIGIT_KEYS:
        return "0-9"
    if action.keys == SECTION_KEYS:
        return "1-7"
    if action.keys == TAB_KEYS:
        return "1-9"
    if action.keys == POD_KEYS:
        return "1-9 a-z"
    if action.passes_key and not all_keys:
        return "/".join(map(key_display, keys[:2]))
    return " ".join(map(key_display, keys if all_keys else keys[:1]))
