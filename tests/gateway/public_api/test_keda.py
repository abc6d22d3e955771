"""What KEDA reads of the queue, as its scaler metrics-api (of KEDA 2.20) does, with the triggers of
deploy/gateway/scaled-object.yaml."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from servedeck.async_queue.tasks import QueueMinute, StateCounts
from servedeck.gateway.public_api import app
from servedeck.gateway.stores.store import StoreUnavailableError
from tests.gateway.public_api.harness import Answer, Gateway, running_gateway

ROOT = Path(__file__).parents[3]
SCALED_OBJECT = yaml.safe_load((ROOT / "deploy/gateway/scaled-object.yaml").read_text())
TRIGGERS: list[dict[str, str]] = [one["metadata"] for one in SCALED_OBJECT["spec"]["triggers"]]


class ScalerError(Exception):
    """KEDA scales nothing down for it."""


def read_metric(answer: Answer, trigger: dict[str, str]) -> float:
    if answer.status != 200:
        raise ScalerError(answer.status)
    # of gjson's paths, one of a plain name is that key
    assert re.fullmatch(r"\w+", trigger["valueLocation"])
    value = msgspec.json.decode(answer.body).get(trigger["valueLocation"])
    if type(value) not in (int, float):  # a string would be read as a Quantity, as in 1k
        raise ScalerError(value)
    return float(value)


async def poll(gateway: Gateway) -> list[tuple[float, bool]]:
    """Each trigger's value, and whether it asks for a replica."""
    found = []
    for trigger in TRIGGERS:
        path = trigger["url"].partition("//")[2].partition("/")[2]
        value = read_metric(await gateway.ask("GET", f"/{path}"), trigger)
        found.append((value, value > float(trigger["activationTargetValue"])))
    return found


def test_the_triggers_have_what_the_scaler_knows() -> None:
    spec = SCALED_OBJECT["spec"]
    assert {one["type"] for one in spec["triggers"]} == {"metrics-api"}
    for one in TRIGGERS:
        assert set(one) == {"url", "valueLocation", "targetValue", "activationTargetValue"}
        assert all(isinstance(value, str) for value in one.values())
        assert float(one["targetValue"]) > 0
    # with a fallback, KEDA would set its number of replicas when the store is away
    assert "fallback" not in spec
    assert spec["minReplicaCount"] == 0
    assert spec["initialCooldownPeriod"] == spec["cooldownPeriod"]


def test_the_documentation_has_the_same_triggers() -> None:
    text = (ROOT / "docs/async-gateway.md").read_text()
    [block] = re.findall(r"^  ```yaml\n(  - type: metrics-api\n.*?)^  ```$", text, re.M | re.S)
    shown: list[Any] = yaml.safe_load(block)
    for one in (*shown, *SCALED_OBJECT["spec"]["triggers"]):
        one["metadata"] = {**one["metadata"], "url": ""}
    assert shown == SCALED_OBJECT["spec"]["triggers"]


async def test_what_has_not_ended_asks_for_a_replica(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_RECENT_SECONDS", 3600.0)
    async with running_gateway(tmp_path) as gateway:
        assert await poll(gateway) == [(0, False), (0, False)]
        await gateway.submit()
        assert await poll(gateway) == [(1, True), (1, True)]
        claimed = await gateway.claim()
        assert await poll(gateway) == [(1, True), (1, True)]
        await gateway.end(claimed)
        # it was there between two polls: the replica stays for the next one
        assert await poll(gateway) == [(0, False), (1, True)]
        monkeypatch.setattr(app, "_RECENT_SECONDS", -3600.0)
        assert await poll(gateway) == [(0, False), (0, False)]


async def test_what_is_recent_is_so_by_the_clock_of_the_store(tmp_path: Path) -> None:
    """The minute of the newest record, and the one before."""
    submitted = {9000.0: 1, 9060.0: 2, 9120.0: 4}

    async def minutes() -> list[QueueMinute]:
        return [QueueMinute(time=time, submitted=count) for time, count in submitted.items()]

    async with running_gateway(tmp_path) as gateway:
        setattr(gateway.context.store, "minutes", minutes)  # noqa: B010 - it is a method
        assert (await poll(gateway))[1] == (6, True)
        submitted |= {9180.0: 0, 9240.0: 0}
        assert (await poll(gateway))[1] == (0, False)
        submitted.clear()
        assert (await poll(gateway))[1] == (0, False)


@pytest.mark.parametrize("part", ["counts", "minutes"])
async def test_a_store_that_is_away_is_an_error_and_no_zero(tmp_path: Path, part: str) -> None:
    async def away() -> StateCounts:
        raise StoreUnavailableError("Valkey does not answer.")

    async with running_gateway(tmp_path) as gateway:
        setattr(gateway.context.store, part, away)
        with pytest.raises(ScalerError, match="503"):
            await poll(gateway)
