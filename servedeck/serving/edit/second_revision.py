"""A second revision of a serving: a serving of its own that a traffic split sends requests to.

A route divides requests between Services, and all Pods of a Deployment are behind the same one: two
revisions by weight need a Deployment each, as in KServe and Knative.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import count
from typing import Any

from servedeck.serving.conventions import REVISION_LABEL
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.servers.kinds import KINDS_BY_TEMPLATE
from servedeck.serving.spec import load_balancing, scaling
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str
from servedeck.serving.spec.mapping.load_balancing import DESTINATION_RULE_KIND, find_policy
from servedeck.serving.spec.names import MAX_LABEL_LENGTH
from servedeck.serving.spec.scaling import SCALING_FIELDS
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.spec.templates.arguments import find_flag
from servedeck.serving.spec.templates.base import ADDITIONAL_ARGUMENTS, additional_arguments
from servedeck.serving.text import one_line, sanitize

_SUFFIX = "-canary"
_SERVED_MODEL_FLAG = "--served-model-name"


def revision_of(deployment: JsonObject) -> str:
    """Name of the serving that a Deployment is a second revision of, sanitized; "" for none."""
    labels = as_mapping(deployment, "metadata", "labels")
    return one_line(sanitize(as_str(labels.get(REVISION_LABEL))))


def free_name(serving: str, taken: Collection[str]) -> str:
    """The first name of NAME-canary, NAME-canary-2, … that is not taken, 63 characters at most."""
    for number in count(1):
        suffix = _SUFFIX if number == 1 else f"{_SUFFIX}-{number}"
        name = serving[: MAX_LABEL_LENGTH - len(suffix)].rstrip("-.") + suffix
        if name not in taken:
            return name
    raise AssertionError("a number is free")


def begin_revision(source: ImportedServing, name: str, model: str) -> ServingSpec:
    """The spec of a second revision with the settings of `source`, the serving of the endpoint, or
    an earlier revision of it. It has one replica, no endpoint, and answers requests that name
    `model`, the served model of the serving; "" if that is not known.

    Auto scaling is that of the serving, but never to 0 replicas: without requests it would be
    stopped before it gets any. Auto scaling of others, and a load balancing of the route, cannot be
    had by another serving, and are off.
    """
    spec = source.spec
    changes: dict[str, Any] = {"name": name, "revision_of": spec.name, "replicas": 1}
    if spec.auto_scaling not in scaling.CHOICES:
        changes |= {"auto_scaling": scaling.OFF, **dict.fromkeys(SCALING_FIELDS[1:])}
    elif spec.min_replicas == 0:
        changes["min_replicas"] = 1
    policy = find_policy(source.objects)
    is_of_route = policy is not None and policy.get("kind") != DESTINATION_RULE_KIND
    # An InferencePool has the Pods of the serving, not those of another one.
    is_of_others = spec.load_balancing in (load_balancing.CUSTOM, load_balancing.PREFIX_AWARE)
    if is_of_route or is_of_others:
        changes |= {"load_balancing": load_balancing.OFF, "load_balancing_header": ""}
    return _with_served_model(spec.replace(**changes), model)


def _with_served_model(spec: ServingSpec, model: str) -> ServingSpec:
    """The spec with a served model name of its own, unless it gives one: clients name the model,
    and without the argument another model would answer to another name."""
    kind = KINDS_BY_TEMPLATE.get(spec.template)
    if not model or kind is None or ADDITIONAL_ARGUMENTS.name not in spec.settings:
        return spec
    words = additional_arguments(spec)
    is_named = find_flag(words, *kind.served_model_flags) or any(
        one.name in kind.served_model_env for one in spec.env
    )
    if is_named or _SERVED_MODEL_FLAG not in kind.served_model_flags:
        return spec
    return with_arguments(spec, add_argument(words, served_model_argument(model)))


def served_model_argument(model: str) -> str:
    """The argument that gives a second revision the served model name."""
    return f"{_SERVED_MODEL_FLAG}={model}"


def add_argument(words: tuple[str, ...], argument: str) -> tuple[str, ...]:
    """The words with an argument after the others, before what follows `--`."""
    end = words.index("--") if "--" in words else len(words)
    return (*words[:end], argument, *words[end:])


def with_arguments(spec: ServingSpec, words: tuple[str, ...]) -> ServingSpec:
    """The spec, of a template that has them, with these additional arguments."""
    return spec.replace(settings={**spec.settings, ADDITIONAL_ARGUMENTS.name: words})
