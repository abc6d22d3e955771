from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.cluster.http.errors import InvalidResponseError
from servedeck.cluster.watch.decode import MAX_COMPRESSED_BYTES, RecordDecoder
from servedeck.serving.objects import records
from servedeck.serving.objects.records import Deployment, Pod, WholeObject
from tests.cluster.all_kinds import ALL_KINDS

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "metadata",
                    "spec",
                    "status",
                    "name",
                    "labels",
                    "containers",
                    "conditions",
                    "template",
                    "state",
                    "replicas",
                    "creationTimestamp",
                    "rules",
                    "ports",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


def test_good_object_is_read_whole() -> None:
    raw = json.dumps(
        {
            "metadata": {"name": "a", "creationTimestamp": "2026-01-02T03:04:05Z"},
            "spec": {"containers": [{"name": "main", "unknown": [1, 2]}]},
        }
    ).encode()
    record, problem = RecordDecoder(Pod).decode(raw)
    assert not problem
    assert record.metadata.creation_timestamp == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert record.spec.containers[0].name == "main"


def test_equal_parts_of_pods_are_one_object() -> None:
    def read(name: str) -> Pod:
        owner = {"kind": "ReplicaSet", "name": "chat-7f9c", "uid": "u-1", "controller": True}
        raw = {
            "metadata": {"name": name, "namespace": "team-a", "ownerReferences": [owner]},
            "spec": {"nodeName": "node-7", "containers": [{"name": "inference-server"}]},
            "status": {
                "phase": "Running",
                "qosClass": "Burstable",
                "conditions": [{"type": "Ready", "status": "False", "reason": "NotYet"}],
                "containerStatuses": [{"name": "inference-server"}],
            },
        }
        pod = RecordDecoder(Pod).decode(json.dumps(raw).encode()).record
        assert isinstance(pod, Pod)
        return pod

    first, second = read("chat-7f9c-a"), read("chat-7f9c-b")
    assert first.metadata.owner_references is second.metadata.owner_references
    assert first.metadata.owner_references[0].name == "chat-7f9c"

    def texts(pod: Pod) -> list[str]:
        [condition], [status] = pod.status.conditions, pod.status.container_statuses
        return [
            *(pod.metadata.namespace, pod.spec.node_name, pod.spec.containers[0].name),
            *(pod.status.phase, pod.status.qos_class, status.name),
            *(condition.type, condition.status, condition.reason),
        ]

    assert texts(first)[:3] == ["team-a", "node-7", "inference-server"]
    for one, other in zip(texts(first), texts(second), strict=True):
        assert one is other


def test_nulls_are_absent() -> None:
    raw = b'{"metadata":{"name":"a","labels":null},"spec":null,"status":{"conditions":null}}'
    record, problem = RecordDecoder(Deployment).decode(raw)
    assert record.metadata.name == "a"
    assert record.spec.replicas == 1
    assert not problem


@pytest.mark.parametrize(
    ("given_", "field", "wanted"),
    [
        ('{"spec":{"replicas":"3"}}', "spec.replicas", 3),
        ('{"spec":{"replicas":{}}}', "spec.replicas", 1),
        ('{"spec":{"replicas":true}}', "spec.replicas", 1),
        ('{"spec":{"replicas":1e400}}', "spec.replicas", 1),
        ('{"spec":{"paused":"true"}}', "spec.paused", True),
        ('{"spec":{"paused":3}}', "spec.paused", False),
        ('{"metadata":{"name":12}}', "metadata.name", "12"),
        ('{"metadata":{"name":["a"]}}', "metadata.name", ""),
        (
            '{"metadata":{"labels":{"a":5,"b":"c","d":null}}}',
            "metadata.labels",
            {"a": "5", "b": "c"},
        ),
        ('{"metadata":{"creationTimestamp":"soon"}}', "metadata.creation_timestamp", None),
        (
            '{"metadata":{"creationTimestamp":"2026-01-01T00:00:00"}}',
            "metadata.creation_timestamp",
            datetime(2026, 1, 1, tzinfo=UTC),
        ),
        ('{"status":{"conditions":[null,"x",{"type":"A"}]}}', "status.conditions.0.type", "A"),
        ('{"status":{"conditions":{}}}', "status.conditions", ()),
    ],
)
def test_wrong_types_invalidate_only_their_field(given_: str, field: str, wanted: object) -> None:
    record, problem = RecordDecoder(Deployment).decode(given_.encode())
    value: object = record
    for part in field.split("."):
        value = value[int(part)] if isinstance(value, tuple) else getattr(value, part)
    assert value == wanted
    assert problem


def test_invalid_utf8_and_escapes_are_harmless() -> None:
    raw = b'{"metadata":{"name":"a\xff"},"status":{"message":"\\u001b[31mred\\u202e\\u0007\\tx"}}'
    record, _ = RecordDecoder(Pod).decode(raw)
    assert record.metadata.name == "a\ufffd"
    assert record.status.message == "red    x"


@pytest.mark.parametrize("field", ["compressedJson", "jsonText"])
@pytest.mark.parametrize("value", ["eA==", 7, None])
def test_the_json_that_is_kept_is_what_the_server_sent(field: str, value: object) -> None:
    """Also where an object has a field of the name, and where it is decoded field by field."""
    sent = json.dumps({"metadata": {"name": "a\x1bb", "uid": 7}, field: value}).encode()
    record = RecordDecoder(Deployment).decode(sent).record
    assert zlib.decompress(record.compressed_json) == sent
    assert RecordDecoder(WholeObject).decode(sent).record.json_text == sent.decode()


def test_a_very_long_deployment_is_not_kept() -> None:
    sent = json.dumps({"metadata": {"name": "a"}, "spec": {"x": "y" * MAX_COMPRESSED_BYTES}})
    record = RecordDecoder(Deployment).decode(sent.encode()).record
    assert record.metadata.name == "a"
    assert record.compressed_json == b""


def test_labels_are_sanitized_keys_too() -> None:
    raw = b'{"metadata":{"labels":{"a\\u001b[1mb":"c\\u009b31md","e":"f"}}}'
    record, _ = RecordDecoder(Deployment).decode(raw)
    assert record.metadata.labels == {"ab": "cd", "e": "f"}


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"3", b'{"a"', b'"x"', b"\xff\xfe"])
def test_what_is_no_object_is_rejected(raw: bytes) -> None:
    with pytest.raises(InvalidResponseError):
        RecordDecoder(Pod).decode(raw)


def test_excessive_depth_is_rejected() -> None:
    with pytest.raises(InvalidResponseError):
        RecordDecoder(Pod).decode(b'{"metadata":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001)


@given(st.dictionaries(st.sampled_from(["metadata", "spec", "status"]), JSON_VALUES))
def test_any_object_is_read_and_every_text_is_harmless(value: dict[str, object]) -> None:
    raw = json.dumps(value).encode()
    for kind in ALL_KINDS:
        record, _ = RecordDecoder(kind.record_type).decode(raw)
        assert isinstance(record, kind.record_type)
        assert is_sanitized(record)


def is_sanitized(value: object) -> bool:
    if isinstance(value, str):
        return all(char.isprintable() or char == "\n" for char in value)
    if isinstance(value, tuple):
        return all(map(is_sanitized, value))
    if isinstance(value, dict):
        return all(map(is_sanitized, value)) and all(map(is_sanitized, value.values()))
    if isinstance(value, records.Record):
        return all(is_sanitized(getattr(value, name)) for name in value.__struct_fields__)
    return not isinstance(value, datetime) or value.tzinfo is not None
