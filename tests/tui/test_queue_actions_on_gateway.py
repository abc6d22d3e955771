"""What operators do from the screen, to a real gateway behind an API server's Service proxy."""

from __future__ import annotations

from collections import Counter

from servedeck.async_queue.client import AsyncQueueClient
from servedeck.async_queue.queue_api import TaskQuery
from servedeck.async_queue.tasks import Task, TaskAction, TaskState
from tests.async_queue.conftest import api, client, connection, rig, server
from tests.async_queue.gateway_rig import GatewayRig
from tests.gateway.process.rig import InferenceServer
from tests.tui.queue_actions import KEY, ActionDriver, run_actions
from tests.waiting import wait_until, with_timeout
from tui.screens.queue_concurrency import ConcurrencyDialog

__all__ = ["api", "client", "connection", "rig", "server"]


async def listed(client: AsyncQueueClient) -> list[Task]:
    return (await client.list_tasks(TaskQuery(), limit=500)).items


async def counts(client: AsyncQueueClient) -> Counter[TaskState]:
    return Counter(one.state for one in await listed(client))


async def wait_for_counts(driver: ActionDriver, client: AsyncQueueClient, **wanted: int) -> None:
    """Wait until there are so many tasks of each state, and no others."""
    expected = {TaskState(state): number for state, number in wanted.items()}

    async def reach() -> None:
        while await counts(client) != expected:
            await driver.pilot.pause(0.01)

    await with_timeout(reach())


async def wait_for_message(driver: ActionDriver) -> str:
    await driver.wait_for(lambda: driver.done, "a message")
    return driver.done.pop()[0]


async def test_tasks_are_cancelled_moved_and_purged(
    client: AsyncQueueClient, rig: GatewayRig, server: InferenceServer
) -> None:
    async with run_actions(api=client) as driver:
        ids = await rig.submit(6)
        await wait_until(lambda: server.arrived)
        by_id = {one.id: one for one in await listed(client)}
        running, waiting = by_id[ids[0]], [by_id[one] for one in ids[1:]]
        assert (running.state, {one.state for one in waiting}) == (
            TaskState.PROCESSING,
            {TaskState.PENDING},
        )
        driver.flow.start(TaskAction.FRONT, waiting[3:])
        await driver.wait_for_text("Move 2 tasks to the front")
        await driver.press("enter")
        assert await wait_for_message(driver) == "2 tasks moved to the front."
        positions = [(await client.task_detail(one.id)).position for one in waiting]
        assert positions == [2, 3, 4, 0, 1]

        driver.flow.start(TaskAction.CANCEL, [running, waiting[0]])
        await driver.wait_for_text("1 pending, 1 processing")
        await driver.press("y")
        assert await wait_for_message(driver) == "2 tasks cancelled."
        await wait_until(lambda: len(server.arrived) == 2)  # the next one is made

        driver.flow.purge_pending(3)
        await driver.wait_for_text("Type llama-8b to confirm")
        await driver.type("llama-8b")
        await driver.press("enter")
        assert await wait_for_message(driver) == "3 tasks cancelled."
        assert await counts(client) == {TaskState.CANCELLED: 5, TaskState.PROCESSING: 1}
        assert await rig.state(waiting[3].id) is TaskState.PROCESSING


async def test_failed_tasks_are_retried_and_end(
    client: AsyncQueueClient, rig: GatewayRig, server: InferenceServer
) -> None:
    async with run_actions(api=client) as driver:
        server.status = 400
        server.open.set()
        await rig.submit(4)
        [with_credentials] = await rig.submit(Authorization="Bearer x")
        await wait_for_counts(driver, client, failed=5)
        server.status = 200
        driver.flow.retry_all_failed(5)
        await driver.wait_for_text("Retry 5 tasks")
        await driver.press("enter")
        text = await wait_for_message(driver)
        assert text.startswith("4 tasks retried; 1 could not be retried. Credentials are deleted")
        await wait_for_counts(driver, client, completed=4, failed=1)

        [task] = [one for one in await listed(client) if one.id == with_credentials]
        driver.flow.start(TaskAction.RETRY, [task])
        await driver.wait_for_text("The task was not retried. Credentials are deleted")
        await driver.press("w", "y")
        assert await wait_for_message(driver) == "The task was retried."
        await wait_for_counts(driver, client, completed=5)


async def test_the_end_and_the_cancel_of_a_task_come_in_one_order(
    client: AsyncQueueClient, rig: GatewayRig, server: InferenceServer
) -> None:
    async with run_actions(api=client) as driver:
        await rig.submit()
        await wait_until(lambda: server.arrived)
        [task] = await listed(client)
        driver.flow.start(TaskAction.CANCEL, [task])
        await driver.wait_for_text("y Cancel the task")
        server.open.set()
        await wait_for_counts(driver, client, completed=1)
        await driver.press("y")
        text = await wait_for_message(driver)
        assert text == "The task was not cancelled: it had completed before."


async def test_the_queue_is_paused_its_concurrency_set_and_a_request_submitted(
    client: AsyncQueueClient, rig: GatewayRig, server: InferenceServer
) -> None:
    async with run_actions((100, 30), api=client) as driver:
        driver.flow.pause_or_resume(await client.queue_status())
        await driver.wait_for_text("Pause the async queue")
        await driver.press("enter")
        assert "is paused" in await wait_for_message(driver)
        assert (await client.queue_status()).paused

        driver.flow.submit_test(None)
        await driver.wait_for_text(f"Test request to {KEY}")
        await driver.press("ctrl+s")
        assert "was stored as task" in await wait_for_message(driver)
        [task] = await listed(client)
        assert (task.state, task.path) == (TaskState.PENDING, "/v1/chat/completions")
        driver.flow.submit_test(task)
        await driver.wait_for_text(f"The request of task {task.id}.", '"messages"')
        await driver.press("escape")

        driver.flow.change_concurrency(await client.queue_status())
        await driver.wait_for_text("Of each Pod now 1")
        await driver.press("5", "tab", "2")
        await client.set_concurrency(9, None, (await client.control()).version)
        await driver.press("enter")
        await driver.wait_for_text("Somebody else changed what is set meanwhile.")
        assert isinstance(driver.app.screen, ConcurrencyDialog)
        await driver.press("enter")
        assert "of all Pods 5, of each Pod 2" in await wait_for_message(driver)
        status = await client.queue_status()
        assert (status.concurrency, status.pod_concurrency) == (5, 2)

        server.open.set()
        driver.flow.pause_or_resume(status)
        assert "is resumed" in await wait_for_message(driver)
        await wait_for_counts(driver, client, completed=1)
        assert server.arrived
