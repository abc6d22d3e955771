"""What the parts of one gateway process share."""

from __future__ import annotations

from dataclasses import dataclass

from servedeck.gateway.feed_hub import FeedHub
from servedeck.gateway.identity import Identity
from servedeck.gateway.metrics import GatewayMetrics
from servedeck.gateway.objects import ObjectStore
from servedeck.gateway.settings import GatewaySettings
from servedeck.gateway.stores.store import TaskStore
from servedeck.gateway.upstreams.upstreams import Upstreams


@dataclass(frozen=True)
class GatewayContext:
    settings: GatewaySettings
    store: TaskStore
    identity: Identity
    objects: ObjectStore | None
    """Where large bodies are kept; None: in the store."""
    hub: FeedHub
    upstreams: Upstreams
    metrics: GatewayMetrics
