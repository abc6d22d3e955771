"""Probes and metrics."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from servedeck.async_queue.tasks import StateCounts
from servedeck.gateway.admin_api import health
from servedeck.gateway.stores.store import StoreUnavailableError
from tests.gateway.admin_api.rig import Rig


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_FRESH_SECONDS", -1.0)


async def away(*_: object) -> StateCounts:
    raise StoreUnavailableError("Valkey does not answer.")


async def samples(rig: Rig) -> dict[str, float]:
    async with rig.session.get(f"{rig.url}/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await response.text()
    return {
        one.name + "".join(sorted(one.labels.values())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


async def test_ready_and_not(rig: Rig) -> None:
    assert await rig.get("/readyz") == {"ready": True, "role": "all", "message": ""}
    rig.app.state.not_ready = "The gateway shuts down."
    status, body = await rig.ask("GET", "/readyz")
    assert (status, body["ready"], body["message"]) == (503, False, "The gateway shuts down.")
    async with rig.session.get(f"{rig.url}/healthz") as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("said", "status"),
    [("", 200), ("warning: it writes each second.", 200), ("It may evict keys.", 503)],
)
async def test_a_store_that_is_not_safe_is_not_ready(rig: Rig, said: str, status: int) -> None:
    async def check() -> str:
        return said

    rig.context.store.check = check  # type: ignore[method-assign]
    found, body = await rig.ask("GET", "/readyz")
    assert (found, body["message"]) == (status, said)


async def test_a_store_that_is_away_is_not_ready(rig: Rig) -> None:
    rig.context.store.check = away  # type: ignore[method-assign,assignment]
    status, body = await rig.ask("GET", "/readyz")
    assert (status, body["message"]) == (503, "Valkey does not answer.")


async def test_metrics_of_the_queue(rig: Rig) -> None:
    await rig.complete()
    await rig.submit()
    await rig.submit()
    await rig.claim()
    found = await samples(rig)
    prefix = "servedeck_async_"
    assert found[f"{prefix}taskspending"] == found[f"{prefix}tasksprocessing"] == 1
    assert found[f"{prefix}taskscompleted"] == 1
    assert found[f"{prefix}tasksfailed"] == 0
    assert found[f"{prefix}backlog"] == 2
    assert found[f"{prefix}oldest_age_seconds"] >= 0
    assert found[f"{prefix}store_up"] == 1
    assert f"{prefix}submitted_total" in found


async def test_a_store_that_is_away_leaves_its_metrics_out(rig: Rig) -> None:
    # a 0 would say that nothing waits
    rig.context.store.counts = away  # type: ignore[method-assign]
    found = await samples(rig)
    prefix = "servedeck_async_"
    assert found[f"{prefix}store_up"] == 0
    assert not {one for one in found if one.startswith((f"{prefix}tasks", f"{prefix}backlog"))}
    assert f"{prefix}oldest_age_seconds" not in found
    assert f"{prefix}submitted_total" in found


async def test_a_store_that_is_away_is_an_error_of_the_queue(rig: Rig) -> None:
    rig.context.store.counts = away  # type: ignore[method-assign]
    async with rig.session.get(f"{rig.url}/-/async/queue") as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "2"
        assert (await response.json(content_type=None))["detail"] == "Valkey does not answer."


async def test_the_store_is_not_asked_for_each_probe(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_FRESH_SECONDS", 3600.0)
    calls = 0

    async def check() -> str:
        nonlocal calls
        calls += 1
        return ""

    rig.context.store.check = check  # type: ignore[method-assign]
    for _ in range(5):
        await rig.get("/readyz")
    assert calls == 1
