"""The values that a field can be chosen from, with what the cluster says about each."""

from __future__ import annotations

from collections.abc import Sequence

from servedeck.changes.draft import Draft
from servedeck.serving.accelerators import ACCELERATORS, display_name
from servedeck.serving.capacity import Supply
from servedeck.serving.pvcs import Claim
from servedeck.serving.spec.fields import Kind
from servedeck.serving.spec.templates import TEMPLATES
from tui.screens.create.steps import fields
from tui.screens.pick import Choice
from tui.workbench import Around
from widgets.styled_line import Line

OFFERED_ALWAYS = 2
"""Accelerators of the registry that are offered although no node has them."""


def is_choice(path: str, draft: Draft) -> bool:
    """Whether the field is chosen rather than typed."""
    if path == "project" or path.endswith((".claim", ".read_only")):
        return True
    field = fields(draft).get(path)
    return field is not None and field.kind in (Kind.CHOICE, Kind.SUGGESTION)


def is_free(path: str, draft: Draft) -> bool:
    """Whether something that is not in the list can be written."""
    if path == "project" or path.endswith(".claim"):
        return True
    field = fields(draft).get(path)
    return field is not None and field.kind is Kind.SUGGESTION


def choices(path: str, draft: Draft, around: Around | None) -> list[Choice]:
    """What the field offers, in order."""
    if path == "template":
        return [Choice(one.id, one.label, one.help, one.id) for one in TEMPLATES.values()]
    if path == "project":
        return [Choice(name, name) for name in (around.projects() if around else None) or ()]
    if path == "accelerator":
        return _accelerators(around.supplies() if around else None)
    if path.endswith(".claim"):
        known = around.claims(draft.texts["project"]) if around else None
        return [_claim(one) for one in (known or {}).values()]
    if path.endswith(".read_only"):
        return [Choice("false", "No", "can be written"), Choice("true", "Yes", "read-only")]
    field = fields(draft)[path]
    none = [Choice("", "None", "as the model's own settings say")] if is_free(path, draft) else []
    return none + [Choice(one, one, "default" if one == field.default else "") for one in _of(path)]


def _of(path: str) -> Sequence[str]:
    name = path.removeprefix("settings.")
    for template in TEMPLATES.values():
        if (field := template.field(name)) is not None and field.choices:
            return field.choices
    return ()


def _accelerators(supplies: Sequence[Supply] | None) -> list[Choice]:
    found = [Choice("", "None", "CPU only")]
    offered = {one.resource: one for one in supplies or ()}
    for one in offered.values():
        found.append(Choice(one.resource, one.name, f"{one.resource}  {_where(one)}", one.resource))
    for known in ACCELERATORS[:OFFERED_ALWAYS]:
        if known.resource not in offered:
            where = "no node has it" if supplies is not None else ""
            detail = f"{known.resource}  {where}".rstrip()
            found.append(Choice(known.resource, known.name, detail, known.resource))
    return found


def _where(supply: Supply) -> str:
    """Free ones and their nodes: "3 of 8 free: node-a 2, node-b 1"."""
    places = ", ".join(f"{node} {free}" for node, free, _ in supply.nodes[:3] if free)
    more = f" and {len(supply.nodes) - 3} more" if len(supply.nodes) > 3 and places else ""
    return f"{supply.free} of {supply.total} free{': ' if places else ''}{places}{more}"


def _claim(claim: Claim) -> Choice:
    off = "It is a raw block device; choose one with a filesystem." if claim.block else ""
    return Choice(claim.name, claim.name, claim_words(claim), off=off)


def claim_words(claim: Claim) -> str:
    """Size, modes, phase and users of a claim: "50Gi RWX Bound, used by a, b and 3 more"."""
    words = " ".join(filter(None, (claim.size, claim.short_modes, claim.phase)))
    if not claim.used_by:
        return f"{words}, not in use"
    names = ", ".join(claim.used_by[:2])
    more = f" and {len(claim.used_by) - 2} more" if len(claim.used_by) > 2 else ""
    return f"{words}, used by {names}{more}"


def shown(path: str, text: str) -> tuple[str, str]:
    """How the value of a chosen field is drawn, and the detail behind it."""
    if path == "template":
        template = TEMPLATES.get(text)
        return (template.label, template.help) if template else (text, "not known")
    if path == "accelerator":
        name = display_name(text) if text else "None"
        return name, text if text != name else ""
    if path.endswith(".read_only"):
        return ("Yes" if text == "true" else "No"), ""
    if path in ("project",) or path.endswith(".claim"):
        return text or "choose one", ""
    return text or "None", ""


def note(path: str, draft: Draft, around: Around | None) -> Line:
    """What the cluster says of the value, under the field; () for nothing."""
    if around is None:
        return ()
    if path == "accelerator":
        return _supply_note(draft, around)
    if path.endswith(".claim"):
        known = around.claims(draft.texts["project"])
        at = int(path.split(".")[1])
        claim = (known or {}).get(draft.rows["volumes"][at]["claim"])
        return ((claim_words(claim), "muted"),) if claim else ()
    return ()


def _supply_note(draft: Draft, around: Around) -> Line:
    supplies = around.supplies()
    if supplies is None:
        reason = next((one for one in around.missing if "accelerators" in one or "use" in one), "")
        return ((reason or "Reading which nodes have free ones…", "muted"),)
    resource = draft.texts["accelerator"]
    if not resource:
        free = ", ".join(f"{one.free} of {one.total} {one.name}" for one in supplies)
        return ((f"Free in the cluster: {free}." if free else "No node has any.", "muted"),)
    supply = next((one for one in supplies if one.resource == resource), None)
    if supply is None:
        return ((f"No node has {display_name(resource)}.", "warning"),)
    return ((supply.sentence, "muted" if supply.free else "warning"),)
