"""Which inference server an image contains, by the parts of its name."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from servedeck.serving.servers.kind import ServerKind
from servedeck.serving.servers.kinds import SERVER_KINDS

OTHER_PROGRAM_WORDS = frozenset(
    {
        *("router", "routers", "gateway", "proxy", "loadbalancer", "lb", "scheduler", "epp"),
        *("balancer", "picker", "adapter", "sidecar", "agent", "mcp", "semantic"),
        *("exporter", "metrics", "monitor", "monitoring", "dashboard", "grafana", "otel"),
        *("ui", "webui", "web", "chatbot", "frontend", "playground", "gradio", "streamlit"),
        *("bench", "benchmark", "benchmarks", "benchmarking", "perf", "loadtest", "locust"),
        *("genai", "guidellm", "evaluation", "eval", "evals", "test", "tests", "e2e", "client"),
        *("train", "training", "trainer", "finetune", "finetuning", "sft", "dpo", "rlhf"),
        *("operator", "controller", "manager", "webhook", "crd", "cache", "cacheserver", "lmcache"),
        *(
            "downloader",
            "download",
            "loader",
            "fetcher",
            "fetch",
            "initializer",
            "init",
            "puller",
            "pull",
        ),
        *("syncer", "sync", "converter", "convert", "quantize", "quantizer", "builder", "build"),
        *(
            "compile",
            "compiler",
            "sdk",
            "docs",
            "notebook",
            "jupyter",
            "cli",
            "batch",
            "offline",
            "collector",
        ),
    }
)
"""Words in the name of an image, a script or a module that say that it is no inference server,
although it is named after one: the router, the web UI or the benchmark of a server."""

_WORD_SEPARATOR = re.compile(r"[-_.]+")


def name_words(name: str) -> list[str]:
    """The words of a name: "vllm-openai_v2" is vllm, openai, v2."""
    return [word for word in _WORD_SEPARATOR.split(name.lower()) if word]


def names_other_program(name: str, known: str = "") -> bool:
    """Whether a name, except for the words of `known`, says that it is no inference server."""
    return not OTHER_PROGRAM_WORDS.isdisjoint({*name_words(name)} - {*name_words(known)})


_OTHER_IMAGES = frozenset(
    {
        *("llm-vllm", "llm-tgi", "embedding-tei", "reranking-tei", "llm-ollama", "guardrails-tgi"),
        *("vllm-sr", "distribution-remote-vllm"),
    }
)
"""Clients of a server that have its name (https://github.com/opea-project/GenAIComps,
https://github.com/vllm-project/semantic-router, https://github.com/llamastack/llama-stack)."""
_OTHER_TAG_WORDS = frozenset({"sdk", "light", "servicemaker"})
"""Words of a tag for an image without the server (Triton's clients, the command of llama.cpp, what
builds Riva's models)."""


class _Pattern(NamedTuple):
    """One entry of `ServerKind.images`."""

    rank: int
    kind: ServerKind
    text: str
    words: list[str]


def _index_patterns() -> dict[str, list[_Pattern]]:
    """The entries by the component of the path, or by the first word of the last component, that
    they need."""
    found: dict[str, list[_Pattern]] = {}
    for rank, kind in enumerate(SERVER_KINDS):
        for text in kind.images:
            words = name_words(text) if "/" not in text else []
            key = words[0] if words else text.removesuffix("/").rpartition("/")[2]
            found.setdefault(key, []).append(_Pattern(rank, kind, text, words))
    return found


_PATTERNS = _index_patterns()


@lru_cache(maxsize=4096)
def find_image_kind(image: str) -> ServerKind | None:
    """The server that an image contains; None if its name does not say."""
    path, tag = _split_image(image)
    *parents, last = path
    words = name_words(last)
    if last in _OTHER_IMAGES:
        return None
    found = [
        pattern
        for key in {*words, *path}
        for pattern in _PATTERNS.get(key, ())
        if _matches(pattern, parents, last, words)
        and not names_other_program(last, pattern.text)
        and _OTHER_TAG_WORDS.isdisjoint(name_words(tag))
    ]
    return min(found, key=lambda one: one.rank).kind if found else None


def _matches(pattern: _Pattern, parents: list[str], last: str, words: list[str]) -> bool:
    if pattern.text.endswith("/"):
        return pattern.text[:-1] in parents
    if "/" in pattern.text:
        parent, _, name = pattern.text.rpartition("/")
        return last == name and parents[-1:] == [parent]
    count = len(pattern.words)
    if count == 1 and len(pattern.text) <= _SHORT_NAME:
        return words[0] == pattern.text  # "tgi" elsewhere is what a client talks to
    return any(words[at : at + count] == pattern.words for at in range(len(words)))


_SHORT_NAME = 3


def _split_image(image: str) -> tuple[list[str], str]:
    """The components of an image's path, without its registry, and its tag."""
    name = image.partition("@")[0].lower()
    head, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    components = [*(head.split("/") if slash else []), last]
    is_registry = len(components) > 1 and (
        "." in components[0] or ":" in components[0] or components[0] == "localhost"
    )
    return components[1:] if is_registry else components, tag


def image_tag_words(image: str) -> list[str]:
    """The words of an image's tag: "1.7-grpc" is 1, 7, grpc."""
    return name_words(_split_image(image)[1])


def image_model(image: str, parent: str) -> str:
    """What follows a component in the image's path: "meta/llama" in "nvcr.io/nim/meta/llama:1"."""
    path, _ = _split_image(image)
    return "/".join(path[path.index(parent) + 1 :]) if parent in path[:-1] else ""


def default_pull_policy(image: str) -> str:
    """The imagePullPolicy that the API server sets (kubernetes pkg/apis/core/v1/defaults.go,
    SetDefaults_Container)."""
    _, tag = _split_image(image)
    is_latest = tag == "latest" or not (tag or "@" in image)
    return "Always" if is_latest else "IfNotPresent"
