"""Errors of sources of metrics."""

from __future__ import annotations

from servedeck.cluster.http.errors import ClusterError


class MetricsError(ClusterError):
    """A source of metrics does not answer, or not with metrics; str() is one sentence."""
