"""The process of `servedeck controller` that applies the temperature policies of the demo."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from pathlib import Path

from servedeck.config import ENV_PREFIX

_START_SECONDS = 2.0
"""After the demo's own start, which it would slow down."""
_RESTART_SECONDS = 5.0
_END_SECONDS = 2.0
"""For the release of its Lease."""
_ARGUMENTS = ("controller", "--host", "127.0.0.1", "--port", "0", "--retry-period", "5")

_log = logging.getLogger(__name__)


class TemperatureControllerProcess:
    """Runs from a little after its creation until `close`, and is started again if it ends."""

    def __init__(self, kubeconfig: Path, prometheus_service: str) -> None:
        """`prometheus_service`: "namespace/name:port". Its settings and its log are in the folder
        of the kubeconfig, which must be removed with the demo."""
        self._folder = kubeconfig.parent / "temperature-controller"
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(ENV_PREFIX)  # the operator's own settings are for other clusters
        }
        self._environment |= {
            "KUBECONFIG": str(kubeconfig),
            "XDG_CONFIG_HOME": str(self._folder),
            f"{ENV_PREFIX}PROMETHEUS_SERVICE": prometheus_service,
        }
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await asyncio.sleep(_START_SECONDS)
        while True:
            code = await self._run_once()
            _log.warning("The temperature controller ended with status %s; see its log.", code)
            await asyncio.sleep(_RESTART_SECONDS)

    async def _run_once(self) -> int:
        """Until it ends; its exit code."""
        reader, writer = os.pipe()
        try:
            with (self._folder / "log").open("ab") as log:
                try:
                    process = await asyncio.create_subprocess_exec(
                        *(
                            sys.executable,
                            "-P",
                            "-m",
                            "servedeck.demo.temperature_controller_child",
                        ),
                        *(str(reader), *_ARGUMENTS),
                        stdin=asyncio.subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        env=self._environment,
                        pass_fds=(reader,),
                        start_new_session=True,
                    )
                finally:
                    os.close(reader)
            try:
                return await process.wait()
            finally:
                await _end(process)
        finally:
            os.close(writer)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
