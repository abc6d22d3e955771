"""The InferencePools of a cluster, by the names that routes have for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from servedeck.fleet.index import RecordIndex, any_pool, http_route_backends, pool_name, record_uid
from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects.pool_records import Pool, selects
from servedeck.serving.objects.records import HTTPRoute
from servedeck.serving.route_candidates import pool_key
from servedeck.serving.spec.mapping.inference_pools import PoolKey


class PoolChange(NamedTuple):
    """What a change of a pool concerns."""

    before: Pool | None
    """As it was; None if it was not known."""
    is_known: bool
    """Whether it is known now."""
    is_same: bool
    """Whether routes to it lead to the same Pods as before, as well."""


class PoolIndex:
    """The known pools, and which routes lead to others."""

    def __init__(self, routes: RecordIndex[HTTPRoute, NamespacedName]) -> None:
        self._routes = routes
        self._pools: dict[str, dict[PoolKey, Pool]] = {}
        """By namespace."""
        self._unknown: dict[str, tuple[HTTPRoute, ...]] = {}
        """By namespace: the routes to pools that are not known, as far as they were asked for."""

    def in_namespace(self, namespace: str) -> Mapping[PoolKey, Pool]:
        """The known pools of a namespace."""
        return self._pools.get(namespace, {})

    def get(self, pool: PoolKey) -> Pool | None:
        """A known pool of this key."""
        return self.in_namespace(pool.namespace).get(pool)

    def names_for(self, namespace: str, labels: Mapping[str, str]) -> list[NamespacedName]:
        """Keys of the routes to the pools that select Pods with these labels."""
        pools = self.in_namespace(namespace).items()
        return [pool_name(key) for key, pool in pools if selects(pool, labels)]

    def routes_to_unknown(self, namespace: str) -> tuple[HTTPRoute, ...]:
        """The routes to pools of the namespace that are not known."""
        found = self._unknown.get(namespace)
        if found is None:
            known = {any_pool(namespace), *map(pool_name, self.in_namespace(namespace))}
            found = self._unknown[namespace] = tuple(
                route
                for route in self._routes.lookup(any_pool(namespace))
                if any(
                    name.namespace == namespace and "/" in name.name and name not in known
                    for name in http_route_backends(route)
                )
            )
        return found

    def note_routes(self, namespaces: Iterable[str]) -> None:
        """A route to pools of these namespaces was stored or deleted."""
        for one in namespaces:
            self._unknown.pop(one, None)

    def update(self, pool: Pool, *, deleted: bool) -> PoolChange:
        """Store or delete a pool. One that was created again before its deletion is reported
        stays."""
        key = pool_key(pool)
        known = self._pools.setdefault(key.namespace, {})
        before = known.get(key)
        if not deleted:
            known[key] = pool
        elif before is not None and record_uid(before) == record_uid(pool):
            del known[key]
        now = known.get(key)
        if not known:
            del self._pools[key.namespace]
        if (before is None) != (now is None):
            self._unknown.pop(key.namespace, None)
        is_same = before is not None and now is not None and _facts(before) == _facts(now)
        return PoolChange(before, now is not None, is_same)


def _facts(pool: Pool) -> tuple[object, ...]:
    return pool.selector, pool.ports, pool.status
