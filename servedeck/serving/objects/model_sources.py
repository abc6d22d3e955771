"""Where a model comes from that the server loads from a path."""

from __future__ import annotations

from servedeck.serving.objects import kserve
from servedeck.serving.objects.records import PodTemplate
from servedeck.serving.servers.command_line import base_name, read_commands
from servedeck.serving.servers.settings import flag_value

_SIDECAR_POLICY = "Always"
_SCHEMES = ("s3://", "gs://", "hf://", "oci://", "az://", "abfs://", "r2://", "tos://")
_HUGGING_FACE_PROGRAMS = ("hf", "huggingface-cli")


def find_model_source(template: PodTemplate, model: str) -> str:
    """URI that the model is loaded from: what KServe says, or for a path what an init container
    downloads; "" if nothing says it."""
    if source := kserve.model_uri(template):
        return source
    if not model.startswith("/"):
        return ""
    for one in template.spec.init_containers:
        if one.restart_policy == _SIDECAR_POLICY:
            continue
        for command in read_commands((*one.command, *one.args), {}):
            if source := _downloaded(command.words):
                return source
    return ""


def _downloaded(words: tuple[str, ...]) -> str:
    """What a program downloads: a URI in its arguments, or a repository of Hugging Face."""
    candidates = [flag_value(words, ("--model-uri",)), *words]
    for word in candidates:
        if word.startswith(_SCHEMES) and "$" not in word:
            return word
    program, *rest = words
    if base_name(program) in _HUGGING_FACE_PROGRAMS and rest[:1] == ["download"]:
        repository = next((word for word in rest[1:] if not word.startswith("-")), "")
        return f"hf://{repository}" if repository and "$" not in repository else ""
    return ""
