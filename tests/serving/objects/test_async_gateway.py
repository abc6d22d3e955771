"""The objects of an async gateway, and what is read back from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from servedeck import __version__
from servedeck.gateway.settings import GatewaySettings, load_settings
from servedeck.serving.async_limits import AsyncQueueSettings
from servedeck.serving.conventions import ASYNC_LABEL, SERVING_LABEL
from servedeck.serving.objects.async_gateway import (
    AsyncPlatform,
    build_async_gateway,
    read_async_settings,
)

DEPLOY = Path(__file__).parents[3] / "deploy" / "gateway"
PLATFORM = AsyncPlatform(
    image=f"servedeck-gateway:{__version__}", store="valkey://valkey.servedeck-system:6379"
)

settings = st.builds(
    AsyncQueueSettings,
    pod_concurrency=st.integers(1, 10_000),
    max_depth=st.integers(1, 100_000_000),
    max_body_bytes=st.integers(1, 1 << 30),
    max_result_bytes=st.integers(1, 1 << 30),
    lifetime=st.floats(0.001, 1e6),
    attempt_timeout=st.floats(0.001, 1e6),
    max_attempts=st.integers(1, 100),
    keep_completed=st.floats(0.001, 1e6),
    keep_failed=st.floats(0.001, 1e6),
)


def build(wanted: AsyncQueueSettings, platform: AsyncPlatform = PLATFORM) -> dict[str, Any]:
    objects = build_async_gateway("team-a", "llama", platform, wanted)
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in objects}


def test_the_stored_manifests_are_those_that_are_made() -> None:
    stored = list(yaml.safe_load_all((DEPLOY / "gateway.yaml").read_text(encoding="utf-8")))
    assert stored == list(build(AsyncQueueSettings()).values()), "run `make manifests`"


@given(settings)
def test_settings_are_read_back(wanted: AsyncQueueSettings) -> None:
    assert read_async_settings(build(wanted)["ConfigMap/llama-async"]) == wanted


@given(settings)
def test_a_gateway_takes_them(tmp_path_factory: pytest.TempPathFactory, wanted: Any) -> None:
    file = tmp_path_factory.getbasetemp() / "gateway.yaml"
    file.write_text(build(wanted)["ConfigMap/llama-async"]["data"]["gateway.yaml"])
    found = load_settings(file, {"role": "accept"})
    assert (found.serving, found.service) == ("team-a/llama", "team-a/llama:80")
    assert found.public_path == "/team-a/llama"
    for name in AsyncQueueSettings.__dataclass_fields__:
        assert getattr(found, name) == getattr(wanted, name), name


def test_the_defaults_are_those_of_the_gateway() -> None:
    gateway = GatewaySettings(serving="team-a/llama")
    for name in AsyncQueueSettings.__dataclass_fields__:
        assert getattr(AsyncQueueSettings(), name) == getattr(gateway, name), name


def test_the_gateway_is_no_serving_and_its_selectors_meet_its_pods() -> None:
    found = build(AsyncQueueSettings())
    assert all(one["metadata"]["labels"][ASYNC_LABEL] == "llama" for one in found.values())
    assert SERVING_LABEL not in yaml.safe_dump(list(found.values()))
    labels = found["Deployment/llama-async"]["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        found["Deployment/llama-async"]["spec"]["selector"]["matchLabels"],
        found["Service/llama-async"]["spec"]["selector"],
        found["Service/llama-async-admin"]["spec"]["selector"],
        found["PodDisruptionBudget/llama-async"]["spec"]["selector"]["matchLabels"],
        found["NetworkPolicy/llama-async"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(one.items() <= labels for one in selectors)


@pytest.mark.parametrize("text", [None, 3, "", "- a", "{", "max_depth: many", "max_depth: true"])
def test_a_config_map_of_any_shape(text: Any) -> None:
    assert read_async_settings({"data": {"gateway.yaml": text}}) == AsyncQueueSettings()
    assert read_async_settings({}) == AsyncQueueSettings()
