"""Probes that are no HTTP request, as text: no field of a serving expresses them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from servedeck.serving.objects.secret_values import mask_arguments
from servedeck.serving.spec.mapping.json_values import as_list, as_mapping, as_str
from servedeck.serving.text import one_line, sanitize

PROBES_BY_FIELD = {
    "readiness_path": "readinessProbe",
    "liveness_path": "livenessProbe",
    "startup_path": "startupProbe",
}
"""Name of a field of a serving: that of the container's probe."""


def other_probe_text(container: Mapping[str, Any], field: str) -> str:
    """What the probe of a field does in place of an HTTP request, such as "command cat /tmp/ready",
    "TCP port 8000" or "gRPC port 8000", on one line, with what looks secret masked; "" for an HTTP
    request or no probe."""
    probe = as_mapping(container, PROBES_BY_FIELD[field])
    if as_mapping(probe, "httpGet").get("path"):
        return ""
    text = ""
    if command := as_list(as_mapping(probe, "exec").get("command")):
        text = f"command {shlex.join(as_str(one) for one in mask_arguments(command))}"
    elif target := as_mapping(probe, "tcpSocket"):
        text = f"TCP port {target.get('port')}"
    elif target := as_mapping(probe, "grpc"):
        text = f"gRPC port {target.get('port')}"
    elif probe:
        text = "a probe of another kind"
    return one_line(sanitize(text))
