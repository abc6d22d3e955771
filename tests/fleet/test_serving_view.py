"""What a view says of the inference server of a Deployment, whoever created it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from servedeck.fleet.fleet import Fleet
from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects.records import Container
from tests.fleet.factories import SERVER_CONTAINERS, START, change, deployment

SIDECAR = Container(name="fluent-bit", image="fluent/fluent-bit:3")
SERVER = Container(name="server", image="vllm/vllm-openai:v2")


@pytest.mark.parametrize(
    ("containers", "name", "image"),
    [
        (SERVER_CONTAINERS, "inference-server", "vllm/vllm-openai:v1"),
        ((SIDECAR, SERVER), "server", "vllm/vllm-openai:v2"),
        ((), "", ""),
    ],
)
def test_the_container_of_the_inference_server_is_named_with_its_image(
    containers: tuple[Container, ...], name: str, image: str
) -> None:
    fleet = Fleet()
    fleet.apply(change(deployment(containers=containers), "ADDED"))
    fleet.flush(START + timedelta(hours=1))
    view = fleet.view(NamespacedName("team-a", "llama"))
    assert view is not None
    assert (view.server_container, view.image) == (name, image)
