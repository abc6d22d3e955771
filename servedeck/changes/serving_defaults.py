"""The platform's defaults of new servings: node selector, tolerations, runtime class and others."""

from __future__ import annotations

from pydantic import ValidationError

from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.issues import Issue, error
from servedeck.serving.spec.spec import ServingSpec, issues_from_error


def with_defaults(spec: ServingSpec, platform: PlatformSettings) -> tuple[ServingSpec, list[Issue]]:
    """A new serving with the platform's defaults of the fields that it does not give; and what is
    wrong with these. A revision of another serving begins as that one. Variables that servedeck
    sets for the resulting path of the model cache are none of the serving's own."""
    found: list[Issue] = []
    for name, text in platform.defaults.items() if not spec.revision_of else ():
        if name in spec.model_fields_set:
            continue
        try:
            spec = spec.replace(**{name: text})
        except ValidationError as failure:
            found += [
                error(name, f"The setting {name}: {one.message}")
                for one in issues_from_error(failure)
            ]
    return spec.without_system_env(), found
