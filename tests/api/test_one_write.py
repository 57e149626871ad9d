"""Each answer leaves in one write, in order, and nothing is lost at a close."""

import asyncio

from conftest import run
from prediction_api.http.one_write import MOST_GATHERED, GatheringTransport


class RecordingTransport(asyncio.Transport):
    """A transport that remembers what reached it."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[bytes | str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.events.append(bytes(data))

    def close(self) -> None:
        self.events.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.events


def test_writes_of_one_step_leave_together_and_those_of_the_next_apart() -> None:
    async def story() -> list[bytes | str]:
        transport = RecordingTransport()
        gathering = GatheringTransport(transport, asyncio.get_running_loop())
        gathering.write(b"head ")
        gathering.write(b"body")
        assert transport.events == []
        await asyncio.sleep(0)
        gathering.write(b"next")
        await asyncio.sleep(0)
        return transport.events

    assert run(story()) == [b"head body", b"next"]


def test_a_long_answer_reaches_the_transport_while_it_is_written() -> None:
    """Or nobody would tell the writer to wait for a client that reads slowly, and all of it would be in memory."""

    async def story() -> int:
        transport = RecordingTransport()
        gathering = GatheringTransport(transport, asyncio.get_running_loop())
        for _ in range(10):
            gathering.write(b"x" * 20_000)
        return sum(map(len, transport.events))

    assert run(story()) >= 10 * 20_000 - MOST_GATHERED


def test_a_close_sends_what_waits_first() -> None:
    async def story() -> list[bytes | str]:
        transport = RecordingTransport()
        gathering = GatheringTransport(transport, asyncio.get_running_loop())
        gathering.write(b"last words")
        gathering.close()
        await asyncio.sleep(0)
        assert gathering.is_closing()
        return transport.events

    assert run(story()) == [b"last words", "closed"]
