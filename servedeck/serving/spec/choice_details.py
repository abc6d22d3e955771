"""What the choices of the settings mean, in a few words each: for the picker and the cards.

Why waiting requests are the better trigger: the response time also grows with the length of the
answers, which no replica shortens. KServe (Autoscale InferenceService with LLM metrics) and the
vLLM production stack (Autoscaling with KEDA) scale by the requests that wait.
"""

from __future__ import annotations

from collections.abc import Mapping

from servedeck.serving.spec import load_balancing, scaling, temperature_policy

CHOICE_DETAILS: Mapping[str, Mapping[str, str]] = {
    "auto_scaling": {
        scaling.OFF: "Replicas stays as it is set",
        scaling.RESPONSE_TIME: "P95 of all requests; longer answers raise it, too",
        scaling.WAITING_REQUESTS: "per replica; they rise before users notice the load",
        scaling.CUSTOM: "a ScaledObject with other triggers, which are kept",
        scaling.HPA: "a HorizontalPodAutoscaler, whose metrics are kept",
    },
    "load_balancing": {
        load_balancing.OFF: "as the proxy does by itself",
        load_balancing.ROUND_ROBIN: "one Pod after the other",
        load_balancing.LEAST_REQUESTS: "the Pod with fewer requests; for answers of any length",
        load_balancing.RANDOM: "any Pod",
        load_balancing.HEADER: "the same value of a header, the same Pod: keeps its cache warm",
        load_balancing.PREFIX_AWARE: "the Pod whose cache has the prompt; needs an InferencePool",
        load_balancing.CUSTOM: "settings of others, which are kept",
    },
    "temperature_policy": {
        temperature_policy.OFF: "hot Pods get requests, too",
        temperature_policy.ON: "hot Pods get no requests until they have cooled down",
    },
}
"""By field and choice."""

RESPONSE_TIME_ADVICE = (
    "The response time also grows with the length of the answers; waiting-requests says that the "
    "servers are full before users feel it, as KServe and vLLM's production stack use it."
)


def choice_detail(field: str, choice: str) -> str:
    """What the choice of a field means; "" if there is nothing to say."""
    return CHOICE_DETAILS.get(field, {}).get(choice, "")
