"""Requests of server-side apply."""

from __future__ import annotations

from typing import Any

from tests.contract.object_fields import Json, container
from tests.contract.target import (
    APPLY,
    Target,
    scaled_down_deployment,
)


def apply(target: Target, path: str, body: Json, manager: str, query: str = "") -> Json:
    found: Json = target.patch(f"{path}?fieldManager={manager}{query}", body, APPLY)
    return found


def applied(**spec: Any) -> Json:
    return scaled_down_deployment("web", **spec)


def with_image(image: str) -> Json:
    body = applied()
    container(body)["image"] = image
    return body
