"""Random valid servings with every field and template."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from servedeck.serving.conventions import POOL_GROUP, PREDICTOR_URL_ENV, SERVING_LABEL
from servedeck.serving.objects.routes import PlatformSettings, RouteKind
from servedeck.serving.spec import load_balancing, validation
from servedeck.serving.spec.issues import errors
from servedeck.serving.spec.mapping.engines import Engines
from servedeck.serving.spec.mapping.request_ports import entry_port
from servedeck.serving.spec.mount_paths import normalize_path
from servedeck.serving.spec.rollouts import ROLLOUTS
from servedeck.serving.spec.scaling import CHOICES
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.spec.templates import TEMPLATES

LOWER = "abcdefghijklmnopqrstuvwxyz"
ALPHANUMERIC = LOWER + "0123456789"


def labels(max_length: int = 63) -> st.SearchStrategy[str]:
    middle = st.text(ALPHANUMERIC + "-", max_size=max_length - 2)
    return st.one_of(
        st.sampled_from(LOWER),
        st.builds(
            lambda a, m, z: a + m + z, st.sampled_from(LOWER), middle, st.sampled_from(ALPHANUMERIC)
        ),
    )


# Any text that can be typed: no lone surrogates, no NUL.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
plain_texts = st.text(ALPHANUMERIC + "/.-_", min_size=1, max_size=30)
ports = st.integers(1, 65535)
images = st.sampled_from(
    [
        "nginx",
        "vllm/vllm-openai:v0.33.0",
        "registry.example.com:5000/team/server_x/llm:1.0-rc.1",
        "ghcr.io/org/app@sha256:" + "0a" * 32,
        "localhost/a:b@sha256:" + "0f" * 32,
    ]
)
pvc_names = st.one_of(
    labels(), st.sampled_from(["dshm", "model-cache", "data.v1", "a" * 70, "x-" + "y" * 200])
)
paths = st.lists(
    st.text(ALPHANUMERIC + "-_.", min_size=1, max_size=10), min_size=1, max_size=3
).map(lambda parts: "/data/" + "/".join(part.strip(".") or "p" for part in parts))
env_names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.\-]{0,20}", fullmatch=True)
key_refs = st.fixed_dictionaries(
    {"name": labels(), "key": st.from_regex(r"[a-zA-Z0-9_-][-._a-zA-Z0-9]{0,20}", fullmatch=True)},
    optional={"optional": st.booleans()},
)
value_sources = st.one_of(
    st.builds(lambda value: {"value": value}, texts),
    st.builds(lambda ref: {"secret": ref}, key_refs),
    st.builds(lambda ref: {"config_map": ref}, key_refs),
)
env_vars = st.lists(
    st.builds(lambda name, source: {"name": name, **source}, env_names, value_sources),
    max_size=4,
    unique_by=lambda one: one["name"],
)
commands = st.lists(words, max_size=4)
accelerators = st.sampled_from(
    [
        "nvidia.com/gpu",
        "nvidia.com/mig-1g.10gb",
        "amd.com/gpu",
        "example.com/fpga",
        "habana.ai/gaudi",
    ]
)
cpus = st.one_of(
    st.integers(1, 9999).map(str),
    st.integers(1, 100_000).map(lambda n: f"{n}m"),
    st.sampled_from(["0.5", "1.5", "2e1", "0.001"]),
)
memories = st.one_of(
    st.integers(1100, 4_000).map(lambda n: f"{n}Gi"),
    st.integers(1100, 4_000).map(lambda n: f"{n}G"),
    st.sampled_from(["1.5Ti", "2e12", "2199023255552"]),
)
amounts = st.one_of(
    st.fixed_dictionaries({"cpu": cpus, "memory": memories}),
    st.fixed_dictionaries({"cpu": cpus, "cpu_limit": st.just("10000"), "memory": memories}),
    st.fixed_dictionaries(
        {
            "cpu": cpus,
            "memory": memories,
            "memory_limit": st.sampled_from(["0", "4Ti", "5000000000000"]),
        }
    ),
    st.just({}),
)
argument_words = st.one_of(
    st.sampled_from(["--enforce-eager", "--max-num-seqs", "--kv-cache-dtype=fp8", "--", "-O3"]),
    st.text(ALPHANUMERIC + " =/{}\"'$é", max_size=12),
)


rollouts = st.sampled_from(
    (*ROLLOUTS, "maxSurge 25%, maxUnavailable 25%", "maxSurge 2, maxUnavailable 0")
)


startup_seconds = st.one_of(st.just(0), st.integers(2, 17_280).map(lambda one: one * 5))


probe_times = st.dictionaries(
    st.sampled_from(["delay", "period", "timeout", "failures"]), st.integers(1, 600)
).map(lambda one: [f"{name}={value}" for name, value in one.items()])
label_values = st.from_regex(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,10}[A-Za-z0-9])?)?", fullmatch=True)
label_keys = st.builds(
    lambda prefix, name: prefix + name,
    st.sampled_from(["", "gpu.example.com/", "node.kubernetes.io/"]),
    label_values.filter(bool),
)
tolerations = st.one_of(
    st.builds(
        lambda key, value, rest: f"{key}{value}{rest}",
        label_keys,
        st.one_of(st.just(""), label_values.map(lambda one: f"={one}")),
        st.sampled_from(["", ":NoSchedule", ":PreferNoSchedule", ":NoExecute", ":NoExecute:0s"]),
    ),
    st.sampled_from([":", ":NoExecute", "*:NoSchedule", "spot:noexecute:300"]),
)
resource_claims = st.builds(
    lambda name, kind, source: f"{name}={kind}/{source}",
    labels(),
    st.sampled_from(["template", "claim"]),
    labels(),
)
pod_settings = st.fixed_dictionaries(
    {
        "shared_memory": st.sampled_from([None, "256Mi", "1Gi", "2Gi", "3000000000"]),
        "model_cache_path": st.sampled_from(
            ["", "/model-cache", "/root/.cache/huggingface", "/var/cache/models"]
        ),
        "fs_group": st.one_of(st.none(), st.integers(0, 2**31 - 1)),
        "node_selector": st.dictionaries(label_keys, label_values, max_size=3),
        "tolerations": st.lists(tolerations, max_size=3),
        "runtime_class": st.one_of(st.just(""), labels()),
        "image_pull_secrets": st.lists(labels(), max_size=3, unique=True),
        "service_account": st.one_of(st.just(""), labels()),
        "resource_claims": st.lists(
            resource_claims, max_size=3, unique_by=lambda one: one.partition("=")[0]
        ),
    }
)


def settings(template: str) -> st.SearchStrategy[dict[str, Any]]:
    models = st.one_of(
        st.sampled_from(["meta-llama/Llama-3.1-8B-Instruct", "/data/m"]),
        st.text(ALPHANUMERIC + "/._", min_size=1, max_size=20),
    )
    sizes = st.one_of(st.none(), st.integers(1, 8))
    if template == "vllm":
        return st.fixed_dictionaries(
            {
                "model": models,
                "tensor_parallel_size": st.integers(1, 8),
                "dtype": st.sampled_from(TEMPLATES["vllm"].fields[2].choices),
                "max_model_len": st.sampled_from(["", "8192", "8k", "16K", "25.6k", "auto", "-1"]),
                "quantization": st.sampled_from(["", "awq", "fp8", "my-method", "-odd"]),
                "gpu_memory_utilization": st.floats(0, 1, exclude_min=True),
                "additional_arguments": st.lists(argument_words, max_size=4),
            }
        )
    if template == "furiosa-llm":
        return st.fixed_dictionaries(
            {
                "model": models,
                "max_model_len": sizes,
                "pipeline_parallel_size": sizes,
                "data_parallel_size": sizes,
                "additional_arguments": st.lists(argument_words, max_size=4),
            }
        )
    return st.fixed_dictionaries({"arguments": st.lists(texts, max_size=4)})


@st.composite
def specs(draw: st.DrawFn) -> ServingSpec:
    template = draw(st.sampled_from(list(TEMPLATES)))
    chosen = draw(settings(template))
    count = draw(st.integers(1, 16))
    if template == "furiosa-llm":
        accelerator = "furiosa.ai/rngd"
    elif template == "vllm":
        count = max(count, chosen["tensor_parallel_size"])
        accelerator = draw(accelerators)
        if chosen["tensor_parallel_size"] == 1:
            accelerator = draw(st.sampled_from([accelerator, ""]))
    else:
        accelerator = draw(st.one_of(st.just(""), accelerators))
    port = draw(ports)
    transformer = draw(
        st.one_of(
            st.none(),
            st.fixed_dictionaries(
                {
                    "image": images,
                    "port": ports.filter(lambda one: one != port),
                    "cpu": st.sampled_from(["", "100m", "0.5", "2"]),
                    "memory": st.sampled_from(["", "256Mi", "1Gi"]),
                    "command": commands,
                    "env": env_vars.map(
                        lambda own: [one for one in own if one["name"] != PREDICTOR_URL_ENV]
                    ),
                }
            ),
        )
    )
    scaling = st.fixed_dictionaries(
        {
            # Of a custom server no metric is known without a proxy.
            "auto_scaling": st.sampled_from(CHOICES if template != "custom" else ["off"]),
            "min_replicas": st.integers(0, 5),
            "max_replicas": st.integers(5, 20),
            "scale_in_delay": st.integers(1, 3600),
            "target_response_time": st.one_of(st.none(), st.integers(1, 60_000)),
            "target_waiting": st.one_of(st.none(), st.integers(1, 100)),
        }
    )
    balancing = st.fixed_dictionaries(
        {
            "load_balancing": st.sampled_from(load_balancing.CHOICES),
            "load_balancing_header": st.just("X-Session-Id"),
        }
    )
    cooling = st.fixed_dictionaries(
        {
            "temperature_policy": st.sampled_from(["off", "on"]),
            "temperature_threshold": st.integers(60, 100),
            "temperature_recovery": st.integers(0, 59),
            "temperature_seconds": st.one_of(st.none(), st.integers(0, 86_400)),
        }
    )
    probe = st.one_of(st.none(), st.sampled_from(["", "/health", "/v1/models", "/a?b=c"]))
    readiness_path, liveness_path = draw(probe), draw(probe)
    own = TEMPLATES[template]
    has_endpoint = (own.readiness_path if readiness_path is None else readiness_path) or (
        own.liveness_path if liveness_path is None else liveness_path
    )
    startup_path = draw(st.sampled_from(["", "/startup", "/health"]))
    seconds = draw(startup_seconds) if has_endpoint or startup_path else None
    if not (has_endpoint or seconds):
        seconds = None  # no probe, and none that it could protect
    readiness = own.readiness_path if readiness_path is None else readiness_path
    liveness = own.liveness_path if liveness_path is None else liveness_path
    name = draw(labels())
    raw: dict[str, Any] = {
        "name": name,
        "namespace": draw(labels()),
        "description": draw(texts),
        "objectives": draw(st.sampled_from(["", "p95=2s", "ttft=500ms errors=1%"])),
        "revision_of": draw(st.sampled_from(["", "a" if name != "a" else "b"])),
        "template": template,
        "image": draw(images),
        **draw(amounts),
        "accelerator": accelerator,
        "accelerator_count": count,
        "replicas": draw(st.integers(0, 50)),
        "settings": chosen,
        "volumes": draw(
            st.lists(
                st.fixed_dictionaries(
                    {"pvc": pvc_names, "mount_path": paths, "read_only": st.booleans()}
                ),
                max_size=4,
                unique_by=lambda one: normalize_path(str(one["mount_path"])),
            )
        ),
        "inference_port": port,
        "command": tuple(draw(commands)),
        "rollout": draw(rollouts),
        "env": draw(env_vars),
        "transformer": transformer,
        "readiness_path": readiness_path,
        "liveness_path": liveness_path,
        "startup_path": startup_path if seconds else "",
        "startup_seconds": seconds,
        "readiness_times": draw(probe_times) if readiness else (),
        "liveness_times": draw(probe_times) if liveness else (),
        **draw(pod_settings),
        **draw(scaling),
        **draw(balancing),
        **draw(cooling),
    }
    return ServingSpec.model_validate(raw)


def valid_specs() -> st.SearchStrategy[ServingSpec]:
    return specs().filter(lambda spec: not errors(validation.validate(spec)))


def inference_pool(*specs: ServingSpec, **metadata: str) -> dict[str, Any]:
    """An InferencePool that selects the Pods of the first serving, with the ports of all; without
    the name of a serving."""
    ports = dict.fromkeys(entry_port(one) or one.port for one in specs)
    named = {"name": f"{specs[0].name}-pool", "namespace": specs[0].namespace, **metadata}
    return {
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": named,
        "spec": {
            "selector": {"matchLabels": {SERVING_LABEL: specs[0].name}},
            "targetPorts": [{"number": one} for one in ports],
            "endpointPickerRef": {"name": f"{named['name']}-epp", "port": {"number": 9002}},
        },
    }


def platform_with_pool(platform: PlatformSettings, *specs: ServingSpec) -> PlatformSettings:
    """The platform; if one of these specs of a serving needs it, with an HTTPRoute, and with an
    InferencePool of the serving."""
    if all(one.load_balancing != load_balancing.PREFIX_AWARE for one in specs):
        return platform
    engines = Engines(frozenset({POOL_GROUP}), pools=(inference_pool(*specs),))
    return replace(platform, host="serve.example.com", route=RouteKind.HTTP_ROUTE, engines=engines)


platforms = st.builds(
    PlatformSettings,
    host=st.sampled_from(["", "serve.example.com"]),
    route=st.sampled_from(RouteKind),
    gateway=st.just("gateways/main"),
    ingress_class=st.sampled_from(["", "nginx"]),
    ingress_annotations=st.sampled_from([{}, {"haproxy.org/path-rewrite": "/"}]),
    tls_secret=st.sampled_from(["", "serve-tls"]),
    model_cache=st.one_of(st.just(""), labels()),
)
