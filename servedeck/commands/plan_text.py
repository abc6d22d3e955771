"""The plan of a change as lines of text, for the commands that change servings."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from servedeck.changes.plan import ChangePlan
from servedeck.cluster.apply import ObjectRef, Preview, PreviewAction
from servedeck.cluster.rejection import Rejection, RejectionReason
from servedeck.serving.spec.document import document_path
from servedeck.serving.spec.issues import Issue, Severity
from servedeck.serving.text import truncate

LineWriter = Callable[[str], None]

_MAX_CHANGES = 20
_MAX_VALUE_LENGTH = 60
OVERRIDE_HINT = "  To make the change anyway, use --force-conflicts."


def write_issue(
    name: str,
    issue: Issue,
    severity: Severity,
    stderr: LineWriter,
    *,
    path_of: Callable[[str], str] = document_path,
) -> None:
    """ "error: llama: spec.memory: …"; `path_of` makes the path of the issue's field."""
    field = f"{path_of(issue.field)}: " if issue.field else ""
    stderr(f"{severity}: {name}: {field}{issue.message}")


def write_changes(preview: Preview, stdout: LineWriter) -> None:
    """What the dry run of an object would change."""
    for change in preview.field_changes[:_MAX_CHANGES]:
        old, new = truncate(change.old, _MAX_VALUE_LENGTH), truncate(change.new, _MAX_VALUE_LENGTH)
        stdout(f"  {change.path}: {old} -> {new}")
    if len(preview.field_changes) > _MAX_CHANGES:
        stdout(f"  … and {len(preview.field_changes) - _MAX_CHANGES} more")
    if preview.restarts_pods:
        stdout("  its Pods restart")


def write_admission_changes(preview: Preview, stderr: LineWriter) -> None:
    for change in preview.admission_changes:
        stderr(f"note: admission sets {change.path} to {change.admitted!r}")


def conflicts_by_message(plan: ChangePlan) -> dict[str, Preview]:
    """Previews that conflict with other managers, by the message of the plan's issue."""
    return {
        one.rejection.message: one
        for one in plan.previews
        if one.rejection is not None and is_conflict(one.rejection)
    }


def write_conflicts(
    name: str, preview: Preview, stderr: LineWriter, *, source: str, hint: str
) -> None:
    """Which fields conflict with other managers, and what to do. `source` says the wanted value:
    "the file says"; `hint` is what to do, "" for nothing."""
    assert preview.rejection is not None
    found = preview.rejection.conflicts
    if not found:
        stderr(f"error: {name}: {preview.rejection.message}")
    else:
        where = object_name(preview.ref)
        stderr(f"error: {name}: {where} has fields that another manager set:")
    for one in found[:_MAX_CHANGES]:
        theirs, ours = (
            truncate(one.current, _MAX_VALUE_LENGTH),
            truncate(one.desired, _MAX_VALUE_LENGTH),
        )
        stderr(f"  {one.path}: {one.manager} set {theirs}, {source} {ours}")
    if len(found) > _MAX_CHANGES:
        stderr(f"  … and {len(found) - _MAX_CHANGES} more")
    if found and hint:
        stderr(hint)


def is_conflict(rejection: Rejection | None) -> bool:
    return rejection is not None and rejection.reason is RejectionReason.CONFLICT


def write_rest(name: str, unwritten: Iterable[ObjectRef], stderr: LineWriter) -> None:
    """That the Services and routes that were not written after their Deployment are not changed by
    the same command: the Deployment has the wanted values, so they are no change any more."""
    for ref in unwritten:
        stderr(
            f"note: {name}: The same command does not change {ref} any more; look at it with "
            f"kubectl edit -n {ref.namespace} {object_name(ref)}"
        )


def object_name(ref: ObjectRef) -> str:
    """As kubectl prints it: "deployment.apps/llama"."""
    group = ref.api_version.partition("/")[0] if "/" in ref.api_version else ""
    kind = ref.kind.lower() + (f".{group}" if group else "")
    return f"{kind}/{ref.name}"


def action_text(preview: Preview) -> str:
    """As kubectl apply prints it."""
    words = {
        PreviewAction.CREATE: "created",
        PreviewAction.CHANGE: "configured",
        PreviewAction.UNCHANGED: "unchanged",
        PreviewAction.DELETE: "deleted",
    }
    return words[preview.action or PreviewAction.UNCHANGED]


def shorten(value: str) -> str:
    """A value in a line of the plan."""
    return truncate(value, _MAX_VALUE_LENGTH)
