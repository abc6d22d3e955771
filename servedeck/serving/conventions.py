"""Names that servedeck gives to the parts of the servings that it creates."""

from __future__ import annotations

SERVING_LABEL = "servedeck.dev/serving"
TEMPLATE_LABEL = "servedeck.dev/template"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
FIELD_MANAGER = "servedeck"
"""Value of the managed-by label and name of our field manager."""
DESCRIPTION_ANNOTATION = "servedeck.dev/description"
METRICS_ANNOTATION = "servedeck.dev/metrics"
"""What a custom inference server calls its metrics: "requests=my_total latency=my_seconds"."""
OBJECTIVES_ANNOTATION = "servedeck.dev/objectives"
"""Targets of a serving: "p95=2s ttft=500ms errors=1%"."""
REVISION_LABEL = "servedeck.dev/revision-of"
"""On the Deployment of a second revision of a serving: the name of that serving, whose endpoint it
shares by a traffic split."""
REVISION_BASE_ANNOTATION = "servedeck.dev/revision-base"
"""On the same Deployment: digests of the values that the serving had when the revision began."""
ASYNC_LABEL = "servedeck.dev/async-queue-of"
"""Name of the serving, on the objects of its async gateway: they are no serving of their own."""
ASYNC_SUFFIX = "-async"
"""What the names of the gateway's Deployment and Service have after that of the serving."""
ASYNC_SERVICE_LABEL = "servedeck.dev/async-queue-service"
"""On an Ingress that leads to an async gateway: the Service and port in whose place the gateway is,
"llama.80", so that the Ingress still counts as a route of the serving."""

INFERENCE_CONTAINER = "inference-server"
TRANSFORMER_CONTAINER = "transformer"

HTTP_PORT_NAME = "http"
TRANSFORMER_PORT_NAME = "transformer"
DEFAULT_INFERENCE_PORT = 8000
DEFAULT_TRANSFORMER_PORT = 8080
DEFAULT_TRANSFORMER_CPU = "100m"
DEFAULT_TRANSFORMER_MEMORY = "256Mi"
SERVICE_PORT = 80

MODEL_CACHE_VOLUME = "model-cache"
MODEL_CACHE_PATH = "/model-cache"
"""Of a new serving: outside the home of root, where another user, such as the random one that
OpenShift gives a Pod, could not write."""
ROOT_MODEL_CACHE_PATH = "/root/.cache/huggingface"
"""Of a serving that was made before there was a field for the path."""
SHARED_MEMORY_VOLUME = "dshm"
SHARED_MEMORY_PATH = "/dev/shm"  # noqa: S108 -- a mount in the container, not a file of ours
PREDICTOR_URL_ENV = "PREDICTOR_URL"
"""Variable with the inference server's URL, for a transformer."""
MAX_STARTUP_SECONDS = 24 * 3600
"""Longest time that servedeck lets a start-up probe allow."""

POOL_GROUP, ALPHA_POOL_GROUP = "inference.networking.k8s.io", "inference.networking.x-k8s.io"
"""API groups of InferencePools: v1 of the Gateway API Inference Extension, v1alpha2 before it."""
GATEWAY_API_GROUP, ISTIO_GROUP = "gateway.networking.k8s.io", "networking.istio.io"
"""API groups of the two kinds of Gateway, and of the routes that are attached to each."""
OPENSHIFT_ROUTE_GROUP = "route.openshift.io"
