"""Watches: which events are sent, from which version, and how a watch ends."""

from __future__ import annotations

from tests.contract.target import TABLE, Target, configmap

WATCHLIST = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"


def version(target: Target, path: str) -> str:
    found: str = target.ok("GET", path)["metadata"]["resourceVersion"]
    return found


def test_changes_after_a_version(target: Target, configmaps: str) -> None:
    since = version(target, configmaps)
    target.ok("POST", configmaps, configmap("a", {"w": "1"}))
    with target.watch(f"{configmaps}?watch=1&resourceVersion={since}&labelSelector=w") as watch:
        assert watch.take(1) == [("ADDED", "a")]
        target.patch(f"{configmaps}/a", {"data": {"k": "v"}})
        kind, changed = watch.next()
        assert (kind, changed["data"]) == ("MODIFIED", {"k": "v"})
        assert (changed["kind"], changed["apiVersion"]) == ("ConfigMap", "v1")
        target.ok("DELETE", f"{configmaps}/a")
        kind, gone = watch.next()
        assert kind == "DELETED"
        # the deletion has its own resource version, to resume from
        assert int(gone["metadata"]["resourceVersion"]) > int(
            changed["metadata"]["resourceVersion"]
        )


def test_a_change_of_labels_adds_and_deletes(target: Target, configmaps: str) -> None:
    target.ok("POST", configmaps, configmap("a"))
    since = version(target, configmaps)
    path = f"{configmaps}?watch=1&resourceVersion={since}&labelSelector=w%3D1"
    with target.watch(path) as watch:
        target.patch(f"{configmaps}/a", {"metadata": {"labels": {"w": "1"}}})
        assert watch.take(1) == [("ADDED", "a")]
        out = target.patch(f"{configmaps}/a", {"metadata": {"labels": {"w": "2"}}})
        kind, gone = watch.next()
        assert kind == "DELETED"
        # as it was while selected, with the resource version of the change
        assert gone["metadata"]["labels"] == {"w": "1"}
        assert gone["metadata"]["resourceVersion"] == out["metadata"]["resourceVersion"]


def test_no_version_begins_with_what_is_there(target: Target, configmaps: str) -> None:
    target.ok("POST", configmaps, configmap("a", {"w": "1"}))
    for query in ("", "&resourceVersion=0"):
        with target.watch(f"{configmaps}?watch=1&labelSelector=w{query}") as watch:
            assert watch.take(1) == [("ADDED", "a")]


def test_a_watch_list_says_where_the_initial_state_ends(target: Target, configmaps: str) -> None:
    for name in ("a", "b"):
        target.ok("POST", configmaps, configmap(name, {"w": "1"}))
    with target.watch(f"{configmaps}?watch=1&{WATCHLIST}&labelSelector=w") as watch:
        assert watch.take(2) == [("ADDED", "a"), ("ADDED", "b")]
        kind, mark = watch.next()
        assert (kind, mark["kind"]) == ("BOOKMARK", "ConfigMap")
        assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert int(mark["metadata"]["resourceVersion"]) > 0
        target.ok("DELETE", f"{configmaps}/a")
        assert watch.take(1) == [("DELETED", "a")]


def test_a_watch_list_needs_its_match(target: Target, configmaps: str) -> None:
    status = target.rejected(422, "GET", f"{configmaps}?watch=1&sendInitialEvents=true")
    assert status["message"] == (
        'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: '
        "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
    )


def test_the_timeout_ends_a_watch_after_a_bookmark(target: Target, configmaps: str) -> None:
    # the real server does not guarantee one: it sends a bookmark if it has a newer version and
    # enough time
    for number in range(20):
        since = version(target, configmaps)
        target.ok("POST", configmaps, configmap(f"not-selected-{number}"))
        query = f"watch=1&resourceVersion={since}&allowWatchBookmarks=true&timeoutSeconds=4"
        with target.watch(f"{configmaps}?{query}&labelSelector=w") as watch:
            if events := watch.rest():
                break
    assert {kind for kind, _ in events} == {"BOOKMARK"}
    assert int(events[-1][1]["metadata"]["resourceVersion"]) > int(since)


def test_an_expired_version_is_gone(target: Target, configmaps: str) -> None:
    # the oldest possible version; the real server may still have it in its cache
    target.ok("POST", configmaps, configmap("a"))
    target.backend.compact()
    with target.watch(f"{configmaps}?watch=1&resourceVersion=1&timeoutSeconds=3") as watch:
        kind, status = watch.next()
    if target.name == "real" and kind == "ADDED":
        return
    assert kind == "ERROR"
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
    assert status["message"].startswith("too old resource version: 1 (")


def test_a_bad_version_of_a_watch(target: Target, configmaps: str) -> None:
    status = target.rejected(500, "GET", f"{configmaps}?watch=1&resourceVersion=abc")
    assert status["message"] == (
        'resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax'
    )


def test_a_watch_from_a_too_large_resource_version_sends_nothing(
    target: Target, configmaps: str
) -> None:
    query = "watch=1&resourceVersion=99999999&timeoutSeconds=1"
    with target.watch(f"{configmaps}?{query}") as watch:
        assert watch.rest() == []


def test_one_object_by_its_name(target: Target, configmaps: str) -> None:
    since = version(target, configmaps)
    for name in ("a", "b"):
        target.ok("POST", configmaps, configmap(name))
    query = f"watch=1&resourceVersion={since}&fieldSelector=metadata.name%3Db"
    with target.watch(f"{configmaps}?{query}") as watch:
        assert watch.take(1) == [("ADDED", "b")]


def test_rows_of_a_table(target: Target, configmaps: str) -> None:
    for name in ("a", "b"):
        target.ok("POST", configmaps, configmap(name, {"w": "1"}))
    with target.watch(f"{configmaps}?watch=1&labelSelector=w", TABLE) as watch:
        _, first = watch.next()
        _, second = watch.next()
    assert [c["name"] for c in first["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert second["columnDefinitions"] is None
    assert second["rows"][0]["cells"][:2] == ["b", 0]


def test_what_changes_nothing_is_no_event(target: Target, configmaps: str) -> None:
    target.ok("POST", configmaps, configmap("a", {"w": "1"}, k="v"))
    since = version(target, configmaps)
    path = f"{configmaps}?watch=1&resourceVersion={since}&labelSelector=w"
    with target.watch(path) as watch:
        target.patch(f"{configmaps}/a", {"data": {"k": "v"}})
        target.ok("PUT", f"{configmaps}/a?dryRun=All", configmap("a", {"w": "1"}, k="other"))
        target.ok("DELETE", f"{configmaps}/a")
        assert watch.take(1) == [("DELETED", "a")]
