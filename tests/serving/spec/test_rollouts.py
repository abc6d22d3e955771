"""The field rollout: its texts, and the Deployment's strategy from which each is read and to which
it is written."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.objects.change import change_objects
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.objects.manifests import build_manifests
from servedeck.serving.spec.document import from_yaml, to_yaml
from servedeck.serving.spec.rollouts import (
    default_rollout,
    parse_rollout,
    read_amounts,
    unblocking_rollout,
)
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.spec.validation import validate

Json = dict[str, Any]
SPEC = ServingSpec(name="a", namespace="p", template="custom", image="i", inference_port=8000)
PERCENT = "maxSurge 25%, maxUnavailable 25%"


def rolling(**amounts: Any) -> Json:
    return {"type": "RollingUpdate", "rollingUpdate": amounts}


def read(strategy: Any) -> str:
    [deployment, *_] = build_manifests(SPEC)
    deployment["spec"]["strategy"] = strategy
    return import_objects([deployment]).spec.rollout


def written(before: Any, rollout: str) -> Any:
    """The strategy of a Deployment after a change of the field alone."""
    [deployment, *_] = build_manifests(SPEC)
    deployment["spec"]["strategy"] = before
    current = import_objects([deployment])
    change = change_objects(current, current.spec.replace(rollout=rollout), create_missing=False)
    after = copy.deepcopy(change.changed[0])
    strategy = after["spec"].pop("strategy", None)
    rest = copy.deepcopy(deployment)
    rest["spec"].pop("strategy", None)
    assert after == rest  # nothing else changes
    assert not change.issues
    return strategy


# -- the texts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rollout"),
    [
        ("", ""),
        (None, ""),
        (" Surge ", "surge"),
        ("replace", "replace"),
        ("Recreate", "recreate"),
        ("maxSurge 1, maxUnavailable 0", "surge"),
        ("maxSurge=0,maxUnavailable=1", "replace"),
        ("maxSurge: 025%; maxUnavailable: 0%", "maxSurge 25%, maxUnavailable 0%"),
        ("MAXSURGE 2 maxunavailable 1", "maxSurge 2, maxUnavailable 1"),
    ],
)
def test_a_rollout_has_one_text_however_it_is_written(text: object, rollout: str) -> None:
    assert parse_rollout(text) == rollout
    assert parse_rollout(rollout) == rollout


@pytest.mark.parametrize(
    "text", ["rolling", "25%", "maxSurge 1", "maxSurge -1, maxUnavailable 1", "maxSurge 1.5, x"]
)
def test_another_text_is_an_error_that_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="choose surge, replace or recreate, or write maxSurge"):
        parse_rollout(text)


@pytest.mark.parametrize(
    ("rollout", "message"),
    [
        ("surge", ""),
        ("recreate", ""),
        ("maxSurge 200%, maxUnavailable 100%", ""),
        ("maxSurge 0, maxUnavailable 0%", "cannot both be 0"),
        ("maxSurge 1, maxUnavailable 101%", "more than 100%"),
    ],
)
def test_amounts_that_the_api_server_rejects_are_errors(rollout: str, message: str) -> None:
    found = [one for one in validate(SPEC.replace(rollout=rollout)) if one.field == "rollout"]
    assert [message in one.message for one in found] == ([True] if message else [])


# -- the strategy ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "rollout"),
    [
        (rolling(maxSurge=1, maxUnavailable=0), "surge"),
        (rolling(maxSurge=0, maxUnavailable=1), "replace"),
        ({"type": "Recreate"}, "recreate"),
        ({"type": "RollingUpdate"}, PERCENT),
        ({"rollingUpdate": {"maxSurge": 3}}, "maxSurge 3, maxUnavailable 25%"),
        (rolling(maxSurge="50%", maxUnavailable="0%"), "maxSurge 50%, maxUnavailable 0%"),
        (None, ""),
        ({}, ""),
        ({"type": "OnDelete"}, ""),
        ([], ""),
        (rolling(maxSurge=True, maxUnavailable=0), ""),
        (rolling(maxSurge="x%", maxUnavailable=0), ""),
        (rolling(maxSurge=-1, maxUnavailable=0), ""),
    ],
)
def test_a_strategy_is_read_as_what_it_is(strategy: Any, rollout: str) -> None:
    assert read(strategy) == rollout


@pytest.mark.parametrize(
    ("before", "rollout", "after"),
    [
        (rolling(maxSurge="25%", maxUnavailable="25%"), "replace", (0, 1)),
        (rolling(maxSurge=0, maxUnavailable=1), "surge", (1, 0)),
        ({"type": "Recreate"}, "surge", (1, 0)),
        (None, "replace", (0, 1)),
        (rolling(maxSurge=1, maxUnavailable=0), PERCENT, ("25%", "25%")),
    ],
)
def test_a_rolling_update_is_written_with_both_amounts(
    before: Any, rollout: str, after: tuple[Any, Any]
) -> None:
    surge, unavailable = after
    assert written(before, rollout) == rolling(maxSurge=surge, maxUnavailable=unavailable)


@pytest.mark.parametrize("before", [rolling(maxSurge=1, maxUnavailable=0), {}, None])
def test_recreate_leaves_no_amounts(before: Any) -> None:
    assert written(before, "recreate") == {"type": "Recreate"}


@pytest.mark.parametrize(
    "strategy", [{"type": "RollingUpdate"}, {}, {"type": "OnDelete"}, rolling(maxSurge="1%"), None]
)
def test_the_same_rollout_keeps_the_notation(strategy: Any) -> None:
    assert written(strategy, read(strategy)) == strategy


amounts = st.one_of(st.integers(0, 20), st.integers(0, 100).map(lambda one: f"{one}%"))


@given(amounts, amounts)
def test_what_is_written_is_read_again(surge: Any, unavailable: Any) -> None:
    rollout = read(rolling(maxSurge=surge, maxUnavailable=unavailable))
    assert written({"type": "Recreate"}, rollout) == rolling(
        maxSurge=surge, maxUnavailable=unavailable
    )
    found = read_amounts(rollout)
    assert found == (str(surge), str(unavailable))


# -- without a value ------------------------------------------------------------------------------


@pytest.mark.parametrize(("accelerator", "rollout"), [("nvidia.com/gpu", "replace"), ("", "surge")])
def test_a_new_serving_has_a_default_that_depends_on_its_accelerators(
    accelerator: str, rollout: str
) -> None:
    assert default_rollout(accelerator) == rollout
    objects = build_manifests(SPEC.replace(accelerator=accelerator))
    assert import_objects(objects).spec.rollout == rollout


@pytest.mark.parametrize("strategy", [rolling(maxSurge="25%", maxUnavailable="25%"), None])
def test_a_document_without_it_leaves_an_existing_serving_as_it_is(strategy: Any) -> None:
    assert written(strategy, "") == strategy
    assert "rollout" not in to_yaml(SPEC)


def test_another_accelerator_alone_does_not_change_the_rollout() -> None:
    current = import_objects(build_manifests(SPEC))
    wanted = current.spec.replace(accelerator="nvidia.com/gpu", rollout="")
    change = change_objects(current, wanted, create_missing=False)
    assert "rollout" not in change.changed_fields
    assert change.changed[0]["spec"]["strategy"] == rolling(maxSurge=1, maxUnavailable=0)


@pytest.mark.parametrize("rollout", ["surge", "recreate", PERCENT])
def test_a_document_has_the_text(rollout: str) -> None:
    text = to_yaml(SPEC.replace(rollout=rollout))
    assert f"\n  rollout: {rollout}\n" in text
    assert from_yaml(text).rollout == rollout


# -- the way out of a blocked rollout -------------------------------------------------------------


@pytest.mark.parametrize(
    ("desired", "available", "rollout"),
    [
        (1, 1, "replace"),
        (3, 3, "replace"),
        (3, 4, "replace"),
        (3, 2, "maxSurge 0, maxUnavailable 2"),
        (3, 0, "maxSurge 0, maxUnavailable 3"),
        (1, 0, "replace"),
        (0, 0, "replace"),
    ],
)
def test_pods_that_are_missing_count_as_unavailable(
    desired: int, available: int, rollout: str
) -> None:
    assert unblocking_rollout(desired, available) == rollout
