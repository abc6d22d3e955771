"""The note of how many replicas a serving had before it was scaled to 0, for its start."""

from __future__ import annotations

from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, child_mapping

STOPPED_REPLICAS_ANNOTATION = "servedeck.dev/replicas-before-stop"
"""Number of replicas that a serving had before it was scaled to 0, for its start."""


def note_stopped_replicas(deployment: JsonObject, now: int, wanted: int) -> None:
    """Write or remove the note in a Deployment that is scaled from `now` to `wanted` replicas: the
    one rule for every change of the replicas."""
    annotations = dict(as_mapping(deployment, "metadata", "annotations"))
    if now and not wanted:
        annotations[STOPPED_REPLICAS_ANNOTATION] = str(now)
    elif wanted:
        annotations.pop(STOPPED_REPLICAS_ANNOTATION, None)
    if annotations or "annotations" in child_mapping(deployment, "metadata"):
        deployment["metadata"]["annotations"] = annotations
