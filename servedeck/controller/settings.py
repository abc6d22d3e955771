"""Settings of the controller."""

from __future__ import annotations

from dataclasses import dataclass

from servedeck.config import PLATFORM_NAMESPACE

MAX_SECONDS = 3600.0
JITTER = 1.2
"""The longest time between two attempts to get the Lease, in retry periods (JitterFactor of
client-go's tools/leaderelection)."""


class ControllerSettingsError(Exception):
    """Settings that cannot be used; str() is one sentence."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """All settings but where the API server and Prometheus are. Times are in seconds. Raises
    ControllerSettingsError."""

    interval: float = 15.0
    """Between two queries of the temperatures."""
    max_age: float = 120.0
    """From which on a temperature is unknown."""
    lease_namespace: str = PLATFORM_NAMESPACE
    lease_duration: int = 15
    """For which the Lease is held since its last renewal. This and the next two are the defaults of
    client-go."""
    renew_deadline: float = 10.0
    """After which a holder that cannot renew it stops to act."""
    retry_period: float = 2.0
    """Between two renewals, or two attempts."""
    host: str = "0.0.0.0"  # noqa: S104 - in a Pod, whose NetworkPolicy decides who may connect
    port: int = 8080
    """Of probes and Prometheus; 0 chooses a free one."""

    def __post_init__(self) -> None:
        for name in ("interval", "max_age", "lease_duration", "renew_deadline", "retry_period"):
            value: float = getattr(self, name)
            if not 0 < value <= MAX_SECONDS:
                raise ControllerSettingsError(
                    f"{_flag(name)} must be more than 0 and at most {MAX_SECONDS:.0f} seconds."
                )
        if self.max_age < self.interval:
            raise ControllerSettingsError("--max-age must not be shorter than --interval.")
        if self.renew_deadline >= self.lease_duration:
            raise ControllerSettingsError(
                "--renew-deadline must be shorter than --lease-duration, so that one stops to act"
                " before another begins."
            )
        if self.retry_period * JITTER >= self.renew_deadline:
            raise ControllerSettingsError(
                f"--retry-period must be shorter than --renew-deadline by a factor of {JITTER}."
            )
        if not 0 <= self.port <= 65535:
            raise ControllerSettingsError("--port must be from 0 to 65535.")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
