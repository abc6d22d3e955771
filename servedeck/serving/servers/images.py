"""Which inference server an image contains, by the parts of its name."""

from __future__ import annotations

import re
from functools import lru_cache

from servedeck.serving.servers.kind import ServerKind
from servedeck.serving.servers.kinds import SERVER_KINDS

OTHER_PROGRAM_WORDS = frozenset(
    {
        *("router", "routers", "gateway", "proxy", "loadbalancer", "lb", "scheduler", "epp"),
        *("balancer", "picker", "adapter", "sidecar", "agent", "mcp", "semantic"),
        *("exporter", "metrics", "monitor", "monitoring", "dashboard", "grafana", "otel"),
        *("ui", "webui", "web", "chat", "chatbot", "frontend", "playground", "gradio", "streamlit"),
        *("bench", "benchmark", "benchmarks", "benchmarking", "perf", "loadtest", "load", "locust"),
        *("genai", "guidellm", "evaluation", "eval", "evals", "test", "tests", "e2e", "client"),
        *("train", "training", "trainer", "finetune", "finetuning", "sft", "dpo", "lora", "rlhf"),
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
        *("compile", "compiler", "sdk", "docs", "notebook", "jupyter", "cli", "batch", "collector"),
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


@lru_cache(maxsize=1024)
def find_image_kind(image: str) -> ServerKind | None:
    """The server that an image contains; None if its name does not say."""
    path, tag = _split_image(image)
    *parents, last = path
    words = name_words(last)
    for kind in SERVER_KINDS:
        for pattern in kind.images:
            if not _matches(pattern, parents, last, words):
                continue
            if not names_other_program(last, pattern) and "sdk" not in name_words(tag):
                return kind
    return None


def _matches(pattern: str, parents: list[str], last: str, words: list[str]) -> bool:
    if pattern.endswith("/"):
        return pattern[:-1] in parents
    if "/" in pattern:
        parent, _, name = pattern.rpartition("/")
        return last == name and parents[-1:] == [parent]
    wanted = name_words(pattern)
    return any(words[at : at + len(wanted)] == wanted for at in range(len(words)))


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


def image_model(image: str, parent: str) -> str:
    """What follows a component in the image's path: "meta/llama" in "nvcr.io/nim/meta/llama:1"."""
    path, _ = _split_image(image)
    return "/".join(path[path.index(parent) + 1 :]) if parent in path[:-1] else ""
