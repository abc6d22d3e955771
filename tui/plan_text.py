"""A plan of changes as text: the result of the dry run, the progress of deploying, and the YAML."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from servedeck.changes.deployer import DeployState, DryRunResult
from servedeck.cluster.apply import Preview, PreviewAction
from servedeck.serving.objects import manifests
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.document import to_yaml
from servedeck.serving.spec.env_file import looks_secret
from servedeck.serving.spec.issues import Issue
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.spec.types import EnvVar
from servedeck.serving.text import MASK
from widgets.review_list import ReviewEntry
from widgets.styled_line import Line

REVIEW_VIEWS = ("review", "objects", "document")
"""The views that y cycles through."""

_ACTION_DISPLAY = {
    PreviewAction.CREATE: ("+", "ready", "create"),
    PreviewAction.CHANGE: ("~", "pending", "change"),
    PreviewAction.UNCHANGED: ("=", "muted", "keep unchanged:"),
    PreviewAction.DELETE: ("-", "error", "delete"),
}


def dry_run_entries(
    result: DryRunResult,
    deploy_state: DeployState,
    issues: Sequence[Issue],
    not_copied: Sequence[str],
) -> list[ReviewEntry]:
    """The result of the dry run, the most important first. `issues` are those of the draft."""
    found: list[ReviewEntry] = []
    if deploy_state.running or deploy_state.rejection:
        found += [*_deploy_entries(deploy_state), ReviewEntry()]
    review = result.plan
    if result.in_progress:
        found.append(_marked_entry("↻", "starting", "Running the API server's dry run…"))
    if result.error:
        found.append(_marked_entry("✗", "error", f"{result.error} The form is kept."))
        found.append(ReviewEntry(((" r", "key"), ("  repeats it", "muted"))))
    shown = review.issues if review is not None else tuple(issues)
    found += [_issue_entry(one) for one in shown if one.is_error]
    if review is not None:
        if not deploy_state.created:  # otherwise it is from before
            found += _preview_entries(review.previews, review.can_deploy)
        if result.scheduling is not None:
            enough = result.scheduling.schedulable_replicas >= result.scheduling.replicas
            mark, style_name = ("✓", "ready") if enough else ("!", "warning")
            found.append(
                _marked_entry(
                    mark, style_name, result.scheduling.summary, "" if enough else style_name
                )
            )
        elif review.scheduling_summary:
            found.append(_marked_entry("✓", "ready", review.scheduling_summary))
    found += [_issue_entry(one) for one in shown if not one.is_error]
    if review is not None:
        found += [_marked_entry("?", "muted", sentence, "muted") for sentence in review.unchecked]
    found += [
        _marked_entry("!", "warning", f"Not copied: {sentence}", "muted") for sentence in not_copied
    ]
    return found


def _marked_entry(mark: str, style_name: str, text: str, text_style_name: str = "") -> ReviewEntry:
    return ReviewEntry(((f" {mark} ", style_name), (text, text_style_name)), 3)


def _issue_entry(issue: Issue) -> ReviewEntry:
    mark, style_name = ("✗", "error") if issue.is_error else ("!", "warning")
    return ReviewEntry(((f" {mark} ", style_name), (issue.message, style_name)), 3, issue.field)


def _preview_entries(previews: Sequence[Preview], can_deploy: bool) -> list[ReviewEntry]:
    found: list[ReviewEntry] = []
    if can_deploy and previews:
        found.append(_marked_entry("✓", "ready", "The API server accepts it. Deploying will:"))
    for one in previews:
        if one.action is None:
            continue
        mark, style_name, verb = _ACTION_DISPLAY[one.action]
        found.append(
            ReviewEntry(((f"   {mark} ", style_name), (f"{verb} ", "muted"), (str(one.ref), "")), 5)
        )
        for change in one.admission_changes:
            was = f"{change.sent} → " if change.sent else "adds "
            text = f"{change.path.lstrip('.')}: {was}{change.admitted}"
            head = (("       admission changes ", "pending"), (text, "muted"))
            found.append(ReviewEntry(head, 9))
    return found


def _deploy_entries(deploy_state: DeployState) -> list[ReviewEntry]:
    found = [_marked_entry("✓", "ready", f"{one.ref} was created.") for one in deploy_state.created]
    if deploy_state.running:
        found.append(_marked_entry("↻", "starting", "Deploying…"))
    if deploy_state.rejection:
        what = f"{deploy_state.failed_object}: " if deploy_state.failed_object else ""
        found.insert(0, _marked_entry("✗", "error", f"{what}{deploy_state.rejection}", "error"))
        if deploy_state.created:
            keys: Line = ((" ctrl+s", "key"), ("  continues where it stopped;  ", "muted"))
            keys += (("u", "key"), ("  deletes what was created", "muted"))
        else:
            keys = ((" ctrl+s", "key"), ("  retries; nothing was created", "muted"))
        found.append(ReviewEntry(keys))
    return found


# -- YAML ---------------------------------------------------------------------------------------


def yaml_entries(
    spec: ServingSpec, platform: PlatformSettings, view: str, *, reveal: bool
) -> list[ReviewEntry]:
    """The YAML of the objects, or of the document that is saved."""
    shown_spec = spec if reveal else mask_secrets(spec)
    if view == "document":
        text, title = to_yaml(shown_spec), "The serving as a file (ctrl+y saves it)"
    else:
        built = manifests.build_manifests(shown_spec, platform)
        text = "---\n".join(
            yaml.safe_dump(one, sort_keys=False, allow_unicode=True, width=100) for one in built
        )
        title = "The objects that are applied"
    entries = [ReviewEntry(((f" {title}", "title"),)), ReviewEntry()]
    return entries + [ReviewEntry(_highlight_yaml_line(line), 8) for line in text.splitlines()]


def _highlight_yaml_line(line: str) -> Line:
    key, colon, value = line.partition(":")
    if colon and (not value or value.startswith(" ")) and '"' not in key:
        return ((f" {key}{colon}", "accent"), (value, ""))
    return ((f" {line}", "muted" if line == "---" else ""),)


def mask_secrets(spec: ServingSpec) -> ServingSpec:
    """The spec with secret values masked."""

    def mask_variables(variables: tuple[EnvVar, ...]) -> tuple[EnvVar, ...]:
        return tuple(
            one.model_copy(update={"value": MASK})
            if one.value and looks_secret(one.name, one.value)
            else one
            for one in variables
        )

    changes: dict[str, object] = {"env": mask_variables(spec.env)}
    if spec.transformer is not None:
        env = mask_variables(spec.transformer.env)
        changes["transformer"] = spec.transformer.model_copy(update={"env": env})
    return spec.model_copy(update=changes)
