"""The values to choose from for a field, with what is known about each in the cluster."""

from __future__ import annotations

from collections.abc import Sequence

from servedeck.changes.draft import Draft
from servedeck.serving.accelerators import ACCELERATORS, accelerator_display_name
from servedeck.serving.capacity import AcceleratorCapacity
from servedeck.serving.pvcs import Pvc
from servedeck.serving.spec.choice_details import RESPONSE_TIME_ADVICE, choice_detail
from servedeck.serving.spec.fields import InputKind
from servedeck.serving.spec.rollouts import RECREATE, REPLACE, ROLLOUTS, SURGE
from servedeck.serving.spec.scaling import RESPONSE_TIME
from servedeck.serving.spec.spec import FIELDS
from servedeck.serving.spec.templates import TEMPLATES
from tui.ports.change_service import Inventory
from tui.screens.create.steps import fields_by_path
from tui.screens.pick import Choice
from widgets.styled_line import Line

_DEFAULT_ROLLOUT = ("Default", "replace with an accelerator, surge without")
_ROLLOUT_DETAILS = {
    SURGE: "a new Pod starts first, beside the old ones",
    REPLACE: "an old Pod stops first, one at a time",
    RECREATE: "all old Pods stop first",
}

_SETTING_LABELS = {"auto": "Auto"}
"""How the values of a template's choices are written, where that is not the value itself."""

PROPOSED = "proposed by the template"

ALWAYS_OFFERED_ACCELERATORS = 2
"""Accelerators of the registry that are offered although no node has them."""


def is_choice_field(path: str, draft: Draft) -> bool:
    """Whether the field is chosen rather than typed."""
    if path == "namespace" or path.endswith((".pvc", ".read_only")):
        return True
    field = fields_by_path(draft).get(path)
    return field is not None and field.kind in (InputKind.CHOICE, InputKind.SUGGESTION)


def allows_custom_value(path: str, draft: Draft) -> bool:
    """Whether a value that is not in the list can be entered."""
    if path == "namespace" or path.endswith(".pvc"):
        return True
    field = fields_by_path(draft).get(path)
    return field is not None and field.kind is InputKind.SUGGESTION


def field_choices(path: str, draft: Draft, inventory: Inventory | None) -> list[Choice]:
    """The options of the field, in order."""
    if path == "template":
        return [Choice(one.id, one.label, one.help, one.id) for one in TEMPLATES.values()]
    if path == "namespace":
        return [
            Choice(name, name) for name in (inventory.namespaces() if inventory else None) or ()
        ]
    if path == "accelerator":
        return _accelerator_choices(inventory.accelerator_capacities() if inventory else None)
    if path.endswith(".pvc"):
        known = inventory.pvcs(draft.texts["namespace"]) if inventory else None
        return [_pvc_choice(one) for one in (known or {}).values()]
    if path.endswith(".read_only"):
        return [Choice("false", "No", "read and write"), Choice("true", "Yes", "read-only")]
    if path == "rollout":
        return _rollout_choices(draft)
    if path in FIELDS:
        return _setting_choices(path, draft)
    field = fields_by_path(draft)[path]
    none = (
        [Choice("", "None", "the model's own setting")] if allows_custom_value(path, draft) else []
    )
    return none + [
        Choice(one, _SETTING_LABELS.get(one, one), "default" if one == field.default else "", one)
        for one in _template_choices(path)
    ]


def _rollout_choices(draft: Draft) -> list[Choice]:
    """Of an existing serving also what it has, if it is another one; a new one has a default."""
    if draft.base is None:
        first = Choice("", *display_value("rollout", ""))
        return [first, *(Choice(one, one, _ROLLOUT_DETAILS[one]) for one in ROLLOUTS)]
    present = draft.base.texts["rollout"]
    others = [present] if present and present not in ROLLOUTS else []
    return [Choice(one, one, _ROLLOUT_DETAILS.get(one, "as it is")) for one in (*others, *ROLLOUTS)]


def _setting_choices(path: str, draft: Draft) -> list[Choice]:
    """The choices of a common field; of an existing serving also what it has, if it is no choice:
    somebody else's autoscaler or policy."""
    present = draft.base.texts.get(path, "") if draft.base is not None else ""
    choices = FIELDS[path].choices
    others = [present] if present and present not in choices else []
    return [Choice(one, one, choice_detail(path, one)) for one in (*others, *choices)]


def _template_choices(path: str) -> Sequence[str]:
    name = path.removeprefix("settings.")
    for template in TEMPLATES.values():
        if (field := template.get_field(name)) is not None and field.choices:
            return field.choices
    return ()


def _accelerator_choices(capacities: Sequence[AcceleratorCapacity] | None) -> list[Choice]:
    found = [Choice("", "None", "CPU only")]
    offered = {one.resource: one for one in capacities or ()}
    for one in offered.values():
        found.append(
            Choice(
                one.resource,
                one.name,
                f"{one.resource}  {_describe_availability(one)}",
                one.resource,
            )
        )
    for known in ACCELERATORS[:ALWAYS_OFFERED_ACCELERATORS]:
        if known.resource not in offered:
            where = "no node has it" if capacities is not None else ""
            detail = f"{known.resource}  {where}".rstrip()
            found.append(Choice(known.resource, known.name, detail, known.resource))
    return found


def _describe_availability(capacity: AcceleratorCapacity) -> str:
    """Free ones and their nodes: "3 of 8 free: node-a 2, node-b 1"."""
    places = ", ".join(f"{node} {free}" for node, free, _ in capacity.nodes[:3] if free)
    more = f" and {len(capacity.nodes) - 3} more" if len(capacity.nodes) > 3 and places else ""
    return f"{capacity.free} of {capacity.total} free{': ' if places else ''}{places}{more}"


def _pvc_choice(pvc: Pvc) -> Choice:
    off = "It is a raw block device; choose one with a filesystem." if pvc.is_block_device else ""
    return Choice(pvc.name, pvc.name, describe_pvc(pvc), disabled_reason=off)


def describe_pvc(pvc: Pvc) -> str:
    """Size, access modes, phase and users of a PVC: "50Gi RWX Bound, used by a, b and 3 more"."""
    words = " ".join(filter(None, (pvc.size, pvc.short_access_modes, pvc.phase)))
    if not pvc.used_by:
        return f"{words}, not in use"
    names = ", ".join(pvc.used_by[:2])
    more = f" and {len(pvc.used_by) - 2} more" if len(pvc.used_by) > 2 else ""
    return f"{words}, used by {names}{more}"


def display_value(path: str, text: str) -> tuple[str, str]:
    """How the value of a chosen field is drawn, and the detail behind it."""
    if path == "template":
        template = TEMPLATES.get(text)
        return (template.label, template.help) if template else (text, "not known")
    if path == "accelerator":
        name = accelerator_display_name(text) if text else "None"
        return name, text if text != name else ""
    if path.endswith(".read_only"):
        return ("Yes" if text == "true" else "No"), ""
    if path == "rollout":
        return (text, _ROLLOUT_DETAILS.get(text, "")) if text else _DEFAULT_ROLLOUT
    if path in ("namespace",) or path.endswith(".pvc"):
        return text or "choose one", ""
    if path in FIELDS:
        return text or "None", choice_detail(path, text)
    return _SETTING_LABELS.get(text, text) or "None", ""


def _proposed_value(path: str, draft: Draft) -> str:
    """What the template proposes for a field of a new serving, "" for nothing."""
    if draft.base is not None or path not in ("image", "accelerator"):
        return ""
    return draft.template.image if path == "image" else draft.template.accelerator


def text_note(path: str, draft: Draft) -> Line:
    """The note below a field that is typed: what the template proposes for it, also once that was
    replaced, so that the rows below stay where they are."""
    proposed = _proposed_value(path, draft)
    if not proposed:
        return ()
    is_same = draft.texts[path] == proposed
    return ((PROPOSED if is_same else f"the template proposes {proposed}", "muted"),)


def field_note(path: str, draft: Draft, inventory: Inventory | None) -> Line:
    """What is known about the value in the cluster, shown below the field; () for nothing."""
    if path == "accelerator":
        is_proposed = draft.texts[path] == _proposed_value(path, draft) != ""
        note = _accelerator_note(draft, inventory)
        return ((f"{PROPOSED}; ", "muted"), *note) if is_proposed else note
    if path == "auto_scaling" and draft.texts.get(path) == RESPONSE_TIME:
        return ((RESPONSE_TIME_ADVICE, "muted"),)
    if inventory is None:
        return ()
    if path.endswith(".pvc"):
        known = inventory.pvcs(draft.texts["namespace"])
        at = int(path.split(".")[1])
        claim = (known or {}).get(draft.rows["volumes"][at]["pvc"])
        return ((describe_pvc(claim), "muted"),) if claim else ()
    return ()


def _accelerator_note(draft: Draft, inventory: Inventory | None) -> Line:
    supplies = inventory.accelerator_capacities() if inventory is not None else None
    if supplies is None:
        reasons = inventory.unavailable_reasons if inventory is not None else ()
        reason = next((one for one in reasons if "accelerators" in one or "use" in one), "")
        # Also before it is read: the rows below stay where they are.
        return ((reason or "Reading which nodes have free ones…", "muted"),)
    resource = draft.texts["accelerator"]
    if not resource:
        free = ", ".join(f"{one.free} of {one.total} {one.name}" for one in supplies)
        return ((f"Free in the cluster: {free}." if free else "No node has any.", "muted"),)
    supply = next((one for one in supplies if one.resource == resource), None)
    if supply is None:
        return ((f"No node has {accelerator_display_name(resource)}.", "warning"),)
    return ((supply.summary, "muted" if supply.free else "warning"),)
