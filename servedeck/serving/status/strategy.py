"""How a Deployment replaces its Pods: type, maxSurge and maxUnavailable in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from servedeck.serving.text import format_count, one_line, sanitize


@dataclass(frozen=True, slots=True)
class Strategy:
    """How old Pods are replaced."""

    type: str
    """RollingUpdate or Recreate."""
    max_surge: str = ""
    """As in the Deployment: "25%" or "1"; "" for Recreate."""
    max_unavailable: str = ""
    surge_pods: int = 0
    """Number of Pods that may exist beyond the desired number."""
    unavailable_pods: int = 0
    """Number of Pods of the desired number that may be unavailable."""

    @property
    def unavailable_text(self) -> str:
        """ "0" or "25% (0 Pods)"."""
        return _with_pods(self.max_unavailable, self.unavailable_pods)

    def __str__(self) -> str:
        if self.type != "RollingUpdate":
            return self.type
        surge = _with_pods(self.max_surge, self.surge_pods)
        return f"RollingUpdate, maxSurge {surge}, maxUnavailable {self.unavailable_text}"


def resolve_strategy(kind: object, surge: object, unavailable: object, desired: int) -> Strategy:
    """A strategy with its numbers of Pods.

    Percentages are of the desired number, maxSurge rounded up and maxUnavailable down; if both are
    0, one Pod may be unavailable, but no more than desired (deployment_util.go, ResolveFenceposts
    and MaxUnavailable)."""
    if kind == "Recreate":
        return Strategy("Recreate")
    surge_pods = _resolve(surge, desired, round_up=True)
    unavailable_pods = _resolve(unavailable, desired, round_up=False)
    if not surge_pods and not unavailable_pods:
        unavailable_pods = 1
    unavailable_pods = min(unavailable_pods, desired)
    return Strategy(
        "RollingUpdate",
        one_line(sanitize(str(surge))),
        one_line(sanitize(str(unavailable))),
        surge_pods,
        unavailable_pods,
    )


def _resolve(value: object, desired: int, *, round_up: bool) -> int:
    if isinstance(value, str) and value.endswith("%"):
        percent = _as_number(value[:-1])
        return -(-desired * percent // 100) if round_up else desired * percent // 100
    return _as_number(value)


def _as_number(value: object) -> int:
    """An int or its digits; 0 for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return max(value, 0) if isinstance(value, int) and not isinstance(value, bool) else 0


def _with_pods(value: str, pods: int) -> str:
    return value if value == str(pods) else f"{value} ({format_count(pods, 'Pod')})"
