"""The templates of servings. Each is one module of this package that defines `TEMPLATE`; new
modules are discovered automatically."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from servedeck.serving.spec.templates.base import Template, TemplateSettings

__all__ = ["TEMPLATES", "Template", "TemplateSettings", "find_template"]


def _discover() -> dict[str, Template]:
    found = (
        getattr(import_module(f"{__name__}.{module.name}"), "TEMPLATE", None)
        for module in pkgutil.iter_modules(__path__)
    )
    ordered = sorted((t for t in found if isinstance(t, Template)), key=lambda t: (t.order, t.id))
    return {template.id: template for template in ordered}


TEMPLATES: dict[str, Template] = _discover()
"""By id, in the order of the form."""


def find_template(template_id: str) -> Template | None:
    return TEMPLATES.get(template_id)
