"""The table of known servers of speech, images and embeddings (`servers.kinds`)."""

from __future__ import annotations

from servedeck.serving.servers.kind import ServerKind

MEDIA_SERVER_KINDS = (
    ServerKind(
        "speaches",
        "https://github.com/speaches-ai/speaches: Dockerfile",
        images=("speaches", "faster-whisper-server"),
        model_env=("WHISPER__MODEL",),
        port_env=("UVICORN_PORT",),
    ),
    ServerKind(
        "whisper.cpp",
        "https://github.com/ggml-org/whisper.cpp: examples/server/README.md",
        programs=("whisper-server",),
        model_flags=("--model", "-m"),
        port=8080,
    ),
    ServerKind(
        "whisper-asr",
        "https://github.com/ahmetoner/whisper-asr-webservice: docs/environmental-variables.md",
        images=("whisper-asr-webservice",),
        model_env=("ASR_MODEL",),
        port=9000,
        port_flags=(),
    ),
    ServerKind(
        "kokoro",
        "https://github.com/remsky/Kokoro-FastAPI: README.md (8880)",
        images=("kokoro-fastapi",),
        model_flags=(),
        port=8880,
    ),
    ServerKind(
        "openedai-speech",
        "https://github.com/matatonic/openedai-speech: README.md (8000)",
        images=("openedai-speech",),
        model_flags=(),
    ),
    ServerKind(
        "riva",
        "https://docs.nvidia.com/deeplearning/riva/user-guide/docs/installation/deploy-kubernetes "
        "(start-riva --riva-uri, gRPC at 50051)",
        images=("riva-speech",),
        programs=("start-riva", "riva_server"),
        model_flags=(),
        port=50051,
        port_flags=("--riva-uri",),
        is_grpc=True,
    ),
    ServerKind(
        "stable-diffusion.cpp",
        "https://github.com/leejet/stable-diffusion.cpp: examples/server/README.md",
        programs=("sd-server",),
        model_flags=("--model", "-m", "--diffusion-model"),
        port=1234,
        port_flags=("--listen-port",),
    ),
    ServerKind(
        "weaviate-transformers",
        "https://docs.weaviate.io/weaviate/model-providers/transformers (8080)",
        images=(
            "semitechnologies/transformers-inference",
            "semitechnologies/multi2vec-clip",
            "semitechnologies/reranker-transformers",
        ),
        model_flags=(),
        port=8080,
    ),
    ServerKind(
        "clip-server",
        "https://clip-as-service.jina.ai/user-guides/server (51000, gRPC)",
        images=("jinaai/clip-server",),
        modules=("clip_server",),
        model_flags=(),
        port=51000,
        is_grpc=True,
    ),
    ServerKind(
        "roboflow-inference",
        "https://inference.roboflow.com/install (9001)",
        images=("roboflow-inference-server",),
        model_flags=(),
        port=9001,
    ),
)
