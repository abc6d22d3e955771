"""The ConfigMap with the platform's endpoint settings; see `servedeck.config`."""

from __future__ import annotations

from servedeck.cluster.resources import CONFIG_MAP
from servedeck.cluster.watch.kinds import ResourceKind
from servedeck.config import PLATFORM_CONFIGMAP
from servedeck.serving.objects.records import ObjectMeta, Record


class PlatformConfigMap(Record, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = {}


PLATFORM_CONFIGMAP_KIND = ResourceKind(
    CONFIG_MAP,
    PlatformConfigMap,
    field_selector=f"metadata.name={PLATFORM_CONFIGMAP}",
    optional=True,
)
