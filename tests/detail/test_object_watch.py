"""Watches of whole objects and Events, on an API server."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from types import SimpleNamespace
from typing import cast

import pytest

from servedeck.cluster import resources
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.watch.backoff import ReflectorPhase
from servedeck.cluster.watch.decode import RecordDecoder, parse_object
from servedeck.detail.object_watch import LiveObject, ObjectQuery, ObjectWatch
from servedeck.serving.objects.records import WholeObject

NOT_CONNECTED = cast(Connection, SimpleNamespace(server_revision=1))


def test_a_whole_object_keeps_every_field_and_its_metadata():
    value = {
        "metadata": {"name": "llama", "uid": "u", "labels": {"a": "b"}, "managedFields": [{}]},
        "spec": {"unknown": [1, 2.5, None, True], "text": "two\nlines"},
    }
    record, problem = RecordDecoder(WholeObject).decode(json.dumps(value).encode())
    assert not problem
    assert record.metadata.labels == {"a": "b"}
    live = LiveObject(resources.DEPLOYMENT, record)
    assert live.value == {"apiVersion": "apps/v1", "kind": "Deployment", **value}


def test_the_fields_of_a_whole_object_are_sanitized_and_its_json_is_not():
    raw = json.dumps({"metadata": {"name": "a\x1b[31mb", "uid": "u"}, "x\x07": ["\u202ec\nd"]})
    record, _ = RecordDecoder(WholeObject).decode(raw.encode())
    live = LiveObject(resources.POD, record)
    assert live.metadata.name == "ab"
    assert live.value["metadata"]["name"] == "ab"
    assert live.value["x"] == ["c\nd"]
    assert live.json_text == raw


def test_what_is_no_object_has_no_fields():
    assert parse_object("[1]") == {}
    assert parse_object("{") == {}


def test_the_begin_of_the_list_does_not_delay_its_records(monkeypatch: pytest.MonkeyPatch):
    """`on_change` is called at once for the first change, and COALESCE_SECONDS later for those that
    follow."""
    requested: list[ReflectorPhase] = []
    query = ObjectQuery(resources.DEPLOYMENT, "team-a", "llama")
    watch = ObjectWatch(NOT_CONNECTED, query, lambda: None)
    reflector = watch._reflector
    monkeypatch.setattr(watch, "_request_flush", lambda: requested.append(reflector.phase))
    phases = ReflectorPhase
    for phase in (phases.CONNECTING, phases.LISTING, phases.LIVE, phases.RETRYING):
        reflector.phase = phase
        watch._handle_state()
    assert not requested
    for phase in (phases.FORBIDDEN, phases.FORBIDDEN, phases.LISTING, phases.MISSING):
        reflector.phase = phase
        watch._handle_state()
    assert requested == [phases.FORBIDDEN, phases.LISTING, phases.MISSING]


async def test_a_closed_watch_does_not_keep_its_task():
    query = ObjectQuery(resources.DEPLOYMENT, "team-a", "llama")
    watch = ObjectWatch(NOT_CONNECTED, query, lambda: None)
    gc.disable()
    try:
        watch.start()
        assert watch._task is not None
        task = weakref.ref(watch._task)
        await asyncio.sleep(0)  # it has begun, so that it has frames
        await watch.close()
        await asyncio.sleep(0)
        assert task() is None
    finally:
        gc.enable()
    assert watch.objects == []
