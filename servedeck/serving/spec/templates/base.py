"""What a template defines: its fields, image, probes and paths, and how its command line is built
and parsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, ClassVar, NamedTuple

from servedeck.serving.port_number import parse_port_number
from servedeck.serving.spec.fields import Field, FieldValue, InputKind
from servedeck.serving.spec.issues import Issue, error, warning
from servedeck.serving.spec.spec_like import SpecLike as SpecLike
from servedeck.serving.spec.templates.arguments import (
    Argument,
    find_flag,
    replace_words,
    set_flag_value,
    split_arguments,
)

TemplateSettings = dict[str, FieldValue]

ADDITIONAL_ARGUMENTS = Field(
    "additional_arguments",
    "Additional Arguments",
    "Further arguments of the server, after those from the other fields",
    InputKind.ARGUMENTS,
    default=(),
)


DEFAULT_SHARED_MEMORY = "256Mi"
"""Of a server about which nothing is known."""
MAX_WORKERS = 1024
"""Processes of one server, at most, that count for the shared memory."""

MODEL = "model"
PORT = "port"
"""What the flag --port sets: no setting, but the spec's inference port."""


class SplitCommand(NamedTuple):
    """The parts of a container's command line: program, subcommand, arguments."""

    override: tuple[str, ...]
    """The program, if it is not the template's own: the Command Override."""
    program_length: int
    """Number of words of the program."""
    arguments_at: int
    """Index of the first argument in command and arguments together."""


class Template:
    """Base class of the templates. A subclass sets the attributes and overrides methods."""

    id: ClassVar[str]
    """Value of the template label and of `template` in YAML."""
    label: ClassVar[str]
    help: ClassVar[str]
    order: ClassVar[int] = 100
    """Position in the form's list of templates."""
    image: ClassVar[str] = ""
    """Default image in the form."""
    accelerator: ClassVar[str] = ""
    """Default resource key in the form."""
    fields: ClassVar[tuple[Field, ...]] = ()
    flags: ClassVar[Mapping[str, str]] = {}
    """Field of each flag; of several flags of a field, the long one is written."""
    unset_values: ClassVar[Mapping[str, FieldValue]] = {}
    """Values of fields whose flag is absent, where that does not mean the field's default."""
    command: ClassVar[tuple[str, ...]] = ()
    """Default command of the container; () for the image's entry point."""
    sets_port: ClassVar[bool] = True
    """Whether its command line sets the inference port, which is 8000 without the flag."""
    readiness_path: ClassVar[str] = ""
    liveness_path: ClassVar[str] = ""
    api_paths: ClassVar[tuple[str, ...]] = ("/",)
    """API paths under the endpoint, the most used first."""
    security_context: ClassVar[Mapping[str, Any]] = {}
    """securityContext of the inference server's container."""

    def build_args(self, spec: SpecLike) -> list[str]:
        """Arguments after the command, for a new serving."""
        raise TypeError(f"the template {self.id} builds no arguments")

    def parse_command(
        self, command: Sequence[str], args: Sequence[str]
    ) -> tuple[tuple[str, ...], TemplateSettings, int | None] | None:
        """Command Override, settings and port parsed from a container's command and arguments; None
        if this template cannot express them. The port is None if none is set."""
        split = self.split_command(command, args)
        if split is None:
            return None
        arguments = self.parse_arguments((*command, *args)[split.arguments_at :])
        settings = {**self.default_settings(), **self.unset_values}
        port: int | None = None
        for one in arguments:
            if one.field == PORT:
                port = parse_port_number(one.value)
            elif field := self.get_field(one.field):
                settings[one.field] = field.parse(one.value)
        settings[ADDITIONAL_ARGUMENTS.name] = tuple(
            word for one in arguments if not one.field for word in one.words
        )
        if not settings[MODEL]:
            return None
        return split.override, settings, port

    def edit_command(
        self,
        command: Sequence[str],
        args: Sequence[str],
        current: SpecLike,
        wanted: SpecLike,
    ) -> tuple[list[str], list[str]]:
        """Command and arguments of a container after its serving's change from `current` (as
        parsed from them) to `wanted`: only what differs is changed, each flag as it is written."""
        split = self.split_command(command, args)
        if split is None or current.template != wanted.template:
            return list(wanted.command or self.command), self.build_args(wanted)
        # each word with the list that it is in
        words = [*((word, True) for word in command), *((word, False) for word in args)]
        head, rest = words[: split.arguments_at], words[split.arguments_at :]
        if current.command != wanted.command:
            head = [(word, True) for word in wanted.command or self.command] + [
                (word, False) for word, _ in head[split.program_length :]
            ]
            rest = [(word, False) for word, _ in rest]
        arguments = self.parse_arguments([word for word, _ in rest])
        edited = self._edit_arguments(arguments, current, wanted)
        new_words = [word for one in edited for word in one.words]
        if rest:
            new_rest = _keep_lists(rest, new_words)
        else:
            new_rest = [(word, bool(command) and not args) for word in new_words]
        words = [*head, *new_rest]
        return (
            [word for word, is_command in words if is_command],
            [word for word, is_command in words if not is_command],
        )

    def _edit_arguments(
        self, arguments: list[Argument], current: SpecLike, wanted: SpecLike
    ) -> list[Argument]:
        changes: dict[str, object] = {
            name: value
            for name, value in wanted.settings.items()
            if name != ADDITIONAL_ARGUMENTS.name and value != current.settings.get(name)
        }
        if wanted.port != current.port:
            changes[PORT] = wanted.port
        for name, value in changes.items():
            text = self.format_argument(name, value)
            own = [one for one in arguments if one.field == name]
            if text is None:
                arguments = [one for one in arguments if one.field != name]
            elif own:  # the last one wins
                if own[-1].words[0].startswith("-"):
                    set_flag_value(own[-1], text)
                else:
                    own[-1].words, own[-1].value = [text], text
            else:
                added = Argument([f"{self.flag_of(name)}={text}"], name, text)
                end = next((i for i, one in enumerate(arguments) if one.words == ["--"]), None)
                arguments.insert(len(arguments) if end is None else end, added)
        additional = additional_arguments(wanted)
        if additional != additional_arguments(current):
            arguments = replace_words(arguments, additional)
        return arguments

    def split_command(self, command: Sequence[str], args: Sequence[str]) -> SplitCommand | None:
        """The parts of a container's command line; None if this template cannot express it."""
        raise TypeError(f"the template {self.id} reads no arguments")

    def parse_arguments(self, args: Sequence[str]) -> list[Argument]:
        """The arguments after the subcommand, each with the field that it sets. A value that is
        invalid for its field stays an additional argument, and so does the port if it is none."""
        arguments = split_arguments(args, self.parsed_flags)
        if arguments and len(arguments[0].words) == 1 and not args[0].startswith("-"):
            arguments[0].field, arguments[0].value = MODEL, args[0]
        has_positional_model = bool(arguments) and not args[0].startswith("-")
        for one in arguments[1:] if has_positional_model else arguments:
            if (has_positional_model and one.field == MODEL) or not self._is_valid(one):
                one.field = ""
        return arguments

    def _is_valid(self, argument: Argument) -> bool:
        text = argument.value
        if not argument.field:
            return True
        if argument.field == PORT:
            return bool(parse_port_number(text))
        field = self.get_field(argument.field)
        try:
            return field is not None and field.parse(text) is not None
        except ValueError:
            return False

    @property
    def parsed_flags(self) -> dict[str, str]:
        """Field of each flag that is parsed."""
        return {**self.flags, "--port": PORT}

    def flag_of(self, field: str) -> str:
        """The long flag of a field."""
        return next(
            flag
            for flag, name in self.parsed_flags.items()
            if name == field and flag.startswith("--")
        )

    def format_argument(self, field: str, value: object) -> str | None:
        """Text of a field's value in the command line; None to omit its flag."""
        return None if value in (None, "") else str(value)

    def matches(self, image: str, command: Sequence[str], args: Sequence[str]) -> bool:
        """Whether a container without a template label is one of this template, and its command
        line is in a form that this template can edit."""
        return False

    def propose_shared_memory(self, settings: TemplateSettings, accelerators: int) -> str:
        """Size limit of /dev/shm, a quantity, for the settings and the number of accelerators of
        each replica. Processes of one server exchange tensors through it (NCCL), 1Gi for each of
        several."""
        return f"{accelerators}Gi" if 1 < accelerators <= MAX_WORKERS else DEFAULT_SHARED_MEMORY

    def validate(self, spec: SpecLike) -> list[Issue]:
        """Check this template's fields in combination with the others."""
        return []

    def get_field(self, name: str) -> Field | None:
        return next((field for field in self.fields if field.name == name), None)

    def default_settings(self) -> TemplateSettings:
        return {field.name: field.default for field in self.fields}

    def parse_settings(self, raw: Mapping[Any, object]) -> tuple[TemplateSettings, dict[str, str]]:
        """All settings, and the errors of those that could not be parsed, by field name. Names
        may be in camel case."""
        values = self.default_settings()
        wrong: dict[str, str] = {}
        for key, given in raw.items():
            name = to_snake_case(str(key))
            field = self.get_field(name)
            if field is None:
                wrong[name] = self.no_such_setting()
                continue
            try:
                values[name] = field.parse(given)
            except ValueError as exc:
                wrong[name] = str(exc)
        return values, wrong

    def no_such_setting(self) -> str:
        """A sentence for a setting that this template does not have."""
        known = ", ".join(to_camel_case(field.name) for field in self.fields) or "none"
        return f"The template {self.id} has no such setting; it has: {known}."


def additional_arguments(spec: SpecLike) -> tuple[str, ...]:
    value = spec.settings[ADDITIONAL_ARGUMENTS.name]
    return value if isinstance(value, tuple) else ()


def validate_model(spec: SpecLike) -> list[Issue]:
    model = str(spec.settings["model"])
    if not model:
        return [error("settings.model", "The model is missing; enter its name or its path.")]
    if model.startswith("-") or any(c.isspace() for c in model):
        message = "The model must not start with a hyphen or contain spaces; correct it."
        return [error("settings.model", message)]
    if model.lower().startswith(_GATED_MODEL_PREFIXES) and not any(
        one.name in _HF_TOKEN_VARIABLES for one in spec.env
    ):
        message = (
            "This is a gated model on Hugging Face; add HF_TOKEN to the environment, unless the "
            "model is in the cache."
        )
        return [warning("settings.model", message)]
    return []


_GATED_MODEL_PREFIXES = ("meta-llama/", "google/gemma")
_HF_TOKEN_VARIABLES = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})


def validate_additional_arguments(spec: SpecLike, fields_by_flag: Mapping[str, str]) -> list[Issue]:
    """Flags in Additional Arguments that have their own field (`fields_by_flag`: flag -> field)."""
    path = f"settings.{ADDITIONAL_ARGUMENTS.name}"
    if repeated := find_flag(additional_arguments(spec), *fields_by_flag):
        message = f"{repeated} has a field of its own; set that field and remove it here."
        return [error(path, message)]
    return []


def to_snake_case(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def to_camel_case(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def _keep_lists(rest: Sequence[tuple[str, bool]], words: Sequence[str]) -> list[tuple[str, bool]]:
    """The new words, each in the list (command or arguments) of the old words around it."""
    found: list[tuple[str, bool]] = []
    old = [word for word, _ in rest]
    steps = SequenceMatcher(None, old, list(words), autojunk=False).get_opcodes()
    for step, a, a_end, b, b_end in steps:
        if step == "equal":
            found += rest[a:a_end]
        else:
            near = rest[a_end - 1] if a_end > a else rest[min(a, len(rest) - 1)]
            found += [(word, near[1]) for word in words[b:b_end]]
    return found
