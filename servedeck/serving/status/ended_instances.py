"""Instances of containers that ended and whose Pod does not say why, and what their logs say."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from servedeck.serving.objects.records import (
    ContainerState,
    ContainerStateTerminated,
    ContainerStatus,
    Pod,
)
from servedeck.serving.status.pod_fields import container_statuses


class EndedInstance(NamedTuple):
    """One instance of a container that ended."""

    namespace: str
    pod: str
    pod_uid: str
    container: str
    id: str
    """Unique for each instance."""
    exit_code: int
    finished_at: datetime | None
    is_previous: bool
    """Its log is that of the previous instance (kubectl logs --previous)."""


class LogFinding(NamedTuple):
    """What was found in the log of the last instance of a container that was read."""

    instance_id: str
    exit_code: int
    line: str
    """The line with a known error; "" if there is none."""


def find_ended_instance(pod: Pod, container: str) -> EndedInstance | None:
    """The last instance of the container that ended; None if none did."""
    for _, status in container_statuses(pod):
        if status.name == container:
            ended = status.state.terminated or status.last_state.terminated
            if ended is None:
                return None
            return EndedInstance(
                pod.metadata.namespace,
                pod.metadata.name,
                pod.metadata.uid,
                container,
                _instance_id(status, ended),
                ended.exit_code,
                ended.finished_at,
                status.state.terminated is None,
            )
    return None


def add_log_findings(pod: Pod, findings: Mapping[str, LogFinding]) -> tuple[Pod, bool]:
    """The Pod with the found lines in the messages of its terminated containers, where the kubelet
    puts them with terminationMessagePolicy FallbackToLogsOnError, and whether one of them is from
    an earlier instance. `findings` are by container.

    A container that crashes again with the same exit code most likely has the same cause: it keeps
    the line until its own log was read, so that the failure cause does not change twice for each
    crash.
    """
    earlier = False

    def with_line(status: ContainerStatus, state: ContainerState) -> ContainerState:
        nonlocal earlier
        finding, ended = findings.get(status.name), state.terminated
        if finding is None or ended is None or not finding.line:
            return state
        if finding.exit_code != ended.exit_code:
            return state
        if finding.instance_id != _instance_id(status, ended):
            earlier = True
        message = f"{ended.message}\n{finding.line}" if ended.message else finding.line
        return replace(state, terminated=replace(ended, message=message))

    def with_lines(statuses: tuple[ContainerStatus, ...]) -> tuple[ContainerStatus, ...]:
        return tuple(
            replace(one, state=with_line(one, one.state), last_state=with_line(one, one.last_state))
            for one in statuses
        )

    status = replace(
        pod.status,
        container_statuses=with_lines(pod.status.container_statuses),
        init_container_statuses=with_lines(pod.status.init_container_statuses),
    )
    return replace(pod, status=status), earlier


def _instance_id(status: ContainerStatus, ended: ContainerStateTerminated) -> str:
    return ended.container_id or f"{status.name}/{status.restart_count}/{ended.finished_at}"
