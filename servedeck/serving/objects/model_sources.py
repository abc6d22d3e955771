"""Where a model comes from that the server loads from a path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from servedeck.serving.objects import kserve
from servedeck.serving.objects.records import Container, InitContainer, PodTemplate
from servedeck.serving.servers.command_line import base_name, expand_variables, read_commands
from servedeck.serving.servers.settings import flag_value, pulled_model

_SIDECAR_POLICY = "Always"
_SCHEMES = ("s3://", "gs://", "hf://", "oci://", "az://", "abfs://", "r2://", "tos://")
_HUGGING_FACE_PROGRAMS = ("hf", "huggingface-cli")
_URL_PROGRAMS = ("curl", "wget", "aria2c")
_HUGGING_FACE_URL = re.compile(r"https://huggingface\.co/([\w.-]+/[\w.-]+?)(?:\.git)?/?", re.ASCII)
_PYTHON_DOWNLOAD = re.compile(
    r"""\b(?:snapshot_download|hf_hub_download)\(\s*(?:repo_id\s*=\s*)?["']([\w.-]+/[\w.-]+)["']""",
    re.ASCII,
)
"""Functions of huggingface_hub."""
_URL_SECRETS = re.compile(r"(?<=//)[^/@]*@|[?#].*", re.DOTALL)
"""Credentials in a URL, and its query, which may have a token."""


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
        variables = _variables(one)
        argv = (*one.command, *one.args)
        for command in read_commands(argv, variables):
            if source := _downloaded(command.words, model):
                return source
        if found := _PYTHON_DOWNLOAD.search(expand_variables("\n".join(argv), variables)):
            return f"hf://{found[1]}"
    return ""


def find_pulled_model(template: PodTemplate) -> str:
    """`ollama pull MODEL` in a container beside the server, or one before it that fills its
    volume; "" if none pulls one."""
    for one in _all_containers(template):
        if found := pulled_model((*one.command, *one.args), _variables(one)):
            return found
    return ""


def _all_containers(template: PodTemplate) -> Iterator[Container | InitContainer]:
    yield from template.spec.init_containers
    yield from template.spec.containers


def _variables(container: Container | InitContainer) -> Mapping[str, str]:
    return {one.name: one.value for one in container.env if one.value}


def _downloaded(words: tuple[str, ...], model: str) -> str:
    """What a program downloads: a URI in its arguments, a repository of Hugging Face or ModelScope,
    or a URL of the model's file."""
    candidates = [flag_value(words, ("--model-uri",)), *words]
    for word in candidates:
        if word.startswith(_SCHEMES) and "$" not in word:
            return word
    name, rest = base_name(words[0]), words[1:]
    if name in (*_HUGGING_FACE_PROGRAMS, "modelscope") and rest[:1] == ("download",):
        repository = flag_value(words, ("--model",)) if name == "modelscope" else ""
        repository = repository or next((one for one in rest[1:] if one[:1] != "-"), "")
        scheme = "modelscope" if name == "modelscope" else "hf"
        return f"{scheme}://{repository}" if repository and "$" not in repository else ""
    urls = [one for one in rest if one.startswith(("https://", "http://")) and "$" not in one]
    if not urls:
        return ""
    if "clone" in (name, *rest) and name in ("git", "clone"):  # git is the entry point of its image
        found = _HUGGING_FACE_URL.fullmatch(_without_secrets(urls[0]))
        return f"hf://{found[1]}" if found else _without_secrets(urls[0])
    is_file = any(word.endswith(base_name(model)) for word in map(_without_secrets, rest))
    return _without_secrets(urls[0]) if name in _URL_PROGRAMS and is_file else ""


def _without_secrets(url: str) -> str:
    return _URL_SECRETS.sub("", url) if "://" in url else url
