"""What a person types for a field against a real API server: it accepts what servedeck accepts and
stores it unchanged, and it refuses what servedeck refuses, but for what a Pod cannot run with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from servedeck.serving.objects import import_objects, manifests
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.pod_settings import CLAIM_KINDS, read_toleration
from servedeck.serving.spec.spec import ServingSpec, parse_spec
from servedeck.serving.spec.validation import validate
from tests.control_plane.control_plane import ControlPlane, RequestError
from tests.control_plane.test_manifests_accepted import apply_manifest

Json = dict[str, Any]
Write = Callable[[Json, str], None]
"""Writes a text into the spec of a Pod, as a manifest would have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    field: str
    write: Write
    accepted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    """By both."""
    unusable: tuple[str, ...] = ()
    """Refused by servedeck alone: the API server accepts it and stores another value, or no node,
    kubelet or server can use it."""


def resource(kind: str, name: str) -> Write:
    def write(pod: Json, text: str) -> None:
        pod["containers"][0]["resources"] = {kind: {name: text.strip()}}

    return write


def shared_memory(pod: Json, text: str) -> None:
    (volume,) = (one for one in pod["volumes"] if one["name"] == "dshm")
    volume["emptyDir"]["sizeLimit"] = text.strip()


def node_selector(pod: Json, text: str) -> None:
    pod["nodeSelector"] = {key: value for key, _, value in (text.partition("="),)}


def tolerations(pod: Json, text: str) -> None:
    one = read_toleration(text)
    assert one is not None, text
    found = {
        "key": one.key,
        "operator": "Exists" if one.value is None else "Equal",
        "value": one.value or "",
        "effect": one.effect,
        "tolerationSeconds": one.seconds,
    }
    pod["tolerations"] = [{key: value for key, value in found.items() if value not in ("", None)}]


def resource_claims(pod: Json, text: str) -> None:
    claims: list[Json] = []
    for word in text.split():
        name, _, source = word.partition("=")
        kind, _, target = source.partition("/")
        claims.append({"name": name, CLAIM_KINDS.get(kind, "resourceClaimName"): target})
    pod["resourceClaims"] = claims
    pod["containers"][0]["resources"]["claims"] = [{"name": one["name"]} for one in claims]


def pull_secrets(pod: Json, text: str) -> None:
    pod["imagePullSecrets"] = [{"name": one} for one in text.split()]


def pod_field(name: str) -> Write:
    def write(pod: Json, text: str) -> None:
        pod[name] = text

    return write


def probe_times(pod: Json, text: str) -> None:
    names = {
        "delay": "initialDelaySeconds",
        "period": "periodSeconds",
        "timeout": "timeoutSeconds",
        "failures": "failureThreshold",
    }
    for word in text.split():
        name, _, number = word.partition("=")
        value = int(number) if number.lstrip("-").isdigit() else number
        pod["containers"][0]["readinessProbe"][names.get(name, name)] = value


def group(pod: Json, text: str) -> None:
    number = int(text) if text.lstrip("-").isdigit() else text
    pod["securityContext"] = {"fsGroup": number}


NO_QUANTITIES = (
    *(
        "1GB",
        "1gi",
        "1K",
        "1kB",
        "1 Gi",
        "1,5",
        "1_000",
        "0x10",
        "NaN",
        "inf",
        "1..2",
        "1e",
        "lots",
    ),
    *("1Gi1", "1e3Ki", "1e1.5", "1/2", "--1", "１", "1٣", "-1", "-1Gi"),
)
MUCH = ("1Ei", "1Gi", "1.5Gi", "64G", "64000M", "17179869184", "1e11", "1E11")
LONG = "a" * 63
QUANTITIES = [
    Case(
        field="cpu",
        write=resource("requests", "cpu"),
        accepted=(
            *(
                "0.5",
                "500m",
                ".5",
                "5.",
                "1e3",
                "1E3",
                "1e+03",
                "1e003",
                "1e-3",
                " 1 ",
                "+1",
                "00012",
            ),
            *("1k", "0.001", "1500000u", "1000000n", "0012.500"),
        ),
        refused=NO_QUANTITIES,
        unusable=("0", "0m", "-0", "1u", "1n", "0.0001", "0.0015", "1.0000000001", "1M", "1Gi"),
    ),
    Case(
        field="transformer.cpu",
        write=resource("requests", "cpu"),
        accepted=("0.5", "500m", "1e3", " 1 ", "0.001", "1500000u"),
        refused=NO_QUANTITIES,
        unusable=("0", "0m", "1u", "0.0001", "0.0015", "1.0000000001", "1Gi", "8E", "100E"),
    ),
    Case(
        field="memory",
        write=resource("requests", "memory"),
        accepted=(*MUCH, "16Gi", "1e10", "0.5Ti", "00064Gi", "+64Gi", " 64Gi ", "64000000000000m"),
        refused=NO_QUANTITIES,
        unusable=("0", "1", "500m", "1k", "0.1Gi", "1.3Gi", "1.00000000001Gi", "8E", "100E"),
    ),
    Case(
        field="memory_limit",
        write=resource("limits", "memory"),
        accepted=("64Gi", "1e11", "1Ti", "0"),
        refused=NO_QUANTITIES,
        unusable=("64.00000000001Gi", "8E", "100E"),
    ),
    Case(
        field="transformer.memory",
        write=resource("requests", "memory"),
        accepted=("256Mi", "1.5Gi", "1e9", " 1Gi "),
        refused=NO_QUANTITIES,
        unusable=("0", "1", "500m", "1k", "0.1Gi", "1.00000000001Gi", "8E", "100E"),
    ),
    Case(
        field="shared_memory",
        write=shared_memory,
        accepted=("2Gi", "1.5Gi", "1e9", " 1Gi ", "1G"),
        refused=NO_QUANTITIES,
        unusable=("0", "1", "500m", "1k", "0.1Gi", "1.00000000001Gi"),
    ),
]
WORDS = [
    Case(
        field="node_selector",
        write=node_selector,
        accepted=(
            *("a=b", "a=", "A=B", "a_b=c", "a.b/c=d", "1=2", "a=1.10", f"a={LONG}", f"{LONG}=x"),
            *("kubernetes.io/hostname=node-1", f"{'x.' * 120}y/z=1"),
        ),
        refused=(
            *("=b", "a=b=c", "-a=b", "a-=b", "a_/b=c", "A.b/c=d", "a/b/c=d", "/c=d", "a/=d", "a=-"),
            *(
                "a=b-",
                "a=.b",
                "a=b.",
                f"a={LONG}b",
                f"{LONG}b=x",
                f"{'x.' * 128}y/z=1",
                "é=a",
                "a=é",
            ),
            *("a=b/c", "a:b=c", "a!=b", "a==b", '"a"=b', 'a="b"', "a..b/c=d", "a@b=c"),
        ),
        unusable=("a",),
    ),
    Case(
        field="tolerations",
        write=tolerations,
        accepted=(
            *(
                "a=b:NoSchedule",
                "a:NoSchedule",
                "a:noschedule",
                ":NoSchedule",
                ":",
                "*",
                "a=b",
                "a",
            ),
            *(
                "*:NoSchedule",
                "a:NoExecute:300s",
                "a:NoExecute:300",
                ":NoExecute:0",
                "a=:NoSchedule",
            ),
            *("a:", "a=b:", "x.y/a=v:NoExecute", "A=B:PreferNoSchedule", "nvidia.com/gpu"),
        ),
        refused=(
            *("*=x", "=x:NoSchedule", "a:NoSchedule:300s", "a::300s", "::300", "a:Bad", "a/b/c"),
            *("a=b=c:NoSchedule", "a=b/c", "a=b.:NoSchedule", "-a:NoSchedule", "a:NoSchedule-"),
            *("a=-1:NoSchedule", "é:NoSchedule", f"a={LONG}x", f"{LONG}x:NoSchedule"),
        ),
    ),
    Case(
        field="resource_claims",
        write=resource_claims,
        accepted=(
            *("a=template/x", "a=claim/x", "1=claim/x", "a=claim/a.b", f"{LONG}=claim/x"),
            *("a=template/x b=template/x", f"a=claim/{'x' * 253}"),
        ),
        refused=(
            *("=claim/x", "a=claim/", "A=claim/x", "a.b=claim/x", "a_b=claim/x", "-a=claim/x"),
            *("a=claim/X", "a=claim/-x", "a=claim/a/b", "a=claim/é", f"{LONG}x=claim/x"),
            *("a=template/x a=claim/y", f"a=claim/{'x' * 254}", "a=claim/x:req", "a", "a=x"),
        ),
    ),
    Case(
        field="image_pull_secrets",
        write=pull_secrets,
        accepted=("a", "a b", "a.b", "x" * 253),
        refused=("a a",),
        unusable=("A", "-a", "a_", "é", "a/b", "x" * 254),
    ),
    Case(
        field="runtime_class",
        write=pod_field("runtimeClassName"),
        accepted=("a", "a.b", "x" * 253),
        refused=("A", "a b", "-a", "a_", "é", "a/b", "x" * 254),
    ),
    Case(
        field="service_account",
        write=pod_field("serviceAccountName"),
        accepted=("a", "a.b", "x" * 253),
        refused=("A", "a b", "-a", "a_", "é", "a/b", "x" * 254),
    ),
    Case(
        field="fs_group",
        write=group,
        accepted=("0", "1000", "2147483647"),
        refused=("-1", "2147483648", "1e3", "1.5", "wheel"),
    ),
    Case(
        field="readiness_times",
        write=probe_times,
        accepted=(
            *("period=1", "delay=0", "failures=1", "timeout=60 period=5", "period=2147483647"),
            "delay=2147483647",
        ),
        refused=(
            *("delay=-1", "period=2147483648", "x=1"),
            *("period=1m", "period=1.5", "period=", "timeout=-5"),
        ),
        unusable=("period=0", "timeout=0", "failures=0", "period=9999999999"),
    ),
]


def read(case: Case, namespace: str, text: str) -> tuple[ServingSpec | None, list[str]]:
    """The spec with the text in the field, None if it cannot be read, and the errors at it."""
    document: Json = {
        "name": "llama",
        "namespace": namespace,
        "template": "vllm",
        "image": "registry.example.com/server:1",
        "memory": "4Gi",
        "inference_port": 8000,
        "rollout": "surge",
        "startup_seconds": 1800,
        "settings": {"model": "org/model"},
    }
    part, _, name = case.field.rpartition(".")
    if part:
        document[part] = {"image": "registry.example.com/transformer:1", "port": 8081, name: text}
    else:
        document[name] = text
    spec, found = parse_spec(document)
    if spec is not None:
        found = [one for one in validate(spec) if one.is_error]
    assert {one.field for one in found} <= {case.field}, (text, found)
    return spec, [one.message for one in found]


@pytest.mark.parametrize("case", [*QUANTITIES, *WORDS], ids=lambda case: case.field)
def test_the_api_server_accepts_and_refuses_what_servedeck_does(
    control_plane: ControlPlane, namespace: str, case: Case
) -> None:
    platform = PlatformSettings()

    def send(spec: ServingSpec) -> list[Json]:
        built = manifests.build_manifests(spec, platform)
        return [apply_manifest(control_plane, one, dry_run=True) for one in built]

    def send_text(text: str) -> str:
        """What the API server says of a manifest with this text; "" if it accepts it."""
        plain, _ = read(Case(field="image", write=case.write), namespace, "x:1")
        assert plain is not None
        deployment = manifests.build_manifests(plain, platform)[0]
        case.write(deployment["spec"]["template"]["spec"], text)
        try:
            apply_manifest(control_plane, deployment, dry_run=True)
        except RequestError as error:
            assert error.status in (400, 422, 500), error
            return error.body
        return ""

    for text in case.accepted:
        spec, errors = read(case, namespace, text)
        assert spec is not None and errors == [], (text, errors)
        assert import_objects.import_objects(send(spec)).spec == spec, text
    for text in (*case.refused, *case.unusable):
        _, errors = read(case, namespace, text)
        assert len(errors) == 1, (text, errors)
        assert bool(send_text(text)) == (text in case.refused), (text, errors)
