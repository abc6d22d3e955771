"""Rules about the model cache and /dev/shm hold where servedeck mounts them, not in servings of
others."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.changes.edit_draft import EditDraft
from servedeck.changes.plan import new_issues
from servedeck.serving.objects import manifests
from servedeck.serving.objects.import_objects import ImportedServing, import_objects
from servedeck.serving.spec.spec import ServingSpec
from tests.serving.spec.test_validation import vllm_spec
from tests.serving.unmanaged_cases import CASES, UnmanagedCase, make_deployment

SHM = "/dev/shm"
CACHE = "/root/.cache/huggingface"
HF_HOME = [{"name": "HF_HOME", "value": "/models"}]


def foreign(case: UnmanagedCase) -> ImportedServing:
    deployment = make_deployment(case)
    deployment["metadata"]["namespace"] = "team-a"
    return import_objects([deployment])


def ours(spec: ServingSpec | None = None) -> ImportedServing:
    return import_objects(manifests.build_manifests(spec or vllm_spec()))


def messages(current: ImportedServing, **changes: Any) -> list[str]:
    """Those of an edit, in the order of the fields, errors marked."""
    wanted = current.spec.replace(**changes)
    found = new_issues(current.spec, wanted, current.mounts)
    return [f"{one.severity}: {one.message}" for one in found]


@pytest.mark.parametrize("case", [UnmanagedCase(), CASES["emptyDir"], CASES["hostPath"]])
def test_the_memory_of_a_serving_of_others_is_not_compared_with_a_volume_of_ours(
    case: UnmanagedCase,
) -> None:
    resources = {"limits": {"nvidia.com/gpu": "1"}}
    current = foreign(case._replace(container={**case.container, "resources": resources}))
    [found] = messages(current, memory="96Mi")
    assert found.startswith("warning: 96Mi is low for an inference server")


def test_the_memory_of_our_serving_is_more_than_its_shared_memory() -> None:
    [found] = messages(ours(), memory="96Mi")
    assert found.startswith("error: Memory 96Mi is not more than the 512Mi of /dev/shm (dshm)")


def test_a_shared_memory_that_somebody_resized_is_not_compared() -> None:
    objects = manifests.build_manifests(vllm_spec())
    volumes = objects[0]["spec"]["template"]["spec"]["volumes"]
    next(one for one in volumes if one["name"] == "dshm")["emptyDir"]["sizeLimit"] = "64Mi"
    assert not any("/dev/shm" in one for one in messages(import_objects(objects), memory="96Mi"))


def test_a_variable_overrides_the_cache_only_where_servedeck_mounts_it() -> None:
    [found] = messages(ours(), env=HF_HOME)
    assert "HF_HOME overrides servedeck's" in found
    for case in (UnmanagedCase(), CASES["hostPath"], CASES["PVC at the path of the cache"]):
        assert messages(foreign(case), env=HF_HOME) == []


@pytest.mark.parametrize(
    ("case", "path", "words"),
    [
        (CASES["ConfigMap"], "/templates/", "/templates is already used by templates;"),
        (CASES["emptyDir"], SHM, f"{SHM} is already used by shm;"),
        (CASES["hostPath"], CACHE, f"{CACHE} is already used by cache;"),
        (CASES["subPath"], "/models", "/models is already used by models;"),
        (UnmanagedCase(), SHM, f"{SHM} is the path of the shared memory, whose volume is no field"),
        (UnmanagedCase(), CACHE, f"{CACHE} is the path of the model cache, whose volume is no"),
    ],
)
def test_a_path_that_is_in_use_is_refused_with_the_volume_that_is_there(
    case: UnmanagedCase, path: str, words: str
) -> None:
    [found] = messages(foreign(case), volumes=[{"pvc": "a", "mountPath": path}])
    assert found.startswith(f"error: {words}")


def test_a_free_path_of_a_serving_of_others_is_accepted() -> None:
    volumes = [{"pvc": "a", "mountPath": "/data"}]
    assert messages(foreign(CASES["ConfigMap"]), volumes=volumes) == []


def test_the_form_knows_what_is_mounted() -> None:
    for current, is_wrong in ((foreign(UnmanagedCase()), False), (ours(), True)):
        edit = EditDraft(current.spec, current.mounts)
        edit.draft.texts["memory"] = "96Mi"
        assert any(one.is_error for one in edit.validate()[1]) == is_wrong
        resumed, _ = EditDraft.resume(current.spec, edit.draft, current.mounts)
        assert any(one.is_error for one in resumed.validate()[1]) == is_wrong
        edit.draft.base = None  # a damaged file: the form begins with the serving as it is
        resumed, _ = EditDraft.resume(current.spec, edit.draft, current.mounts)
        assert resumed.mounts == current.mounts
