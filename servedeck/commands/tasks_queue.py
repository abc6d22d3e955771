"""The async queue that a `servedeck tasks` command asks, and the tasks that it is about."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from servedeck.async_queue.admin_url import opened_admin_url
from servedeck.async_queue.client import AsyncQueueClient
from servedeck.async_queue.queue_api import QueueApi, TaskQuery
from servedeck.async_queue.task_filter import check_typed_filter, require_complete_terms
from servedeck.async_queue.tasks import TaskState
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ReadOnlyError
from servedeck.commands.arguments import (
    connection_options,
    load_settings,
    require_single_namespace,
    split_serving_name,
)
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.serving.query_terms import QueryError

Action = Callable[[QueueApi, str], Coroutine[Any, Any, int]]


def with_queue(args: argparse.Namespace, action: Action, *, is_write: bool = False) -> int:
    """Call the action with the queue of the serving, and its NAMESPACE/NAME."""
    settings = load_settings(args)
    where, name = split_serving_name(args.name, args.namespace)
    if where is None:
        require_single_namespace(settings)
    if is_write and settings.readonly:
        raise ReadOnlyError

    async def run(target: ConnectionOptions) -> int:
        connection = await Connection.open(target)
        try:
            namespace = where or connection.namespace or "default"
            async with opened_admin_url(settings) as admin_url:
                api = AsyncQueueClient(connection, namespace, name, admin_url)
                return await action(api, f"{namespace}/{name}")
        finally:
            await connection.close()

    with connection_options(args, settings) as target:
        return asyncio.run(run(target))


def read_query(state: str, text: str, *, is_complete: bool = False) -> TaskQuery:
    """The tasks that --state and --filter choose. `is_complete`: each term must choose some from
    others, as something is done to those that match. Raises CommandError."""
    try:
        check_typed_filter(text)
        if is_complete:
            require_complete_terms(text)
    except QueryError as error:
        raise CommandError(f"--filter: {error}", USAGE_ERROR) from error
    return TaskQuery(TaskState(state) if state else None, text)
