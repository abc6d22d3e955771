"""Known errors in logs: the model and its files, the Hugging Face Hub, the server's options."""

from __future__ import annotations

from servedeck.serving.status.log_error import LogError

_VLLM = "https://github.com/vllm-project/vllm/issues/"
_GRANT_ACCESS = (
    "Set HF_TOKEN from a Secret, with the token of an account that has access to the model."
)
_OFFLINE = (
    "Check the cluster's DNS, proxy (HTTPS_PROXY) and network policies, set HF_ENDPOINT to a "
    "mirror, or load the model from a volume."
)

# fmt: off
ACCESS_ERRORS: tuple[LogError, ...] = (
    LogError(
        "gated-model-not-granted",
        r"Access to model (?P<model>\S{1,120}) is restricted and you are not in the authorized",
        "No access to the model",
        "may not read the gated model {model}: the account of its token has no access",
        "Request access at https://huggingface.co/{model}, or use the token of another account.",
        "https://github.com/ariG23498/gemma3-object-detection/issues/5", ("authorized list",),
    ),
    LogError(
        "gated-model",
        r"Cannot access gated repo for url https?://[^/\s]+/(?:api/models/)?(?P<model>[\w.-]+/"
        r"[\w.-]+)|Access to model (?P<named>\S{1,120}) is restricted|GatedRepoError: 40[13] Client"
        r"|You are trying to access a gated repo",
        "Gated model without a token",
        "may not read the gated model[ {model}][ {named}]: it sent no token that has access",
        _GRANT_ACCESS,
        "https://github.com/McGill-NLP/llm2vec/issues/130",
        ("gated repo", "is restricted", "GatedRepoError"),
    ),
    LogError(
        "invalid-token",
        r"Invalid credentials in Authorization header|Invalid user token",
        "Invalid Hugging Face token",
        "sent a Hugging Face token that is not valid",
        "Replace the value of HF_TOKEN: it is expired, revoked or incomplete.",
        "huggingface_hub 0.36 utils/_http.py", ("Invalid credentials in", "Invalid user token"),
    ),
    LogError(
        "model-not-found",
        r"(?P<model>\S{1,200}) is not a local folder and is not a valid model identifier"
        r"|Repository Not Found for url: https?://[^/\s]+/(?:api/models/)?(?P<named>[\w.-]+(?:/"
        r"[\w.-]+)?)/(?:resolve|revision)/",
        "Model not found",
        "cannot find the model[ {model}][ {named}] on the Hugging Face Hub, or may not see it",
        "Correct the name of the model, or set HF_TOKEN if its repository is private.",
        "https://github.com/vast-ai/base-image/issues/128",
        ("is not a local folder", "Repository Not Found"),
    ),
    LogError(
        "model-path-not-found",
        r"Repo id must be in the form '[^']{1,40}' or '[^']{1,40}': '(?P<path>[^']{1,200})'",
        "Model path not found",
        "cannot find a model at {path}",
        "Correct the path of the model, or mount the volume that holds it.",
        "https://github.com/gpustack/gpustack/issues/1268", ("Repo id must be in the form",),
    ),
)
"""A model that the Hub does not give out."""

MODEL_ERRORS: tuple[LogError, ...] = (
    LogError(
        "damaged-weights",
        r"SafetensorError: Error while deserializing(?: header)?: (?P<why>\w[\w ]{0,80})",
        "Damaged model file",
        "cannot read a file of the model, which is damaged or incomplete ({why})",
        "Delete the model from the volume of its cache, so that it is downloaded again.",
        "https://github.com/QwenLM/Qwen3-VL/issues/264", ("SafetensorError",),
    ),
    LogError(
        "no-weights",
        r"Cannot find any model weights with [`'](?P<model>[^`']{1,200})[`']",
        "No model weights",
        "found no weights of the model at {model}",
        "Correct the path of the model, or --load-format.",
        _VLLM + "3329", ("Cannot find any model weights",),
    ),
    LogError(
        "model-file-missing",
        r"(?P<model>\S{1,200}) does not appear to have a file named (?P<file>[\w.-]{1,80}\w)",
        "Model file missing",
        "found no file {file} in {model}",
        "Correct the path or revision of the model; an adapter needs its base model.",
        _VLLM + "4416", ("does not appear to have a file",),
    ),
    LogError(
        "artifact-mismatch",
        r"No FXB found in '(?P<model>[^']{1,200})', and the local cache only has "
        r"|\.fxb files in '(?P<named>[^']{1,200})' but none match the current npu-tools revision",
        "Artifact of another version",
        "found no artifact of the model[ {model}][ {named}] for this version of furiosa-llm",
        "Use the image of the version that the artifact was built with, or build it again.",
        "furiosa-llm 2026.4.0, furiosa_llm/api.py and utils.py",
        ("No FXB found", "none match the current"),
    ),
    LogError(
        "artifact-missing",
        r"No \.fxb files found in '(?P<model>[^']{1,200})'|'(?P<named>[^']{1,200})' contains no "
        r"\.fxb file",
        "No artifact",
        "found no artifact of furiosa-llm in[ {model}][ {named}]",
        "Use a repository that holds a furiosa-llm artifact, or name one with --fxb.",
        "furiosa-llm 2026.4.0, furiosa_llm/utils.py", ("No .fxb files found", "contains no .fxb"),
    ),
    LogError(
        "remote-code",
        r"(?:repository (?:for )?(?P<model>\S{1,120}) )?contains custom code which must be executed"
        r"|requires you to execute (?:execute )?(?:some|the) (?:code|configuration file) in that"
        r"|Please pass the argument `trust_remote_code=True`",
        "Model code not trusted",
        "must run code from the repository of its model[ {model}], which is not allowed",
        "Add --trust-remote-code, if you trust the repository.",
        "https://github.com/runpod-workers/worker-vllm/issues/43",
        ("contains custom code", "requires you to execute", "the argument `trust_remote"),
    ),
    LogError(
        "transformers-too-old",
        r"has model type [`']?(?P<type>[\w-]{1,60})[`']? but Transformers does not recognize",
        "Model type not supported",
        "does not know the model type {type}",
        "Use a newer image, or one with a newer version of Transformers.",
        _VLLM + "13579", ("but Transformers does not",),
    ),
    LogError(
        "unsupported-architecture",
        r"Model architectures \[(?P<names>[^\]]{1,160})\] are not supported for now",
        "Architecture not supported",
        "does not support the model's architecture {names}",
        "Use a newer image, or another server for this model.",
        _VLLM + "10481", ("Model architectures",),
    ),
    LogError(
        "quantization-mismatch",
        r"Quantization method specified in the model config \((?P<model>[^)]{1,60})\) does not "
        r"match the quantization method specified in the `?quantization`? argument "
        r"\((?P<given>[^)]{1,60})\)",
        "Wrong quantization",
        "is started with --quantization {given}, but the model is quantized with {model}",
        "Remove --quantization, or set it to {model}.",
        _VLLM + "5842", ("Quantization method specified",),
    ),
    LogError(
        "model-length-over-model",
        r"max_model_len \((?P<length>\d+)\) is greater than the derived max_model_len "
        r"\([^)]{0,200}?=(?P<limit>\d+)",
        "Model length too long",
        "is started with --max-model-len {length}, but the model supports {limit} tokens",
        "Lower --max-model-len to at most {limit}, or remove it.",
        _VLLM + "3676", ("greater than the derived",),
    ),
    LogError(
        "model-length-over-artifact",
        r"requested max_model_len=(?P<length>\d+) exceeds (?:max_position_embeddings=)?"
        r"(?P<limit>\d+)",
        "Model length too long",
        "is started with --max-model-len {length}, but the model supports {limit} tokens",
        "Lower --max-model-len to at most {limit}, or remove it.",
        "furiosa-llm-native 2026.4.0, furiosa-generator", ("requested max_model_len=",),
    ),
    LogError(
        "batched-tokens",
        r"max_num_batched_tokens \((?P<tokens>\d+)\) is smaller than max_model_len "
        r"\((?P<length>\d+)\)",
        "Too few batched tokens",
        "is started with --max-num-batched-tokens {tokens}, less than --max-model-len {length}",
        "Raise --max-num-batched-tokens, lower --max-model-len, or add --enable-chunked-prefill.",
        "vLLM 0.10 vllm/config/scheduler.py", ("is smaller than max_model_len",),
    ),
)
"""The model's files, and what the server makes of them."""

OPTION_ERRORS: tuple[LogError, ...] = (
    LogError(
        "unknown-argument",
        r"error: unrecognized arguments: (?P<arguments>\S.{0,160})",
        "Unknown argument",
        "does not know the arguments {arguments}",
        "Correct the command: a wrong name, an option of another version, or one that is written "
        "twice.",
        _VLLM + "8273", ("unrecognized arguments",),
    ),
    LogError(
        "invalid-argument",
        r"error: argument (?P<argument>[\w/, -]{1,80}): (?P<why>.{1,160})",
        "Invalid argument",
        "rejected the argument {argument}: {why}",
        "Correct the command.",
        "Python 3.12 Lib/argparse.py", ("error: argument ",),
    ),
    LogError(
        "missing-argument",
        r"error: the following arguments are required: (?P<arguments>\S.{0,160})",
        "Missing argument",
        "was started without the arguments {arguments}",
        "Correct the command.",
        "Python 3.12 Lib/argparse.py", ("arguments are required",),
    ),
    LogError(
        "port-in-use",
        r"(?i:error while attempting to bind on address \('[^']{0,80}', (?P<port>\d+)[^)]{0,20}\): "
        r"(?:\[errno 98\] )?address already in use)|\[Errno 98\] Address already in use"
        r"|(?:port: (?P<named>\d+), useIpv6: \w+, )?code: -98, name: EADDRINUSE"
        r"|Socket '(?P<socket>[^']{1,80})' already in use",
        "Port in use",
        "cannot listen[ on port {port}][ on port {named}][ on {socket}]: the address is in use",
        "Change --port, or the port of the other container or process in the Pod; with hostNetwork,"
        " of the node.",
        _VLLM + "8638", ("already in use", "EADDRINUSE"),
    ),
    LogError(
        "cache-not-writable",
        r"PermissionError: \[Errno 13\] Permission denied: '(?P<path>[^']{1,200})'"
        r"|PermissionError at (?P<named>/\S{1,200}) when downloading",
        "Permission denied",
        "may not write or read[ {path}][ {named}] (permission denied)",
        "Set HF_HOME and HOME to a volume that its user may write, or set fsGroup.",
        "https://github.com/opendatahub-io/ilab-on-ocp/pull/26", ("PermissionError",),
    ),
    LogError(
        "missing-module",
        r"ModuleNotFoundError: No module named '(?P<module>[\w.]{1,100})'",
        "Python module missing",
        "has no Python module {module}",
        "Use an image that contains it.",
        _VLLM + "22072", ("No module named",),
    ),
)
"""The server's options and its container."""

NETWORK_ERRORS: tuple[LogError, ...] = (
    LogError(
        "hub-certificate",
        r"CERTIFICATE_VERIFY_FAILED\] certificate verify failed: (?P<why>[\w -]{1,100}\w)",
        "Certificate not trusted",
        "does not trust the certificate of a server ({why})",
        "Mount the certificate of your proxy's authority, and set REQUESTS_CA_BUNDLE and "
        "SSL_CERT_FILE to it.",
        "https://github.com/Stability-AI/stable-virtual-camera/issues/23",
        ("CERTIFICATE_VERIFY_FAILED",),
    ),
    LogError(
        "proxy",
        r"Unable to connect to proxy|Cannot connect to proxy|Tunnel connection failed: "
        r"(?P<why>[\w ]{1,60})",
        "Proxy not usable",
        "cannot connect through its proxy[: {why}]",
        "Correct HTTPS_PROXY and NO_PROXY.",
        "urllib3 2.5 connectionpool.py", ("connect to proxy", "Tunnel connection failed"),
    ),
    LogError(
        "dns",
        r"Failed to resolve \\?'(?P<host>[\w.-]{1,120})|Could not resolve host: (?P<named>[\w.-]"
        r"{1,120}\w)|Temporary failure in name resolution",
        "Name not resolved",
        "cannot resolve the name[ {host}][ {named}]",
        _OFFLINE, "https://github.com/agent0ai/agent-zero/issues/1531",
        ("Failed to resolve", "Could not resolve host", "failure in name resolution"),
    ),
    LogError(
        "hub-rate-limit",
        r"429 Client Error: Too Many Requests for [Uu][Rr][Ll]: https?://(?P<host>[\w.-]{1,80})"
        r"|\(429 Too Many Requests\) for url \(https?://(?P<named>[\w.-]{1,80})",
        "Rate limit of the Hub",
        "was refused by[ {host}][ {named}] for too many requests (429)",
        "Set HF_TOKEN, whose limit is higher, or load the model from a volume.",
        "https://github.com/huggingface/transformers/issues/34841", ("Too Many Requests",),
    ),
    LogError(
        "hub-not-reached",
        r"cannot find the requested files in the (?:local|disk) cache"
        r"|We couldn't connect to '(?P<host>https?://[^']{1,80})'|OfflineModeIsEnabled: "
        r"|Cannot find an appropriate cached snapshot folder",
        "Hub not reached",
        "cannot reach the Hugging Face Hub[ at {host}], and the model is not in its cache",
        _OFFLINE, "https://github.com/kserve/kserve/pull/3456",
        ("the requested files in", "We couldn't connect", "OfflineModeIsEnabled",
         "appropriate cached snapshot"),
    ),
)
"""The network to the Hub: symptoms of no error above."""

TRITON_ERRORS: tuple[LogError, ...] = (
    LogError(
        "triton-engine-version",
        r"failed to load '(?P<model>[^']{1,100})' version (?P<version>\d+): .{0,160}?(?:Failed to "
        r"deserialize cuda engine|library version (?P<found>[\d.]+) got (?P<got>[\d.]+))",
        "Engine of another version",
        "cannot load the TensorRT engine of {model}, which was built for another version",
        "Build the engine again with the TensorRT version and GPU of the image.",
        "https://github.com/triton-inference-server/tensorrtllm_backend/issues/424",
        ("failed to load '",),
    ),
    LogError(
        "triton-model",
        r"failed to load '(?P<model>[^']{1,100})' version (?P<version>\d+): (?P<why>.{1,200})",
        "Model not loaded",
        "cannot load the model {model}: {why}",
        "Correct the model or its config.pbtxt in the model repository.",
        "https://github.com/triton-inference-server/tensorrtllm_backend/issues/424",
        ("failed to load '",),
    ),
    LogError(
        "triton-models",
        r"creating server: Internal - failed to load all models",
        "Models not loaded",
        "cannot load all models of its model repository",
        "Find the first error of a model above this line, and correct that model.",
        "https://github.com/triton-inference-server/server/issues/7950",
        ("failed to load all models",),
    ),
)
"""Triton Inference Server, if no error above explains it."""
# fmt: on
