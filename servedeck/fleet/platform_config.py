"""The ConfigMap in which the platform tells where endpoints are; see `servedeck.config`."""

from __future__ import annotations

from servedeck.cluster.watch.kinds import Kind
from servedeck.config import PLATFORM_CONFIGMAP
from servedeck.serving.objects.records import Meta, Record


class PlatformConfig(Record, frozen=True):
    metadata: Meta = Meta()
    data: dict[str, str] = {}


PLATFORM = Kind(
    "configmaps",
    "",
    "v1",
    PlatformConfig,
    field_selector=f"metadata.name={PLATFORM_CONFIGMAP}",
    optional=True,
)
