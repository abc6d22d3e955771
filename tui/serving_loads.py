"""The load of the servings of a dialog at the moment, in sentences that come after the plan."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic

from servedeck.changes.operations.operation import OperationKind, OperationPlan
from servedeck.fleet.views import NamespacedName
from tui.ports.metrics_service import MetricsService

MAX_AGE = 30.0
"""Seconds after which a sentence is read again when the dialog is updated."""
CONCURRENT_READINGS = 8
"""Servings that are read at the same time."""

StartWorker = Callable[[Coroutine[None, None, None], str], object]


class ServingLoads:
    """The sentences of one dialog. Each is read when it is first asked for."""

    def __init__(
        self,
        service: Callable[[], MetricsService | None],
        start_worker: StartWorker,
        on_update: Callable[[], None],
    ) -> None:
        """`on_update` is called when a sentence has arrived or changed."""
        self._service = service
        self._start_worker = start_worker
        self._on_update = on_update
        self._sentences: dict[tuple[NamespacedName, bool], str] = {}
        self._begun: dict[tuple[NamespacedName, bool], float] = {}
        self._slots = asyncio.Semaphore(CONCURRENT_READINGS)

    def of_operation(self, plan: OperationPlan | None) -> str:
        """The sentence for the plan of an operation, "" if it ends no Pods, or none is known."""
        if plan is None or not plan.ends_pods:
            return ""
        key = NamespacedName(plan.operation.namespace, plan.operation.name)
        return self._find(key, is_pod=plan.operation.kind is OperationKind.DELETE_POD)

    def of_serving(self, key: NamespacedName) -> str:
        return self._find(key, is_pod=False)

    def _find(self, key: NamespacedName, *, is_pod: bool) -> str:
        """`key` is that of a serving, or of a Pod."""
        what = key, is_pod
        service = self._service()
        if service is not None and monotonic() - self._begun.get(what, -MAX_AGE) >= MAX_AGE:
            self._begun[what] = monotonic()
            self._start_worker(self._read(service, what), f"load {what}")
        return self._sentences.get(what, "")

    async def _read(self, service: MetricsService, what: tuple[NamespacedName, bool]) -> None:
        key, is_pod = what
        async with self._slots:
            if is_pod:
                loads = service.read_pod_load(key.namespace, key.name)
            else:
                loads = service.read_load(key)
            async for load in loads:
                if load.sentence != self._sentences.get(what, ""):
                    self._sentences[what] = load.sentence
                    self._on_update()
