"""A process that uses a store until it is killed. Its argument is the path of the file.

It submits, claims and ends tasks from many coroutines, and prints a line for each change once the
store has answered, so that what was promised is known."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from servedeck.gateway.stores.sqlite.store import SqliteStore
from servedeck.gateway.stores.store import NewTask
from tests.gateway.stores.cases import DEPTH, claim, end_of, new_task
from tests.waiting import WAIT_SECONDS


async def work(store: SqliteStore, number: int) -> None:
    while True:
        task: NewTask = new_task(id=f"{os.urandom(22).hex()}", owner=str(number % 3))
        await store.submit(task, DEPTH)
        print("submitted", task.id, flush=True)
        if number % 2:
            for claimed in await claim(store, 1):
                if await store.finish(end_of(claimed)):
                    print("completed", claimed.id, flush=True)


async def main(path: Path) -> None:
    store = SqliteStore(path, reserve=0, timeout=WAIT_SECONDS)
    await store.open()
    print("open", flush=True)
    await asyncio.gather(*(work(store, number) for number in range(16)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
