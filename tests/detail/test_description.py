"""The description of a serving as text and as JSON."""

from __future__ import annotations

import json

from servedeck.detail.description import (
    Description,
    DescriptionWatch,
    description_json,
    format_description,
)
from servedeck.serving.text import MASK
from tests.detail.objects import deployment
from tests.tui import fakes
from tests.tui.fake_detail_service import FakeDetailService
from tests.tui.fakes import NOW

ENV = [
    {"name": "API_TOKEN", "value": "abc-def"},
    {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}},
]


def describe(service: FakeDetailService, view=None) -> Description:
    view = view or fakes.fleet()[0]
    source = fakes.FakeSource().add_views(view)
    watch = DescriptionWatch(service, view.key, lambda: None)
    return watch.describe(view, source.fleet, NOW)


def make_service() -> FakeDetailService:
    service = FakeDetailService(deployment(env=ENV))
    service.put_events(
        {
            "type": "Warning",
            "reason": "BackOff",
            "message": "Back-off restarting failed container",
            "count": 3,
            "involvedObject": {
                "kind": "Deployment",
                "name": "llama-70b-chat",
                "namespace": "team-a",
                "uid": fakes.fleet()[0].uid,
            },
            "lastTimestamp": "2026-11-23T02:59:30Z",
        }
    )
    return service


def test_the_text_has_every_part():
    lines = format_description(describe(make_service()), NOW)
    text = "\n".join(lines)
    for part in (
        "Name:       llama-70b-chat",
        "Health:          ✗ Error: OOMKilled",
        "llama-70b-chat-6b8f-9qk2x  CrashLoopBackOff  0/1    7",
        "Image:               vllm/vllm-openai:v0.11.0",
        "Rollouts",
        "Timeline",
        "2026-11-23T02:59:30Z  Warning  BackOff x3  deployment/llama-70b-chat  Back-off restarting",
    ):
        assert part in text, part
    for title in ("Status", "Pods", "Volumes", "Transformer", "Events"):
        assert title in lines


def test_no_secret_is_in_the_text_or_the_json():
    description = describe(make_service())
    text = "\n".join(format_description(description, NOW))
    whole = json.dumps(description_json(description), ensure_ascii=False)
    for written in (text, whole):
        assert "abc-def" not in written
        assert MASK in written
        assert "Secret hf, key token" in written


def test_the_json_has_the_documented_parts():
    found = description_json(describe(make_service()))
    assert found["statusDetails"]["health"] == {"value": "✗ Error: OOMKilled"}
    assert {"label": "Image", "value": "vllm/vllm-openai:v0.11.0"} in found["settings"]["container"]
    assert found["rollout"]["revisions"][0]["current"] is True
    assert found["allEvents"][0]["count"] == 3
    assert found["missingPermissions"] == []


def test_what_may_not_be_read_is_said():
    service = make_service()
    sentence = "Cannot list events in namespace team-a: needs list and watch on events."
    service.missing_permissions = {"events": sentence, "deployments.apps": "No Deployments."}
    description = describe(service)
    lines = format_description(description, NOW)
    assert f"Note:       {sentence}" in lines
    assert "Note:       No Deployments." in lines
    assert description.rollouts is None
    assert description_json(description)["rollout"] is None


def test_a_serving_without_pods_and_events():
    view = fakes.serving("idle", pods=(), ready=0, desired=0)
    lines = format_description(describe(FakeDetailService(deployment("idle")), view), NOW)
    assert "  The serving has no Pods." in lines
    assert "  No Events." in lines
