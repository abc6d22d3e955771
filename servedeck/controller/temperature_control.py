"""Applies the temperature policies: reads the temperatures, decides, and writes the conditions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.lease import server_time
from servedeck.controller.condition_writer import ConditionWriter
from servedeck.controller.groups import PodGroup, PodGroups
from servedeck.controller.metrics import ControllerMetrics
from servedeck.controller.records import GatedPod
from servedeck.controller.temperatures import PodName, Temperatures
from servedeck.serving.temperature import (
    Decision,
    PolicyPod,
    TemperaturePolicyError,
    decide,
    decide_off,
    parse_policy,
)

AT_ONCE = 8
"""Groups whose conditions are written at the same time."""
RETRY_SECONDS = 2.0
"""After a condition could not be written."""

_log = logging.getLogger(__name__)


class TemperatureControl:
    """One group is decided on by one task at a time, as two at once could each keep another Pod."""

    def __init__(
        self,
        connection: Connection,
        groups: PodGroups,
        temperatures: Temperatures,
        writer: ConditionWriter,
        metrics: ControllerMetrics,
        may_act: Callable[[], bool],
        interval: float,
    ) -> None:
        """`may_act` is asked before each write. `interval` in seconds, between two queries."""
        self._connection = connection
        self._groups = groups
        self._temperatures = temperatures
        self._writer = writer
        self._metrics = metrics
        self._may_act = may_act
        self._interval = interval
        self._has_read = asyncio.Event()
        self._is_count_due = False
        """With each query, as it takes a look at all Pods."""
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Apply the policies until cancelled."""
        self._temperatures.forget()
        self._has_read.clear()
        self._groups.mark_all()
        self._metrics.leader.set(1)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read_temperatures())
                group.create_task(self._follow_changes())
        finally:
            self._metrics.leader.set(0)
            self._metrics.set_pods(())
            self._metrics.known.set(0)

    async def _read_temperatures(self) -> None:
        while True:
            if not await self._temperatures.read():
                self._metrics.queries_failed.inc()
            self._metrics.known.set(len(self._temperatures.current))
            # What the controller before this one has decided is not to be undone just because this
            # one has not asked yet.
            self._has_read.set()
            self._is_count_due = True
            self._groups.mark_all()
            await asyncio.sleep(self._interval)

    async def _follow_changes(self) -> None:
        await self._has_read.wait()
        while True:
            await self._groups.changed.wait()
            if not self._groups.is_synced:
                self._groups.changed.clear()  # the next list sets it again
                continue
            keys = self._groups.take_changed()
            await asyncio.gather(*map(self._apply, keys))
            if self._is_count_due:
                self._is_count_due = False
                self._count_pods()

    def _count_pods(self) -> None:
        pods = list(self._groups.gated_pods())
        self._writer.keep_only({one.metadata.uid for one in pods})
        states = map(self._writer.state_of, pods)
        self._metrics.set_pods(one.reason for one in states if one is not None)

    async def _apply(self, key: str) -> None:
        async with self._slots:
            group = self._groups.find(key)
            if group is None:
                return
            decisions = self._decide(group)
            changed = [
                (pod, decision)
                for pod in group.pods
                if (decision := decisions.get(pod.metadata.uid)) is not None
                and not decision.is_told_by(self._writer.state_of(pod))
                # While the Pods are not watched, others may be ready no more.
                and (decision.passes or not self._groups.problem)
            ]
            if not changed or not self._may_act():
                return
            done = await asyncio.gather(*(self._writer.write(*one) for one in changed))
        if not all(done):
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._groups.mark, key)

    def _decide(self, group: PodGroup) -> Mapping[str, Decision]:
        temperatures = self._temperatures.current
        pods = [self._describe(one, temperatures) for one in group.pods]
        if group.policy is None:
            return decide_off(pods, "the Pod belongs to no Deployment, which would have the policy")
        try:
            policy = parse_policy(group.policy)
        except TemperaturePolicyError as error:
            return decide_off(pods, f"the policy of the Deployment cannot be used: {error}")
        if policy is None:
            return decide_off(pods, "the Deployment has no temperature policy")
        return decide(policy, pods, server_time(self._connection))

    def _describe(self, pod: GatedPod, temperatures: Mapping[PodName, float]) -> PolicyPod:
        meta, state = pod.metadata, self._writer.state_of(pod)
        is_open = not pod.has_gate or (state is not None and state.passes)
        return PolicyPod(
            meta.uid,
            pod.has_gate,
            pod.is_ready and is_open,
            pod.could_be_ready,
            temperatures.get((meta.namespace, meta.name)),
            state,
        )
