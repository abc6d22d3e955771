"""Every kind that the core supports."""

from __future__ import annotations

from servedeck.cluster.watch import kinds

ALL_KINDS = tuple(each for each in vars(kinds).values() if isinstance(each, kinds.ResourceKind))
