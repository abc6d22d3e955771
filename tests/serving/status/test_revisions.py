"""The revisions of a Deployment and who changed them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from servedeck.serving.spec.mapping.json_values import as_time
from servedeck.serving.status.revisions import (
    RevisionReader,
    find_template_manager,
    history_limit,
    read_revisions,
)
from tests.serving.factories import NOW, ago
from tests.serving.revision_factory import (
    SERVER,
    deployment,
    manager,
    replicaset,
    template,
)

FIRST, SECOND = template("vllm/vllm-openai:v1"), template("vllm/vllm-openai:v2")


def test_the_newest_is_first_and_each_has_its_pods_and_its_change():
    third = template("vllm/vllm-openai:v2", args=["--model", "other"], command=["vllm", "serve"])
    found = read_revisions(
        deployment(10, third),
        [replicaset(9, SECOND), replicaset(10, third, pods=2, ready=1), replicaset(2, FIRST)],
    )
    assert [(one.number, one.is_current, one.change) for one in found] == [
        (10, True, "command, args"),
        (9, False, "image"),
        (2, False, ""),
    ]
    newest = found[0]
    assert (newest.desired, newest.current, newest.ready) == (2, 2, 1)
    assert (newest.image, newest.replicaset) == ("vllm/vllm-openai:v2", "llama-hash10")
    assert newest.command == ("vllm", "serve")
    assert newest.arguments == ("--model", "other")
    assert newest.previous_number == 9
    assert newest.created == as_time(ago(days=90))


def test_the_template_decides_which_is_current_not_the_number():
    paused = deployment(2, FIRST, paused=True)
    found = read_revisions(paused, [replicaset(2, SECOND, pods=2), replicaset(1, FIRST)])
    assert [(one.number, one.is_current) for one in found] == [(1, True), (2, False)]


def test_of_equal_templates_the_oldest_replicaset_is_current():
    older = replicaset(3, SECOND, created=ago(days=9))
    newer = replicaset(4, SECOND, created=ago(days=8))
    found = read_revisions(deployment(3, SECOND), [newer, older])
    assert [(one.number, one.is_current) for one in found] == [(3, True), (4, False)]


def test_what_kubernetes_writes_into_a_template_is_no_difference():
    ours = copy.deepcopy(SECOND)
    ours["metadata"]["creationTimestamp"] = None
    ours["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "7"}
    (only,) = read_revisions(deployment(1, ours), [replicaset(1, SECOND)])
    assert (only.number, only.is_current) == (1, True)


@pytest.mark.parametrize(
    ("changes", "number"), [({}, 2), ({"generation": 6}, 0), ({"paused": True}, 0)]
)
def test_a_template_without_a_replicaset_is_a_revision(changes: dict[str, Any], number: int):
    """Its number is known once the controller has observed it, unless it is paused."""
    found = read_revisions(deployment(2, SECOND, **changes), [replicaset(1, FIRST, pods=2)])
    assert [(one.number, one.uid != "", one.is_current) for one in found] == [
        (number, False, True),
        (1, True, False),
    ]
    assert found[0].change == "image"


def test_without_replicasets_the_facts_of_the_deployment_stay():
    (only,) = read_revisions(
        deployment(7, SECOND, cause="faster", managed_fields=[manager("helm")]), []
    )
    assert (only.number, only.image, only.change_cause) == (7, "vllm/vllm-openai:v2", "faster")
    assert (only.desired, only.current, only.ready) == (2, 2, 2)
    assert only.changed_by is not None


RECREATE = {"strategy": {"type": "Recreate"}}


def test_before_the_old_pods_of_a_recreate_have_terminated_there_is_no_replicaset():
    """The Deployment still has the number of the old one."""
    waiting = deployment(1, SECOND, status={"updatedReplicas": 0}, **RECREATE)
    found = read_revisions(waiting, [replicaset(1, FIRST, pods=2)])
    assert [(one.number, one.is_current) for one in found] == [(0, True), (1, False)]
    (alone,) = read_revisions(waiting, [])
    assert alone.number == 0
    (alone,) = read_revisions(deployment(1, SECOND, **RECREATE), [])
    assert alone.number == 1


def test_the_number_of_another_replicaset_is_not_that_of_the_template():
    found = read_revisions(deployment(1, SECOND), [replicaset(1, FIRST, pods=2)])
    assert [(one.number, one.is_current) for one in found] == [(0, True), (1, False)]


def test_replicasets_of_others_are_ignored():
    orphan = replicaset(3, SECOND)
    del orphan["metadata"]["ownerReferences"]
    owned = replicaset(4, SECOND)
    owned["metadata"]["ownerReferences"][0]["controller"] = False
    found = read_revisions(
        deployment(1, FIRST),
        [replicaset(1, FIRST), replicaset(2, SECOND, owner="o"), orphan, owned],
    )
    assert [one.number for one in found] == [1]


def test_a_rollback_has_a_new_number_and_says_which_it_was():
    found = read_revisions(
        deployment(4, FIRST),
        [replicaset(4, FIRST, history="1,3"), replicaset(2, SECOND)],
    )
    assert found[0].previous_numbers == (1, 3)
    assert found[0].change == "rollback to 3: image"


def test_a_restart_differs_by_its_annotation_alone():
    restarted = template(annotations={"kubectl.kubernetes.io/restartedAt": "2026-03-01T11:00:00Z"})
    found = read_revisions(
        deployment(2, restarted), [replicaset(2, restarted), replicaset(1, template())]
    )
    assert found[0].is_restart
    assert found[0].change == "restart"
    undone = read_revisions(
        deployment(3, template()),
        [replicaset(3, template(), history="1"), replicaset(2, restarted)],
    )
    assert undone[0].change == "rollback to 1"


def test_a_change_cause_that_was_not_updated_is_told():
    found = read_revisions(
        deployment(3, template("i:3"), cause="new model"),
        [
            replicaset(3, template("i:3"), cause="new model"),
            replicaset(2, SECOND, cause="new model"),
            replicaset(1, FIRST, cause=""),
        ],
    )
    assert [one.change_cause for one in found] == ["new model", "new model", ""]
    assert [one.repeats_change_cause for one in found] == [True, False, False]


def test_the_deployments_change_cause_is_that_of_the_current_revision():
    """The controller copies it to the ReplicaSet a moment later."""
    found = read_revisions(deployment(1, FIRST, cause="new"), [replicaset(1, FIRST, cause="old")])
    assert found[0].change_cause == "new"


def test_the_server_is_found_beside_other_containers_and_arguments_are_masked():
    both = template(
        args=["--api-key", "hunter2", "-c", "vllm serve m\n --api-key=hunter2"],
        pod_spec={
            "containers": [
                {"name": "proxy", "image": "envoy:1"},
                {"name": "main", "image": "vllm/vllm-openai:v1", "args": ["--api-key=hunter2"]},
            ]
        },
    )
    (found,) = read_revisions(deployment(1, both), [])
    assert (found.server_container, found.image) == ("main", "vllm/vllm-openai:v1")
    (found,) = read_revisions(
        deployment(1, template(args=["--api-key", "hunter2", "-c", "a\n --api-key=hunter2"])), []
    )
    assert found.server_container == SERVER
    assert "hunter2" not in repr(found)
    assert found.arguments[3] == "a --api-key=••••••••"


# -- who changed it -----------------------------------------------------------------------------


def test_the_manager_that_wrote_the_template_last_changed_it():
    found = read_revisions(
        deployment(
            2,
            SECOND,
            managed_fields=[
                manager("kubectl-create", time=ago(days=3)),
                manager("helm", "Apply", ago(minutes=1)),
                manager("kube-controller-manager", time=ago(), subresource="status"),
                manager("kubectl", time=ago(), fieldsV1={"f:spec": {"f:replicas": {}}}),
            ],
        ),
        [replicaset(2, SECOND), replicaset(1, FIRST)],
    )
    changed_by = found[0].changed_by
    assert changed_by == ("helm", "Apply", as_time(ago(minutes=1)))
    assert str(changed_by) == "helm (Apply)"
    assert found[1].changed_by is None, "Kubernetes does not keep it"


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"manager": 5, "fieldsV1": []},
        {"manager": "a", "fieldsV1": {"f:spec": {"f:template": None}}},
    ],
)
def test_malformed_managers_are_ignored(entry: dict[str, Any]):
    live = deployment(1, FIRST, managed_fields=[entry])
    assert find_template_manager(live, None, FIRST) is None


def test_a_manager_without_a_name_or_a_time():
    live = deployment(1, FIRST, managed_fields=[manager("", time="yesterday")])
    found = find_template_manager(live, None, FIRST)
    assert found is not None
    assert (found.name, found.time) == ("unknown", None)


def owner_of(*fields: str) -> dict[str, Any]:
    """The fields of the server's container that an entry owns."""
    container = {f'k:{{"name":"{SERVER}"}}': {f"f:{name}": {} for name in fields}}
    return {"f:spec": {"f:template": {"f:spec": {"f:containers": container}}}}


def test_who_owns_the_changed_field_changed_it_even_if_another_wrote_later():
    """A manager's time is also that of its other changes, such as that of the replicas."""
    live = deployment(
        2,
        SECOND,
        managed_fields=[
            manager("helm", "Apply", ago(minutes=1), fieldsV1=owner_of("args", "name")),
            manager("kubectl-set", time=ago(minutes=9), fieldsV1=owner_of("image")),
            manager("a-tool", time=ago(minutes=9), fieldsV1=owner_of("env")),
        ],
    )
    found = read_revisions(live, [replicaset(2, SECOND), replicaset(1, FIRST)])
    assert found[0].changed_by == ("kubectl-set", "Update", as_time(ago(minutes=9)))
    (alone,) = read_revisions(live, [replicaset(2, SECOND)])
    assert alone.changed_by is not None
    assert alone.changed_by.name == "helm", "what was changed is unknown: who wrote last"


def test_a_removed_field_has_no_owner():
    with_env = template("vllm/vllm-openai:v2", env=[{"name": "A", "value": "1"}])
    managed = [
        manager("helm", time=ago(minutes=9), fieldsV1=owner_of("image")),
        manager("kubectl-edit", time=ago(minutes=1), fieldsV1=owner_of("args")),
    ]
    found = read_revisions(
        deployment(2, SECOND, managed_fields=managed),
        [replicaset(2, SECOND), replicaset(1, with_env)],
    )
    assert found[0].changed_by is not None
    assert found[0].changed_by.name == "kubectl-edit"


# -- robustness and cost ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"metadata": None, "spec": None, "status": None},
        {"metadata": {"annotations": {"deployment.kubernetes.io/revision": "x"}}},
        {"spec": {"template": {"spec": {"containers": [{"name": 3, "image": {}, "args": "x"}]}}}},
    ],
)
def test_malformed_objects_are_no_reason_to_fail(value: dict[str, Any]):
    (found,) = read_revisions(value, [value, {}])
    assert found.is_current
    assert found.number == 0


def test_a_numberless_replicaset_is_the_last():
    found = read_revisions(deployment(1, FIRST), [replicaset(0, SECOND), replicaset(1, FIRST)])
    assert [one.number for one in found] == [1, 0]


def test_the_history_limit():
    assert history_limit(deployment(1, FIRST, revisionHistoryLimit=0)) == 0
    assert history_limit({}) == 10


def test_a_reader_reads_only_what_has_changed(monkeypatch):
    from servedeck.serving.status import revisions

    calls: list[str] = []
    compare = revisions.changed_field_names
    monkeypatch.setattr(
        revisions,
        "changed_field_names",
        lambda old, new, server: calls.append(server) or compare(old, new, server),
    )
    templates = [template(f"i:{number}") for number in range(1, 101)]
    sets = [replicaset(number, one) for number, one in enumerate(templates, 1)]
    live = deployment(100, templates[-1])
    reader = RevisionReader()
    before = reader.read(live, sets)
    assert [one.number for one in before] == list(range(100, 0, -1))
    assert len(calls) == 99
    sets[49] = replicaset(50, templates[49], pods=1)
    after = reader.read(live, sets)
    assert len(calls) == 101, "the one that changed, with both of its neighbors"
    assert [one for one, other in zip(after, before, strict=True) if one != other] == [after[50]]
    assert after == read_revisions(live, sets)
    assert reader.read(live, sets[:1]) == read_revisions(live, sets[:1])


def test_times():
    assert as_time("2026-03-01T12:00:00Z") == NOW
    assert as_time("2026-03-01T12:00:00") is None
    assert as_time("soon") is None
    assert as_time(None) is None
