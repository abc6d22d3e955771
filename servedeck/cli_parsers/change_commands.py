"""The parsers of the commands that change servings."""

from __future__ import annotations

from typing import Any

from servedeck.cli_parsers.common_flags import add_common_flags


def add_change_commands(commands: Any) -> None:
    create = commands.add_parser(
        "create",
        help="open the create form",
        description="Opens the screen with the create form, empty or filled from a file.",
        allow_abbrev=False,
    )
    create.add_argument("-f", "--filename", metavar="FILE", help="fill the form from this file")
    add_common_flags(create)
    create.set_defaults(run="tui.command_line:run_create")
    apply = commands.add_parser(
        "apply",
        help="create or change the servings in a file",
        description="Applies the servings in a file; docs/spec.md describes it. A change to a"
        " field that another manager has set is a conflict, which is an error unless"
        " --force-conflicts is given.",
        allow_abbrev=False,
    )
    apply.add_argument(
        "-f", "--filename", metavar="FILE", required=True, help="the file; - reads standard input"
    )
    apply.add_argument("--dry-run", action="store_true", help="only show what would change")
    apply.add_argument(
        "--force-conflicts",
        action="store_true",
        help="overwrite fields that other managers set, and change Services that others may use",
    )
    add_common_flags(apply, single_namespace=True)
    apply.set_defaults(run="servedeck.commands.apply:run")
    export = commands.add_parser(
        "export",
        help="print a serving as a file for apply",
        description="Prints a serving as YAML that `servedeck apply` accepts. Fields of its objects"
        " that the YAML does not have are comments at its end.",
        allow_abbrev=False,
    )
    export.add_argument("name", metavar="NAME", help="NAME or NAMESPACE/NAME")
    export.add_argument(
        "-v", "--verbose", action="store_true", help="list those fields on standard error, too"
    )
    export.add_argument(
        "--redact",
        action="store_true",
        help="print bullets for values that look secret; apply refuses the file until they are "
        "written",
    )
    add_common_flags(export, single_namespace=True)
    export.set_defaults(run="servedeck.commands.export:run")


def add_set_command(commands: Any) -> None:
    set_ = commands.add_parser(
        "set",
        help="change fields of a serving",
        description="Changes fields of a serving, named as in the YAML of export: image=NAME,"
        " replicas=3, settings.maxModelLen=8k, env.NAME=VALUE; env.NAME- removes a variable, FIELD="
        " clears a field. Asks before Pods restart. A field that another manager has set is a"
        " conflict, which is an error unless --force-conflicts is given.",
        allow_abbrev=False,
    )
    set_.add_argument("name", metavar="NAME", help="NAME or NAMESPACE/NAME")
    set_.add_argument(
        "assignments", metavar="FIELD=VALUE", nargs="+", help="a field and its new value"
    )
    set_.add_argument("--dry-run", action="store_true", help="only show what would change")
    set_.add_argument("-y", "--yes", action="store_true", help="do not ask before Pods restart")
    set_.add_argument(
        "--force-conflicts",
        action="store_true",
        help="overwrite fields that other managers set, and change Services that others may use",
    )
    set_.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="default: %(default)s"
    )
    add_common_flags(set_, single_namespace=True)
    set_.set_defaults(run="servedeck.commands.set:run")


def add_operation_commands(commands: Any) -> None:
    def add(name: str, help_text: str, description: str) -> Any:
        parser = commands.add_parser(
            name, help=help_text, description=description, allow_abbrev=False
        )
        parser.add_argument("names", nargs="+", metavar="NAME", help="NAME or NAMESPACE/NAME")
        parser.add_argument("--dry-run", action="store_true", help="only show what would happen")
        parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
        parser.add_argument(
            "-o", "--output", choices=("text", "json"), default="text", help="default: %(default)s"
        )
        add_common_flags(parser, single_namespace=True)
        parser.set_defaults(run="servedeck.commands.operations:run", operation=name)
        return parser

    scale = add(
        "scale",
        "change the number of replicas",
        "Changes the number of replicas. Asks before it scales to 0.",
    )
    scale.add_argument(
        "--replicas", metavar="N", type=int, required=True, help="number of replicas"
    )
    add(
        "restart",
        "replace the Pods of a serving",
        "Replaces the Pods by the strategy of the Deployment, as `kubectl rollout restart` does.",
    )
    add(
        "stop",
        "scale to 0, and note the number of replicas",
        "Scales to 0, and notes the number of replicas for `servedeck start`.",
    )
    start = add(
        "start",
        "scale back to what a serving had before its stop",
        "Scales a serving with 0 replicas back to the number that it had before.",
    )
    start.add_argument(
        "--replicas",
        metavar="N",
        type=int,
        help="number of replicas; default: that before the stop",
    )
    add(
        "pause",
        "hold back changes of the Pod template",
        "Pauses rollouts: changes of the Pod template replace no Pods until `servedeck resume`.",
    )
    add(
        "resume",
        "roll out what was changed while paused",
        "Resumes the rollouts of a paused serving. Asks if Pods are replaced.",
    )
    rollback = add(
        "rollback",
        "go back to an earlier Pod template",
        "Makes the Pod template of an earlier revision the current one, as `kubectl rollout undo`"
        " does, and shows the difference before.",
    )
    rollback.add_argument(
        "--to-revision",
        metavar="N",
        type=int,
        default=0,
        help="number of the revision; default: the one before the current one",
    )
    delete = add(
        "delete",
        "delete a serving",
        "Deletes the Deployment, and the Service and route that servedeck made for it. Other"
        " objects, such as PersistentVolumeClaims, stay.",
    )
    delete.add_argument(
        "--confirm-name",
        metavar="NAME",
        action="append",
        default=[],
        dest="confirm_names",
        help="confirm the deletion of this serving, in a production context, too; once for each",
    )
    adopt = add(
        "adopt",
        "make the Deployment of another tool a serving of servedeck",
        "Adds servedeck's label to a Deployment that another tool made, also to one that is not"
        " listed because its inference server is not recognized. Creates a Service if none leads to"
        " its Pods. Restarts no Pods, and shows the difference before.",
    )
    adopt.add_argument(
        "--route",
        action="store_true",
        help="create a route, too, if none leads to its Pods: it opens them to the outside",
    )
    adopt.add_argument(
        "--no-service",
        action="store_true",
        help="create no Service, even if none leads to its Pods",
    )
