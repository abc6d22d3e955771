"""The settings of a serving's Pods in its objects: what is read, and that an edit is that edit and
nothing else."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from servedeck.serving.edit.assignments import assign, parse_assignment
from servedeck.serving.edit.differences import find_field_differences
from servedeck.serving.edit.edited_fields import find_edited_fields
from servedeck.serving.edit.merge import merge_fields
from servedeck.serving.objects import manifests
from servedeck.serving.objects.change import ObjectChange, change_objects
from servedeck.serving.objects.import_objects import ImportedServing, import_objects
from servedeck.serving.spec import validation
from servedeck.serving.spec.document import from_yaml, to_yaml
from servedeck.serving.spec.mapping.volumes import OtherMounts
from servedeck.serving.spec.spec import ServingSpec, parse_spec
from servedeck.serving.spec.types import Quantity
from tests.serving.objects.edits import deployment
from tests.serving.spec.test_validation import vllm_spec

Json = dict[str, Any]
OWN_TAINT = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}


def spec_with(**fields: Any) -> ServingSpec:
    return vllm_spec(**fields)


def pod_of(objects: list[Json] | tuple[Json, ...]) -> Json:
    pod: Json = objects[0]["spec"]["template"]["spec"]
    return pod


def imported(*, container: Json | None = None, **pod: Any) -> ImportedServing:
    """A Deployment that servedeck did not create."""
    return import_objects([deployment({"image": "vllm/vllm-openai", **(container or {})}, **pod)])


def edited(current: ImportedServing, *texts: str) -> ObjectChange:
    wanted, issues = assign(current.spec, [parse_assignment(one) for one in texts])
    assert wanted is not None, issues
    change = change_objects(current, wanted)
    assert [one for one in change.issues if one.is_error] == []
    return change


def messages(spec: ServingSpec) -> dict[str, str]:
    return {one.field: one.message for one in validation.validate(spec)}


# -- tolerations --------------------------------------------------------------------------------

TOLERATIONS: list[tuple[str, Json]] = [
    ("team=ml:NoSchedule", {"key": "team", "value": "ml", "effect": "NoSchedule"}),
    ("team:NoExecute", {"key": "team", "operator": "Exists", "effect": "NoExecute"}),
    ("team=ml", {"key": "team", "operator": "Equal", "value": "ml"}),
    ("team=", {"key": "team"}),
    ("a.io/b", {"key": "a.io/b", "operator": "Exists"}),
    (":NoSchedule", {"operator": "Exists", "effect": "NoSchedule"}),
    (":", {"operator": "Exists"}),
    (
        "spot:NoExecute:300s",
        {"key": "spot", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
    ),
    (
        "spot:NoExecute:0s",
        {"key": "spot", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0},
    ),
]
INEXPRESSIBLE: list[Json] = [
    {"key": "sla", "operator": "Gt", "value": "95", "effect": "NoSchedule"},
    {"key": "a", "operator": "Exists", "value": "b"},
    {"operator": "Equal", "value": "b"},
    {"key": "a", "effect": "Sometimes"},
    {"key": "a", "effect": "NoExecute", "tolerationSeconds": -1},
    {"key": "a b", "operator": "Exists"},
    {"key": "a", "operator": "Exists", "unknown": 1},
]


@pytest.mark.parametrize(("text", "entry"), TOLERATIONS)
def test_a_toleration_is_read_and_keeps_its_shape(text: str, entry: Json) -> None:
    current = imported(tolerations=[entry])
    assert current.spec.tolerations == (text,)
    assert not any("tolerations" in one.path for one in current.unmanaged_fields)
    change = edited(current, f"tolerations={text} other:NoSchedule")
    [kept, added] = pod_of(change.changed)["tolerations"]
    assert kept == entry
    assert added == {"key": "other", "operator": "Exists", "effect": "NoSchedule"}
    again = import_objects(change.changed).spec.tolerations
    assert again == (text, "other:NoSchedule")


@pytest.mark.parametrize("entry", INEXPRESSIBLE, ids=str)
def test_a_toleration_that_no_word_says_stays_and_is_listed(entry: Json) -> None:
    current = imported(tolerations=[entry, {"key": "x", "operator": "Exists"}])
    assert current.spec.tolerations == ("x",)
    assert any("tolerations" in one.path for one in current.unmanaged_fields)
    assert pod_of(edited(current, "tolerations=").changed)["tolerations"] == [entry]


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("*:noschedule", ":NoSchedule"),
        ("*", ":"),
        ("spot:NOEXECUTE:300", "spot:NoExecute:300s"),
        ("team=ml:", "team=ml"),
    ],
)
def test_other_spellings_of_a_toleration(typed: str, text: str) -> None:
    assert spec_with(tolerations=typed).tolerations == (text,)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("a:b:c:d", "is no toleration"),
        ("a:NoExecute:soon", "is no toleration"),
        ("a:Sometimes", "is no effect"),
        ("a:NoSchedule:30s", "Seconds belong"),
        ("=b:NoSchedule", "without a key"),
        ("-a:NoSchedule", "must start and end"),
        ("a=b/c", "The value 'b/c'"),
        ("A_B.io/x", "prefix"),
        ("a:NoSchedule a:NoSchedule", "is there twice"),
    ],
)
def test_what_is_no_toleration_is_said(typed: str, words: str) -> None:
    assert words in messages(spec_with(tolerations=typed))["tolerations"]


def test_the_toleration_of_the_accelerator_is_servedecks_own_in_its_servings() -> None:
    objects = manifests.build_manifests(spec_with(tolerations="team=ml:NoSchedule"))
    assert pod_of(objects)["tolerations"][0] == OWN_TAINT
    current = import_objects(objects)
    assert current.spec.tolerations == ("team=ml:NoSchedule",)
    change = edited(current, "tolerations=", "accelerator=amd.com/gpu")
    assert [one["key"] for one in pod_of(change.changed)["tolerations"]] == ["amd.com/gpu"]
    typed = edited(current, "tolerations=nvidia.com/gpu:NoSchedule team=ml:NoSchedule")
    assert typed.changed == typed.live


def test_a_listed_toleration_of_others_follows_the_accelerator() -> None:
    limits = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
    current = imported(container=limits, tolerations=[OWN_TAINT])
    assert current.spec.tolerations == ("nvidia.com/gpu:NoSchedule",)
    change = edited(current, "accelerator=amd.com/gpu")
    assert change.issues == () or all(not one.is_error for one in change.issues)
    assert [one["key"] for one in pod_of(change.changed)["tolerations"]] == ["amd.com/gpu"]
    bare = imported(container=limits)
    added = pod_of(edited(bare, "tolerations=nvidia.com/gpu:NoSchedule").changed)["tolerations"]
    assert added == [OWN_TAINT]


# -- node selector, names -----------------------------------------------------------------------


def test_a_node_selector_is_a_mapping_or_words() -> None:
    words = spec_with(node_selector="zone=eu,  a.io/b=")
    assert words.node_selector == ("a.io/b=", "zone=eu")
    assert spec_with(node_selector={"zone": "eu", "a.io/b": ""}) == words
    assert from_yaml(to_yaml(words)) == words
    document = to_yaml(spec_with()) + "  nodeSelector:\n    zone: eu\n    a.io/b: ''\n"
    assert from_yaml(document).node_selector == words.node_selector


@pytest.mark.parametrize(
    ("value", "shown"), [(True, "true"), (False, "false"), (1.10, "1.1"), (8, "8")]
)
def test_a_value_of_a_node_selector_that_is_no_text_is_an_error(value: Any, shown: str) -> None:
    raw = {"name": "a", "template": "custom"}
    for selector in ({"gpu": value}, {value: "x"}):
        spec, [issue] = parse_spec({**raw, "nodeSelector": selector})
        assert spec is None
        assert issue.field == "node_selector"
        assert issue.message.startswith(f"{shown} is no text") and f"'{shown}'" in issue.message
    document = to_yaml(spec_with()) + "  nodeSelector: {gpu: true, v: 1.10}\n"
    assert from_yaml(document).node_selector == ("gpu=true", "v=1.10")


def test_a_label_that_is_no_text_stays() -> None:
    current = imported(nodeSelector={"zone": "eu", "n": 3})
    assert current.spec.node_selector == ("zone=eu",)
    change = edited(current, "nodeSelector=zone=us disk=ssd")
    assert pod_of(change.changed)["nodeSelector"] == {"zone": "us", "n": 3, "disk": "ssd"}
    assert "nodeSelector" not in pod_of(
        edited(imported(nodeSelector={"a": "b"}), "nodeSelector=").changed
    )


@pytest.mark.parametrize(
    ("field", "typed", "words"),
    [
        ("node_selector", "zone", "has no value"),
        ("node_selector", "zone=eu zone=us", "is there twice"),
        ("node_selector", "=eu", "The key is missing"),
        ("node_selector", "zone=" + "x" * 64, "shorten it to 63"),
        ("runtime_class", "NVIDIA", "lowercase"),
        ("service_account", "a_b", "lowercase"),
        ("image_pull_secrets", "a B", "lowercase"),
        ("image_pull_secrets", "a a", "is there twice"),
        ("resource_claims", "gpu", "is no resource claim"),
        ("resource_claims", "gpu=pool/x", "is no resource claim"),
        ("resource_claims", "g.u=template/x", "The claim's name"),
        ("resource_claims", "gpu=template/X", "The ResourceClaimTemplate"),
        ("resource_claims", "gpu=template/a gpu=claim/b", "is there twice"),
        ("fs_group", -1, "from 0 to"),
        ("fs_group", 2**31, "from 0 to"),
        ("shared_memory", "1k", "less than a server can use"),
        ("shared_memory", "0.5", "not a whole number"),
        ("shared_memory", "2Ei", "more memory than any node has"),
        ("model_cache_path", "cache", "not absolute"),
        ("model_cache_path", "/a/../b", "'..'"),
        ("model_cache_path", "/proc", "system directory"),
        ("model_cache_path", "/dev/shm/", "shared memory"),
        ("readiness_times", "interval=3", "is no time of a probe"),
        ("readiness_times", "period=soon", "is no time of a probe"),
        ("readiness_times", "period=0", "at least 1"),
        ("readiness_times", "period=2147483648", "at most 2147483647 for period"),
        ("liveness_times", "delay=9999999999", "at most 2147483647 for delay"),
        ("liveness_times", "period=3 period=4", "is there twice"),
        ("readiness_times", "period=5 period=6", "is there twice"),
        ("readiness_times", "period=6 period=5", "is there twice"),
        ("readiness_times", "period=5 period=5", "is there twice"),
        ("accelerator", "nvidia.com/mig-1g", "is no MIG profile"),
    ],
)
def test_a_wrong_value_has_a_sentence_at_its_field(field: str, typed: Any, words: str) -> None:
    assert words in messages(spec_with(**{field: typed}))[field]


@pytest.mark.parametrize(
    "profile", ["1g.10gb", "7g.80gb", "1c.3g.40gb", "1g.10gb.me", "1g.24gb-me"]
)
def test_every_mig_profile_is_an_accelerator(profile: str) -> None:
    assert "accelerator" not in messages(spec_with(accelerator=f"nvidia.com/mig-{profile}"))


def test_a_mapping_where_words_are_wanted_is_an_error() -> None:
    spec, issues = parse_spec({"name": "a", "template": "custom", "tolerations": {"a": "b"}})
    assert spec is None
    assert [one.field for one in issues] == ["tolerations"]


def test_the_deprecated_alias_of_the_service_account_follows() -> None:
    current = imported(serviceAccountName="a", serviceAccount="a")
    pod = pod_of(edited(current, "serviceAccount=b").changed)
    assert (pod["serviceAccountName"], pod["serviceAccount"]) == ("b", "b")
    pod = pod_of(edited(current, "serviceAccount=").changed)
    assert not {"serviceAccountName", "serviceAccount"} & pod.keys()


# -- resource claims ----------------------------------------------------------------------------


def test_a_claim_is_of_the_pod_and_of_the_container() -> None:
    pod = pod_of(manifests.build_manifests(spec_with(resource_claims=["gpu=template/h100"])))
    assert pod["resourceClaims"] == [{"name": "gpu", "resourceClaimTemplateName": "h100"}]
    assert pod["containers"][0]["resources"]["claims"] == [{"name": "gpu"}]


@pytest.mark.parametrize("template", ["vllm", "furiosa-llm"])
def test_a_claim_may_be_for_the_accelerators(template: str) -> None:
    sizes = {"tensor_parallel_size": 4} if template == "vllm" else {}
    spec = spec_with(template=template, accelerator="", settings=sizes)
    assert "accelerator" in messages(spec)
    found = messages(spec.replace(resource_claims="gpu=template/h100"))
    assert not found.keys() & {"accelerator", "settings.tensor_parallel_size"}


def test_a_claim_of_another_container_stays() -> None:
    sidecar = {"name": "proxy", "image": "p", "resources": {"claims": [{"name": "nic"}]}}
    nic = {"name": "nic", "resourceClaimTemplateName": "nics"}
    gpu = {"name": "gpu", "resourceClaimName": "shared"}
    claims = [{"name": "nic"}, {"name": "gpu"}]
    one = deployment(
        {"image": "vllm/vllm-openai", "resources": {"claims": claims}}, resourceClaims=[nic, gpu]
    )
    one["spec"]["template"]["spec"]["containers"].append(sidecar)
    current = import_objects([one])
    assert current.spec.resource_claims == ("nic=template/nics", "gpu=claim/shared")
    pod = pod_of(edited(current, "resourceClaims=").changed)
    assert pod["resourceClaims"] == [nic]
    assert "resources" not in pod["containers"][0]
    assert pod["containers"][1] == sidecar


def test_one_request_of_a_claim_is_no_field() -> None:
    claims = [{"name": "gpu", "request": "first"}]
    entry = {"name": "gpu", "resourceClaimTemplateName": "gpus"}
    current = imported(container={"resources": {"claims": claims}}, resourceClaims=[entry])
    assert current.spec.resource_claims == ()
    pod = pod_of(edited(current, "resourceClaims=nic=template/nics").changed)
    assert pod["resourceClaims"] == [entry, {"name": "nic", "resourceClaimTemplateName": "nics"}]
    assert pod["containers"][0]["resources"]["claims"] == [*claims, {"name": "nic"}]


# -- times of probes ----------------------------------------------------------------------------


def test_the_times_of_a_probe_are_those_that_differ_from_a_new_serving() -> None:
    spec = spec_with(readiness_times="failures=3 timeout=2s, period=30", liveness_times="period=10")
    assert (spec.readiness_times, spec.liveness_times) == (("period=30", "timeout=2"), ())
    assert messages(spec).keys() & {"readiness_times", "liveness_times"} == set()
    probe = pod_of(manifests.build_manifests(spec))["containers"][0]["readinessProbe"]
    assert (probe["periodSeconds"], probe["timeoutSeconds"], probe["failureThreshold"]) == (
        30,
        2,
        3,
    )


def test_absent_times_are_those_of_the_api_and_stay_absent() -> None:
    probe = {"httpGet": {"path": "/health", "port": 8000}}
    current = imported(container={"readinessProbe": probe})
    assert current.spec.readiness_times == ("period=10", "timeout=1")
    change = edited(current, "readinessTimes=period=10 timeout=3")
    assert pod_of(change.changed)["containers"][0]["readinessProbe"] == {
        **probe,
        "timeoutSeconds": 3,
    }


def test_the_times_go_with_the_probe() -> None:
    current = import_objects(manifests.build_manifests(spec_with(readiness_times="period=30")))
    change = edited(current, "readinessPath=")
    assert [one for one in change.issues if one.field == "readiness_times"] == []
    assert "readinessProbe" not in pod_of(change.changed)["containers"][0]


def test_a_file_without_the_probe_and_with_its_times_changes_nothing_a_second_time() -> None:
    current = import_objects(manifests.build_manifests(spec_with(readiness_times="period=30")))
    wanted = current.spec.replace(readiness_path="")
    once = change_objects(current, wanted)
    again = change_objects(import_objects(list(once.changed)), wanted)
    assert (again.changed_fields, again.issues) == ((), ())


# -- shared memory ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "settings", "count", "size"),
    [
        ("vllm", {}, 1, "512Mi"),
        ("vllm", {"tensor_parallel_size": 4}, 4, "4Gi"),
        ("vllm", {"additional_arguments": "--pipeline-parallel-size 8"}, 8, "8Gi"),
        ("vllm", {"additional_arguments": "-dp=8"}, 8, "8Gi"),
        ("vllm", {"additional_arguments": f"-dp={'9' * 5000}"}, 1, "512Mi"),
        ("vllm", {"tensor_parallel_size": 2, "additional_arguments": "-pp 2 -dp 2"}, 8, "8Gi"),
        ("furiosa-llm", {}, 1, "512Mi"),
        ("furiosa-llm", {}, 4, "4Gi"),
        ("furiosa-llm", {"pipeline_parallel_size": 2, "data_parallel_size": 4}, 1, "8Gi"),
        ("custom", {}, 1, "256Mi"),
        ("custom", {}, 8, "8Gi"),
    ],
)
def test_the_proposed_shared_memory(template: str, settings: Json, count: int, size: str) -> None:
    model = {} if template == "custom" else {"model": "org/m"}
    spec = ServingSpec.model_validate(
        {
            "name": "a",
            "template": template,
            "accelerator": "furiosa.ai/rngd" if template == "furiosa-llm" else "nvidia.com/gpu",
            "accelerator_count": count,
            "settings": {**model, **settings},
        }
    )
    assert spec.shared_memory_limit == Quantity(size)
    assert spec.replace(shared_memory=size) == spec
    assert spec.replace(shared_memory="3Gi").shared_memory_limit == Quantity("3Gi")


def test_a_chosen_size_stays_and_a_proposed_one_follows() -> None:
    def size_after(spec: ServingSpec, *texts: str) -> str:
        change = edited(import_objects(manifests.build_manifests(spec)), *texts)
        volumes = {one["name"]: one for one in pod_of(change.changed)["volumes"]}
        return str(volumes["dshm"]["emptyDir"]["sizeLimit"])

    more = ("acceleratorCount=4", "settings.tensorParallelSize=4")
    assert size_after(spec_with(), *more) == "4Gi"
    assert size_after(spec_with(shared_memory="3Gi"), *more) == "3Gi"
    assert size_after(spec_with(shared_memory="3Gi"), "sharedMemory=") == "512Mi"
    assert size_after(spec_with(), "sharedMemory=5Gi") == "5Gi"


def test_shared_memory_of_others_is_added_or_changed_in_place() -> None:
    pod = pod_of(edited(imported(), "sharedMemory=2Gi").changed)
    assert pod["volumes"] == [
        {"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}
    ]
    shm = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Gi"}}
    mounts = {"volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}]}
    current = imported(container=mounts, volumes=[shm])
    assert current.spec.shared_memory == Quantity("64Gi")
    pod = pod_of(edited(current, "sharedMemory=8Gi").changed)
    assert pod["volumes"] == [{"name": "shm", "emptyDir": {**shm["emptyDir"], "sizeLimit": "8Gi"}}]


def own_without(*names: str) -> ImportedServing:
    """A serving of servedeck without these volumes."""
    objects = manifests.build_manifests(spec_with())
    pod = pod_of(objects)
    for holder, key in ((pod, "volumes"), (pod["containers"][0], "volumeMounts")):
        holder[key] = [one for one in holder[key] if one["name"] not in names]
    return import_objects(objects)


@pytest.mark.parametrize(
    ("text", "name", "mount"),
    [
        ("sharedMemory=512Mi", "dshm", "/dev/shm"),
        ("sharedMemory=", "dshm", "/dev/shm"),
        ("modelCachePath=/model-cache", "model-cache", "/model-cache"),
    ],
)
def test_a_default_that_is_asked_for_is_written_where_there_is_nothing(
    text: str, name: str, mount: str
) -> None:
    current = own_without(name)
    change = edited(current, text)
    field = "shared_memory" if name == "dshm" else "model_cache_path"
    assert change.changed_fields == (field,)
    assert {"name": name, "mountPath": mount} in pod_of(change.changed)["containers"][0][
        "volumeMounts"
    ]
    wanted, _ = assign(current.spec, [parse_assignment(text)])
    assert wanted is not None
    [shown] = find_edited_fields(current, wanted)
    assert (shown.field, shown.old, shown.restarts) == (field, "none", True)
    assert shown.new == ("512Mi" if name == "dshm" else mount)
    after = import_objects(change.changed)
    assert edited(after, text).changed_fields == ()
    assert change_objects(current, spec_with(description="x")).changed_fields == ("description",)


def test_a_limit_is_given_to_shared_memory_that_has_none() -> None:
    current = own_without()
    volumes = {one["name"]: one for one in pod_of([current.objects.deployment])["volumes"]}
    del volumes["dshm"]["emptyDir"]["sizeLimit"]
    current = import_objects(current.objects.all)
    other = edited(current, "replicas=3")
    assert pod_of(other.changed) == pod_of(other.live)
    after = pod_of(edited(current, "sharedMemory=512Mi").changed)["volumes"]
    assert {"medium": "Memory", "sizeLimit": "512Mi"} in [one.get("emptyDir") for one in after]
    document = from_yaml(to_yaml(current.spec) + "  sharedMemory: 512Mi\n")
    assert change_objects(current, document).changed_fields == ("shared_memory",)


def test_a_default_that_cannot_be_written_is_an_error() -> None:
    mounts = {"volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}]}
    current = imported(container=mounts, volumes=[{"name": "shm", "hostPath": {"path": "/x"}}])
    wanted = current.spec.replace(shared_memory=str(current.spec.shared_memory_limit))
    [issue] = [one for one in change_objects(current, wanted).issues if one.field]
    assert (issue.field, issue.is_error) == ("shared_memory", True)
    assert "something else in this place" in issue.message


# -- model cache --------------------------------------------------------------------------------

ROOT_CACHE = "/root/.cache/huggingface"


def variables(objects: list[Json] | tuple[Json, ...]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in pod_of(objects)["containers"][0].get("env", ())}


def test_whatever_is_written_below_a_home_goes_to_the_cache_of_any_user() -> None:
    objects = manifests.build_manifests(spec_with())
    assert pod_of(objects)["containers"][0]["volumeMounts"][0]["mountPath"] == "/model-cache"
    assert variables(objects) == {
        "HF_HOME": "/model-cache",
        "HOME": "/model-cache",
        "XDG_CACHE_HOME": "/model-cache/.cache",
        "VLLM_CACHE_ROOT": "/model-cache/.cache/vllm",
        "TORCHINDUCTOR_CACHE_DIR": "/model-cache/.cache/torchinductor",
    }


def test_a_serving_that_has_its_cache_below_the_home_of_root_keeps_it() -> None:
    objects = manifests.build_manifests(spec_with(model_cache_path=ROOT_CACHE))
    assert variables(objects) == {"HF_HOME": ROOT_CACHE}
    current = import_objects(objects)
    assert (current.spec.model_cache_path, current.spec.env) == (ROOT_CACHE, ())
    change = change_objects(current, vllm_spec(image="x:2"))  # a document without the field
    assert change.changed_fields == ("image",)
    moved = edited(current, "modelCachePath=/model-cache").changed
    assert variables(moved) == variables(manifests.build_manifests(spec_with()))
    back = edited(import_objects(moved), f"modelCachePath={ROOT_CACHE}").changed
    assert pod_of(back)["containers"][0] == pod_of(objects)["containers"][0]


def test_a_variable_of_the_operators_own_stays_when_the_cache_moves() -> None:
    spec = spec_with(env=[{"name": "HF_HOME", "value": "/data"}, {"name": "A", "value": "$(HOME)"}])
    change = edited(import_objects(manifests.build_manifests(spec)), "modelCachePath=/cache")
    found = variables(change.changed)
    assert (found["HF_HOME"], found["HOME"], found["A"]) == ("/data", "/cache", "$(HOME)")


def adopted(env: Json, path: str = "/model-cache", volume: str = "models") -> ImportedServing:
    """A Deployment of others that servedeck has taken over, with a PVC at this path."""
    container = {
        "image": "vllm/vllm-openai:v0.9",
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "volumeMounts": [{"name": volume, "mountPath": path}],
    }
    one = deployment(
        container, volumes=[{"name": volume, "persistentVolumeClaim": {"claimName": "models"}}]
    )
    one["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "servedeck"}
    return import_objects([one])


@pytest.mark.parametrize("path", ["/data", ROOT_CACHE])
@pytest.mark.parametrize("managed", [True, False])
def test_the_cache_of_an_adopted_serving_is_moved_in_the_deployment(
    path: str, managed: bool
) -> None:
    current = adopted({"HF_HOME": "/model-cache", "A": "b"})
    if not managed:
        del current.objects.deployment["metadata"]["labels"]
    wanted = current.spec.replace(model_cache_path=path)
    change = change_objects(current, wanted, create_missing=False)
    assert change.changed == change.live
    [issue] = change.issues
    assert (issue.field, issue.is_error) == ("model_cache_path", True)
    assert "/model-cache is where the serving's own volume models is mounted" in issue.message


def test_a_cache_that_would_not_be_found_again_is_not_mounted() -> None:
    current = imported()
    change = change_objects(current, current.spec.replace(model_cache_path="/data"))
    assert pod_of(change.changed) == pod_of(change.live)
    assert "the model cache is at /model-cache or /root" in change.issues[0].message
    found = edited(current, f"modelCachePath={ROOT_CACHE}")
    assert import_objects(found.changed).spec.model_cache_path == ROOT_CACHE
    own = import_objects(manifests.build_manifests(spec_with()))
    del pod_of([own.objects.deployment])["containers"][0]["volumeMounts"]
    del pod_of([own.objects.deployment])["volumes"]
    found = edited(own, "modelCachePath=/data")
    assert import_objects(found.changed).spec.model_cache_path == "/data"


@pytest.mark.parametrize("others", [{}, {"HF_HOME": "/model-cache"}, {"A": "b"}])
def test_a_removed_variable_of_an_adopted_serving_is_gone(others: Json) -> None:
    current = adopted({"HOME": "/opt/app", **others})
    assert variables(edited(current, "env.HOME-").changed) == others


def test_a_removed_variable_beside_servedecks_others_has_servedecks_value_again() -> None:
    own = variables(manifests.build_manifests(spec_with()))
    current = adopted({**own, "HOME": "/opt/app"})
    assert variables(edited(current, "env.HOME-").changed) == own
    current = adopted({"HOME": "/opt/app"}, volume="model-cache")
    assert variables(edited(current, "env.HOME-").changed) == {"HOME": "/model-cache"}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("other", "path"),
    [
        ({"mountPath": "/opt/triton", "subPath": "t"}, "/model-cache"),
        ({"mountPath": "/root/.cache/huggingface", "subPath": "t"}, "/model-cache"),
        ({"mountPath": "/opt/triton", "subPathExpr": "$(A)"}, "/var/models"),
        ({"mountPath": "/opt/triton"}, "/model-cache"),
        ({"mountPath": "/opt/triton"}, "/var/models"),
        ({"mountPath": "/opt/triton"}, ROOT_CACHE),
    ],
)
def test_a_second_mount_of_the_volume_is_not_the_cache(other: Json, path: str, first: bool) -> None:
    objects = manifests.build_manifests(spec_with(model_cache_path=path))
    mounts = pod_of(objects)["containers"][0]["volumeMounts"]
    mounts.insert(0 if first else 1, {"name": "model-cache", **other})
    current = import_objects(objects)
    assert current.spec.effective_model_cache_path == path
    assert current.spec.env == ()
    moved = pod_of(edited(current, "modelCachePath=/data").changed)["containers"][0]
    paths = [one["mountPath"] for one in moved["volumeMounts"]]
    assert sorted(paths) == sorted(["/data", "/dev/shm", other["mountPath"]])


def without_path(home: str, **fields: Any) -> ServingSpec:
    """A document with HF_HOME and without modelCachePath."""
    env = [{"name": "HF_HOME", "value": home}]
    spec = ServingSpec.model_validate({"name": "a", "template": "custom", "env": env, **fields})
    text = to_yaml(spec)
    assert home in text and "modelCachePath" not in text
    return from_yaml(text)


@pytest.mark.parametrize("path", [ROOT_CACHE, "/model-cache", "/data"])
@pytest.mark.parametrize("home", [ROOT_CACHE, "/model-cache", "/data"])
def test_a_document_without_the_path_keeps_the_variables(path: str, home: str) -> None:
    volumes = [] if path == "/model-cache" else [{"pvc": "models", "mount_path": "/model-cache"}]
    document = without_path(home, image="x:1", memory="8Gi", volumes=volumes)
    built = manifests.build_manifests(document.replace(model_cache_path=path))
    assert variables(built)["HF_HOME"] == home
    change = change_objects(import_objects(built), document)
    assert (change.changed_fields, change.changed) == ((), change.live)
    other = change_objects(import_objects(built), document.replace(replicas=3))
    assert variables(other.changed) == variables(built)


def test_a_volume_at_the_path_of_the_cache_is_an_error() -> None:
    volumes = [{"pvc": "data", "mount_path": "/cache"}]
    assert "volumes.0.mount_path" not in messages(spec_with(volumes=volumes))
    found = messages(spec_with(volumes=volumes, model_cache_path="/cache"))
    assert "model-cache" in found["volumes.0.mount_path"]
    current = import_objects(manifests.build_manifests(spec_with(volumes=volumes)))
    moved = current.spec.replace(model_cache_path="/cache")
    issues = validation.validate_existing(moved, current.mounts)
    assert "volumes.0.mount_path" in {one.field for one in issues}
    assert OtherMounts().has_model_cache


def test_the_volumes_belong_to_the_group() -> None:
    assert "securityContext" not in pod_of(manifests.build_manifests(spec_with()))
    context = {"fsGroup": 1000, "fsGroupChangePolicy": "OnRootMismatch"}
    pod = pod_of(manifests.build_manifests(spec_with(fs_group="1000")))
    assert pod["securityContext"] == context
    others = {"runAsUser": 5, "fsGroup": 7, "fsGroupChangePolicy": "Always"}
    current = imported(securityContext=others)
    pod = pod_of(edited(current, "fsGroup=0").changed)
    assert pod["securityContext"] == {**others, "fsGroup": 0}
    own = import_objects(manifests.build_manifests(spec_with(fs_group=1000)))
    assert "securityContext" not in pod_of(edited(own, "fsGroup=").changed)


# -- all of them --------------------------------------------------------------------------------

EVERY: Json = {
    "readiness_times": "period=30 timeout=2",
    "liveness_times": "delay=60",
    "shared_memory": "4Gi",
    "model_cache_path": "/cache",
    "fs_group": 1000,
    "node_selector": "zone=eu gpu=h100",
    "tolerations": "team=ml:NoSchedule spot:NoExecute:300s",
    "runtime_class": "nvidia",
    "image_pull_secrets": "registry mirror",
    "service_account": "models",
    "resource_claims": "nic=template/fast",
}


def test_a_document_without_the_fields_leaves_them_and_empty_ones_clear_them() -> None:
    current = import_objects(manifests.build_manifests(spec_with(**EVERY)))
    assert current.unmanaged_fields == ()
    plain = from_yaml(to_yaml(vllm_spec(description="new")))
    assert change_objects(current, plain).changed_fields == ("description",)
    cleared = from_yaml(to_yaml(plain) + "".join(f"  {one}: ''\n" for one in DOCUMENT_NAMES))
    change = change_objects(current, cleared)
    assert set(change.changed_fields) == {"description", *EVERY}
    assert [one for one in change.issues if one.is_error] == []
    bare = manifests.build_manifests(vllm_spec(description="new"))
    after, before = copy.deepcopy(pod_of(change.changed)), pod_of(bare)
    assert import_objects(change.changed).spec == import_objects(bare).spec
    assert after.keys() == before.keys()


DOCUMENT_NAMES = (
    *("readinessTimes", "livenessTimes", "sharedMemory", "modelCachePath", "fsGroup"),
    *("nodeSelector", "tolerations", "runtimeClass", "imagePullSecrets", "serviceAccount"),
    "resourceClaims",
)


@pytest.mark.parametrize("name", EVERY)
def test_one_of_them_changes_and_the_others_stay(name: str) -> None:
    before = import_objects(manifests.build_manifests(spec_with(**EVERY)))
    wanted = before.spec.replace(**{name: None if name in ("fs_group", "shared_memory") else ""})
    change = change_objects(before, wanted)
    assert change.changed_fields == (name,)
    assert [one for one in change.issues if one.is_error] == []
    assert import_objects(change.changed).spec == wanted


def test_words_are_compared_and_merged_one_by_one() -> None:
    base = spec_with(node_selector="zone=eu gpu=h100", tolerations="a:NoSchedule")
    mine = base.replace(node_selector="zone=us gpu=h100", tolerations="a:NoSchedule b:NoSchedule")
    theirs = base.replace(node_selector="zone=eu gpu=h200 disk=ssd", tolerations="")
    merge = merge_fields(base, mine, theirs)
    assert merge.conflicts == ()
    assert merge.spec.node_selector == ("disk=ssd", "gpu=h200", "zone=us")
    assert merge.spec.tolerations == ("b:NoSchedule",)
    shown = [(one.name, one.label, one.old, one.new) for one in find_field_differences(base, mine)]
    assert shown == [
        ("nodeSelector[zone]", "Node Selector zone", "eu", "us"),
        (
            "tolerations[b:NoSchedule]",
            "Tolerations b:NoSchedule",
            "none",
            "b:NoSchedule",
        ),
    ]
