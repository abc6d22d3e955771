"""The OpenAPI descriptions of the two ports, openapi_public.yaml and openapi_admin.yaml."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
import yaml

from servedeck import __version__


@cache
def openapi_document(public: bool) -> bytes:
    """The description of the port of callers, or of that of operators, as JSON. The first call
    takes some milliseconds."""
    name = "openapi_public.yaml" if public else "openapi_admin.yaml"
    text = files("servedeck.gateway").joinpath(name).read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    document["info"]["version"] = __version__
    return msgspec.json.encode(document)
