"""Any other server, defined by its image and command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from servedeck.serving.spec.fields import Field, InputKind
from servedeck.serving.spec.templates.base import SpecLike, Template, TemplateSettings


class Custom(Template):
    id = "custom"
    label = "Custom"
    help = "Your own image; controlled by Image and Command Override"
    order = 3
    sets_port = False
    fields: ClassVar = (
        Field(
            "arguments",
            "Arguments",
            "Arguments after the image's entry point, or after Command Override",
            InputKind.ARGUMENTS,
            default=(),
            advanced=True,
        ),
    )

    def build_args(self, spec: SpecLike) -> list[str]:
        value = spec.settings["arguments"]
        return list(value) if isinstance(value, tuple) else []

    def parse_command(
        self, command: Sequence[str], args: Sequence[str]
    ) -> tuple[tuple[str, ...], TemplateSettings, int | None] | None:
        return tuple(command), {"arguments": tuple(args)}, None

    def edit_command(
        self,
        command: Sequence[str],
        args: Sequence[str],
        current: SpecLike,
        wanted: SpecLike,
    ) -> tuple[list[str], list[str]]:
        return list(wanted.command), self.build_args(wanted)


TEMPLATE = Custom()
