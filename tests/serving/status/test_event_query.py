from __future__ import annotations

import pytest

from servedeck.serving.query_terms import QueryError
from servedeck.serving.status.event_history import join_events
from servedeck.serving.status.event_query import parse_event_query
from tests.serving.factories import event

ENTRIES = join_events(
    [
        event(
            "BackOff",
            "Back-off restarting failed container",
            involvedObject={"kind": "Pod", "name": "chat-1", "uid": "p"},
            source={"component": "kubelet"},
        ),
        event(
            "ScalingReplicaSet",
            "Scaled up replica set chat to 2",
            type="Normal",
            involvedObject={"kind": "Deployment", "name": "chat", "uid": "d"},
            reportingComponent="deployment-controller",
        ),
        event("FailedBinding", involvedObject={"kind": "PersistentVolumeClaim", "name": "models"}),
    ]
)
POD, DEPLOYMENT, PVC = ("BackOff", "ScalingReplicaSet", "FailedBinding")


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("", [POD, PVC, DEPLOYMENT]),
        ("RESTARTING", [POD]),
        ("!restarting", [PVC, DEPLOYMENT]),
        ('"replica set chat"', [DEPLOYMENT]),
        ("type:warn", [POD, PVC]),
        ("type:normal", [DEPLOYMENT]),
        ("kind:pod", [POD]),
        ("!kind:pod", [PVC, DEPLOYMENT]),
        ("reason:back,scaling", [POD, DEPLOYMENT]),
        ("object:=chat", [DEPLOYMENT]),
        ("name:chat-", [POD]),
        ("message:failed", [POD]),
        ("kind:pvc", [PVC]),
        ("pvc/models", [PVC]),
        ("kind:=persistentvolumeclaim", [PVC]),
        ("source:deployment-controller", [DEPLOYMENT]),
        ("kind:", [POD, PVC, DEPLOYMENT]),
        ("chat kind:pod reason:scal", []),
    ],
)
def test_terms(text: str, reasons: list[str]) -> None:
    query = parse_event_query(text)
    assert sorted(entry.reason for entry in ENTRIES if query.matches(entry)) == reasons


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("status:error", "There is no field status; the fields are type, kind, object"),
        ('"open', "A quotation mark is not closed"),
    ],
)
def test_what_is_no_filter(text: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        parse_event_query(text)
