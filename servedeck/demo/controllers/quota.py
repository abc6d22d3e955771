"""ResourceQuotas: admission of Pods, and the amounts in use.

Source: kubernetes staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota/controller.go,
pkg/quota/v1/evaluator/core/pods.go.
"""

from __future__ import annotations

from fractions import Fraction

from servedeck.demo import event_messages
from servedeck.demo.api.status import StatusError
from servedeck.demo.controllers.base import ControllerContext, WorkQueue, quantity_or_zero
from servedeck.demo.controllers.scheduler import ResourceAmounts
from servedeck.demo.resources import PODS, RESOURCEQUOTAS, Resource
from servedeck.demo.store.changes import StoreChange
from servedeck.demo.store.objects import Json, Key, key_of
from servedeck.demo.store.store import ObjectStore
from servedeck.serving.quantity import format_quantity

_REQUIRED_WHEN_LIMITED = frozenset(
    ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
)


class QuotaUsage:
    """The limited amounts that the Pods of each quota's namespace use, kept as the Pods change."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._totals: dict[str, tuple[Json, ResourceAmounts]] = {}
        """Of each quota by uid: its limits, and the amounts in use."""
        store.subscribe(self._pod_changed, PODS)
        store.subscribe(self._quota_changed, RESOURCEQUOTAS)

    def reset(self) -> None:
        """Counts all again, after the store was loaded."""
        self._totals.clear()

    def used(self, quota: Json) -> ResourceAmounts:
        """The amounts in use, by the names that the quota limits."""
        uid, limits = quota["metadata"]["uid"], (quota.get("spec") or {}).get("hard") or {}
        known = self._totals.get(uid)
        if known is None or known[0] != limits:
            known = self._totals[uid] = limits, self._count(quota, _parse_amounts(limits))
        return known[1]

    def _count(self, quota: Json, hard: ResourceAmounts) -> ResourceAmounts:
        total: ResourceAmounts = dict.fromkeys(hard, Fraction(0))
        for pod in self._store.list(PODS, quota["metadata"]["namespace"]):
            if _is_counted(pod):
                _add_usage(total, pod, 1)
        return total

    def _pod_changed(self, change: StoreChange) -> None:
        before = change.old is not None and _is_counted(change.old)
        after = change.type != "DELETED" and _is_counted(change.object)
        if before == after:  # what a Pod uses never changes
            return
        for quota in self._store.list(RESOURCEQUOTAS, change.object["metadata"]["namespace"]):
            if known := self._totals.get(quota["metadata"]["uid"]):
                _add_usage(known[1], change.object, 1 if after else -1)

    def _quota_changed(self, change: StoreChange) -> None:
        if change.type == "DELETED":
            self._totals.pop(change.object["metadata"]["uid"], None)

    def admit_pod(
        self,
        store: ObjectStore,
        resource: Resource,
        new: Json,
        old: Json | None,
        subresource: str,
    ) -> None:
        """Admission hook: StatusError 403 for a new Pod that exceeds a quota of its namespace."""
        if resource is not PODS or old is not None:
            return
        meta = new["metadata"]
        for quota in store.list(RESOURCEQUOTAS, meta["namespace"]):
            hard = _parse_amounts((quota.get("spec") or {}).get("hard") or {})
            asked = _pod_usage(new, hard)
            missing = sorted(
                name for name in hard if name in _REQUIRED_WHEN_LIMITED and name not in asked
            )
            if missing:
                what = "; ".join(
                    f"{name} for: {_containers_without(new, name)}" for name in missing
                )
                raise _forbidden_error(meta, event_messages.QUOTA_MUST_SPECIFY, quota, what=what)
            used = self.used(quota)
            over = sorted(
                n for n, a in asked.items() if a and used.get(n, Fraction(0)) + a > hard[n]
            )
            if over:
                raise _forbidden_error(
                    meta,
                    event_messages.QUOTA_EXCEEDED,
                    quota,
                    requested=_format_amounts(asked, over),
                    used=_format_amounts(used, over),
                    limited=_format_amounts(hard, over),
                )


class QuotaController:
    """Keeps `status.used` of every ResourceQuota."""

    def __init__(self, context: ControllerContext, usage: QuotaUsage) -> None:
        self._store = context.store
        self._usage = usage
        self._queue = WorkQueue(context.clock, self._sync)
        context.store.subscribe(self._pod_changed, PODS)
        context.store.subscribe(self._quota_changed, RESOURCEQUOTAS)

    def resync(self) -> None:
        self._usage.reset()
        for quota in self._store.list(RESOURCEQUOTAS):
            self._queue.add(key_of(quota))

    def _pod_changed(self, change: StoreChange) -> None:
        if change.type == "MODIFIED" and _phase(change.object) == _phase(change.old or {}):
            return
        for quota in self._store.list(RESOURCEQUOTAS, change.object["metadata"]["namespace"]):
            self._queue.add(key_of(quota), 0.1)

    def _quota_changed(self, change: StoreChange) -> None:
        if change.type != "DELETED":
            self._queue.add(key_of(change.object))

    def _sync(self, key: Key) -> None:
        quota = self._store.find(RESOURCEQUOTAS, *key)
        if quota is None:
            return
        hard = (quota.get("spec") or {}).get("hard") or {}
        used = self._usage.used(quota)
        status = {
            "hard": dict(hard),
            "used": {
                name: _format_amount(name, used.get(name, Fraction(0))) for name in sorted(hard)
            },
        }

        def write(obj: Json) -> None:
            obj["status"] = status

        self._store.mutate(RESOURCEQUOTAS, *key, write, "status")


def _is_counted(pod: Json) -> bool:
    return _phase(pod) not in ("Succeeded", "Failed")


def _add_usage(total: ResourceAmounts, pod: Json, sign: int) -> None:
    for name, value in _pod_usage(pod, total).items():
        total[name] += sign * value


def _pod_usage(pod: Json, hard: ResourceAmounts) -> ResourceAmounts:
    """The limited amounts that one Pod uses."""
    usage: ResourceAmounts = {}
    for name in hard:
        if name in ("pods", "count/pods"):
            usage[name] = Fraction(1)
            continue
        kind, dot, rest = name.partition(".")
        if dot and kind in ("requests", "limits"):
            field, resource = kind, rest
        elif name in ("cpu", "memory", "ephemeral-storage"):
            field, resource = "requests", name
        else:
            continue
        found = [
            value
            for container in (pod.get("spec") or {}).get("containers") or ()
            if (value := _container_amount(container, field, resource)) is not None
        ]
        if found or resource not in ("cpu", "memory"):
            usage[name] = sum(found, Fraction(0))
    return usage


def _container_amount(container: Json, field: str, resource: str) -> Fraction | None:
    resources = container.get("resources") or {}
    value = (resources.get(field) or {}).get(resource)
    if value is None and field == "requests":
        value = (resources.get("limits") or {}).get(resource)
    return None if value is None else quantity_or_zero(value)


def _containers_without(pod: Json, name: str) -> str:
    kind, dot, rest = name.partition(".")
    field, resource = (kind, rest) if dot else ("requests", name)
    containers = (pod.get("spec") or {}).get("containers") or ()
    return ",".join(c["name"] for c in containers if _container_amount(c, field, resource) is None)


def _forbidden_error(meta: Json, text: str, quota: Json, **values: str) -> StatusError:
    name = meta.get("name") or ""
    message = text.format(pod=name, quota=quota["metadata"]["name"], **values)
    return StatusError(403, "Forbidden", message, details={"name": name, "kind": "pods"})


def _format_amounts(amounts: ResourceAmounts, names: list[str]) -> str:
    return ",".join(f"{name}={_format_amount(name, amounts[name])}" for name in names)


def _parse_amounts(named: Json) -> ResourceAmounts:
    return {name: quantity_or_zero(value) for name, value in named.items()}


def _format_amount(name: str, value: Fraction) -> str:
    return format_quantity(value, binary=name.endswith(("memory", "storage")))


def _phase(pod: Json) -> str:
    return str((pod.get("status") or {}).get("phase", ""))
