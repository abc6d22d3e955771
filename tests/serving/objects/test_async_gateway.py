"""The objects of an async gateway, and what is read back from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from servedeck import __version__
from servedeck.gateway.settings import GatewaySettings, GatewaySettingsError, load_settings
from servedeck.serving.async_limit_checks import check_limits
from servedeck.serving.async_limits import LIMITS, AsyncQueueSettings, summarize_limits
from servedeck.serving.conventions import ASYNC_LABEL, SERVING_LABEL
from servedeck.serving.objects.async_gateway import (
    AsyncPlatform,
    build_async_gateway,
    find_settings_problems,
    read_async_settings,
    read_other_settings,
)
from tests.serving.test_settings_text import hostile_texts

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
    assert find_settings_problems({}) == {}


@pytest.mark.parametrize(
    "value",
    ["9" * 400, "9" * 5000, "1e300", ".inf", ".nan", "2001-99-99", "1.5", "yes", "[1]", "", "x"],
)
def test_a_limit_that_cannot_be_read_is_said_and_the_others_are_read(value: str) -> None:
    config_map = {"data": {"gateway.yaml": f"max_depth: {value}\nlifetime: 60\nwait_replicas: 1"}}
    assert read_async_settings(config_map) == AsyncQueueSettings(lifetime=60)
    assert read_other_settings(config_map) == {"wait_replicas": 1}
    assert find_settings_problems(config_map) == {
        "max_depth": "Max Queue Depth in its ConfigMap cannot be read: max_depth must be a whole "
        "number, as in 1000."
    }


@pytest.mark.parametrize(("text", "value"), [("-5", -5), ("0", 0), ("7.0", 7), ("0x10", 16)])
def test_a_number_out_of_range_is_read(text: str, value: int) -> None:
    config_map = {"data": {"gateway.yaml": f"max_depth: {text}"}}
    assert read_async_settings(config_map).max_depth == value
    assert find_settings_problems(config_map) == {}


@given(text=hostile_texts, name=st.sampled_from(list(LIMITS)))
def test_settings_of_any_text_can_be_shown_and_written(text: str, name: str) -> None:
    for one in (text, f"{name}: {text}", f"{text}: {name}"):
        config_map = {"data": {"gateway.yaml": one}}
        found = read_async_settings(config_map)
        assert summarize_limits(found)
        check_limits(found, ())
        assert all(find_settings_problems(config_map).values())
        others = read_other_settings(config_map)
        build_async_gateway("team-a", "llama", PLATFORM, found, other_settings=others)


@given(text=hostile_texts, name=st.sampled_from(list(GatewaySettings.__struct_fields__)))
def test_a_gateway_says_what_it_cannot_read(
    tmp_path_factory: pytest.TempPathFactory, text: str, name: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "hostile.yaml"
    file.write_text(f"{name}: {text}", encoding="utf-8", newline="")
    given = {"serving": "team-a/llama", "service": "team-a/llama:80"}
    try:
        load_settings(file, {} if name in given else given)
    except GatewaySettingsError as error:
        assert str(error)


@pytest.mark.parametrize("text", ["[" * 3000, "port: 2001-99-99", "port: " + "9" * 5000])
def test_a_gateway_does_not_start_with_them(tmp_path: Path, text: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    with pytest.raises(
        GatewaySettingsError, match=r"nested too deeply|port must be a whole number"
    ):
        load_settings(file, {"serving": "a/b", "service": "a/b:80"})
