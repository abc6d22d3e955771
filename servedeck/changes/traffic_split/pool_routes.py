"""The HTTPRoutes that send requests of a serving to an InferencePool: its endpoint picker chooses
among the Pods of the serving, so that the weights of Services say nothing."""

from __future__ import annotations

from collections.abc import Iterator

from servedeck.changes.live_objects import LiveObjects
from servedeck.serving.spec.mapping.inference_pools import RuleBackend, pool_backends, pools_of
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str
from servedeck.serving.text import one_line, sanitize


def pool_routes(live: LiveObjects) -> Iterator[JsonObject]:
    """Those routes, once for each such backend."""
    yield from (one.route for one in _pool_backends(live))


def pool_problem(live: LiveObjects) -> str:
    """Why the requests are not divided by weights, one sentence, sanitized; "" without such a
    route."""
    for one in _pool_backends(live):
        route = as_str(as_mapping(one.route, "metadata").get("name"))
        return one_line(
            sanitize(
                f"HTTPRoute {route} sends to InferencePool {as_str(one.ref.get('name'))}, whose "
                "endpoint picker chooses the Pods; choose another load balancing to split the "
                "traffic."
            )
        )
    return ""


def _pool_backends(live: LiveObjects) -> list[RuleBackend]:
    pools = pools_of(live.objects[0], live.engines.pools) if live.objects else []
    return pool_backends(live.objects, pools)
