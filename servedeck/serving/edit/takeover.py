"""What the first serving takes over of its second revision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from servedeck.serving.edit.merge import MergeConflict, Side
from servedeck.serving.edit.revision_base import (
    KEPT_FIELDS,
    RevisionBase,
    find_digests,
    merge_revision,
)
from servedeck.serving.edit.second_revision import (
    add_argument,
    begin_revision,
    served_model_argument,
    with_arguments,
)
from servedeck.serving.objects.import_objects import ImportedServing, import_objects
from servedeck.serving.objects.manifests import build_manifests
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec import scaling
from servedeck.serving.spec.spec import FIELDS, ServingSpec
from servedeck.serving.spec.templates.base import ADDITIONAL_ARGUMENTS, additional_arguments

_TEMPLATE_FIELDS = ("template", "settings", "command", "readiness_path", "liveness_path")
"""Fields whose values have no meaning with another template."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """The first serving with the settings of its second revision."""

    spec: ServingSpec
    conflicts: tuple[MergeConflict, ...]
    """Values that were changed in both since the second revision began."""


def make_revision_base(main: ImportedServing, name: str, model: str) -> RevisionBase:
    """What a second revision called `name` begins from: the settings that `main`, the serving of
    the endpoint, whose served model is `model`, gives it now."""
    new, model = _new_revision(main, name, model)
    return RevisionBase(main.spec.name, model, find_digests(new))


def _new_revision(main: ImportedServing, name: str, model: str) -> tuple[ServingSpec, str]:
    """A new second revision as it would be read back, without the served model name that servedeck
    gives it; and this name, "" for none."""
    begun = begin_revision(main, name, model)
    platform = PlatformSettings(engines=main.objects.engines)
    new = import_objects(build_manifests(begun, platform), main.objects.engines).spec
    argument = served_model_argument(model)
    is_added = bool(model) and argument in _arguments(new)
    if not is_added or argument in _arguments(main.spec):
        return new, ""
    return _without_argument(new, argument), model


def _arguments(spec: ServingSpec) -> tuple[str, ...]:
    return additional_arguments(spec) if ADDITIONAL_ARGUMENTS.name in spec.settings else ()


def _without_argument(spec: ServingSpec, argument: str) -> ServingSpec:
    words = _arguments(spec)
    if argument not in words:
        return spec
    return with_arguments(spec, tuple(one for one in words if one != argument))


def take_over(
    main: ImportedServing,
    revision: ServingSpec,
    model: str,
    base: RevisionBase | None = None,
    side: Side = Side.THEIRS,
) -> TakenOver:
    """The first serving `main`, whose served model is `model`, with what was changed in its second
    revision since that began from `base`. A value that was changed in both is a conflict and has
    that of `side`: MINE is the second revision. Without a base each value that a new second
    revision would not have counts as changed there.

    What servedeck gave the second revision when it began is no difference. The first serving keeps
    its description, auto scaling and load balancing. Without auto scaling it gets as many replicas
    as the second one at least, which has answered all requests with them.
    """
    spec = main.spec
    new, new_model = _new_revision(main, revision.name, model)
    if base is None:
        base = RevisionBase(spec.name, new_model, find_digests(new))
    argument = served_model_argument(base.model) if base.model else ""
    own = _arguments(spec)
    is_given = bool(argument) and argument not in own and argument in _arguments(revision)
    plain = _without_argument(revision, argument) if is_given else revision
    merge = merge_revision(base, new, plain, side)
    merged = merge.spec
    is_same_template = merged.template == spec.template
    changes: dict[str, Any] = {}
    for name in FIELDS:
        if name in KEPT_FIELDS or (name == "settings" and is_same_template):
            continue
        value = getattr(merged, name)
        is_of_template = name in _TEMPLATE_FIELDS and not is_same_template
        if value != getattr(new, name) or is_of_template:
            changes[name] = value
    if is_same_template:
        changes["settings"] = {
            name: merged.settings[name] if merged.settings[name] != new.settings[name] else value
            for name, value in spec.settings.items()
        }
    wanted = spec.replace(**changes)
    has_other_model = wanted.settings.get("model") != spec.settings.get("model")
    if is_given and (has_other_model or not is_same_template):
        # It keeps the served model name, which follows from the model otherwise.
        wanted = _with_argument(wanted, argument)
    is_scaled = {spec.auto_scaling, revision.auto_scaling} != {scaling.OFF}
    if not is_scaled and revision.replicas > spec.replicas:
        wanted = wanted.replace(replicas=revision.replicas)
    return TakenOver(wanted, merge.conflicts)


def _with_argument(spec: ServingSpec, argument: str) -> ServingSpec:
    words = _arguments(spec)
    if ADDITIONAL_ARGUMENTS.name not in spec.settings or argument in words:
        return spec
    return with_arguments(spec, add_argument(words, argument))
