from __future__ import annotations

from servedeck.cluster.http.connection import Connection
from tests.logs.conftest import follow
from tests.logs.fake_kubelet import FakeKubelet, make_line


async def test_follows_lines_as_they_come(kubelet: FakeKubelet, connection: Connection) -> None:
    container = kubelet.add()
    await container.write(*[make_line(0, f"line {number}", number) for number in range(50)])
    async with follow(kubelet, connection) as followed:
        await followed.wait_for_text("line 49")
        await container.write(make_line(1, "line 50"), make_line(1, "line 51"))
        await followed.wait_for_text("line 51")
    assert followed.texts == [f"line {number}" for number in range(52)]


async def test_a_restart_is_marked(kubelet: FakeKubelet, connection: Connection) -> None:
    container = kubelet.add()
    await container.write(make_line(0, "a"))
    async with follow(kubelet, connection) as followed:
        await followed.wait_for_text("a")
        await container.write(make_line(1, "b"))
        await container.end(137, "OOMKilled")
        await container.start()
        await container.write(make_line(2, "c"))
        followed.update()
        await followed.wait_for_text("c")
    assert followed.all_texts == ["a", "b", "web restarted, exit 137 OOMKilled (restart 1)", "c"]
