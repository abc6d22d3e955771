"""Notices that the API server has fallen silent: open watches of an idle cluster bring a bookmark a
minute only, and a connection into a black hole ends after more than that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic

from servedeck.cluster.http.errors import (
    ClusterError,
    ConnectionFailedError,
    ConnectionLostError,
    ReadTimeoutError,
)

_log = logging.getLogger(__name__)

QUIET_SECONDS = 15.0
"""Seconds without anything from the server after which it is asked; with `ANSWER_SECONDS` less than
the 45 s of kubectl's HTTP/2 pings (k8s.io/apimachinery pkg/util/net/http.go)."""
ANSWER_SECONDS = 10.0
"""Seconds in which it must answer."""


class LivenessCheck:
    """Runs until canceled."""

    def __init__(
        self,
        last_contact: Callable[[], float | None],
        probe: Callable[[float], Awaitable[None]],
        on_silence: Callable[[ClusterError], None],
    ) -> None:
        """`last_contact`: time of the last data of the open watches by `time.monotonic`, None if
        none is open. `probe` asks the server, with the seconds in which it must answer; raises
        ClusterError. `on_silence` is called if it did not, and no watch brought anything
        meanwhile."""
        self._last_contact = last_contact
        self._probe = probe
        self._on_silence = on_silence

    async def run(self) -> None:
        while True:
            last = self._last_contact()
            quiet = monotonic() - last if last is not None else 0.0
            if last is None or quiet < QUIET_SECONDS:
                await asyncio.sleep(QUIET_SECONDS - quiet)
                continue
            try:
                await self._probe(ANSWER_SECONDS)
            except (ConnectionFailedError, ConnectionLostError, ReadTimeoutError) as error:
                newest = self._last_contact()  # of those that are still open
                if newest is None or newest <= last:
                    self._on_silence(error)
            except ClusterError:
                pass  # it answered, or was not asked
            except Exception:  # a check that ended would not be begun again
                _log.exception("the check whether the server answers failed")
            await asyncio.sleep(QUIET_SECONDS)
