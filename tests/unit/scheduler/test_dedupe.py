"""Copies of one occurrence are handled once, failed ones are not taken for handled, and memory is bounded."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from scheduler import AsyncDeduplicator, Deduplicator, InputError
from tests.support.schedules import wait_until


def copy(name):
    return [("scheduler-fire-id", name.encode())]


def handled(seen, *names):
    """Which of the copies are handled, in their order."""
    firsts = []
    for name in names:
        with seen.once(copy(name)) as first:
            if first:
                firsts.append(name)
    return firsts


def test_a_copy_is_not_handled_again():
    assert handled(Deduplicator(), "a@1", "b@1", "a@1", "a@2", "b@1") == ["a@1", "b@1", "a@2"]


def test_what_failed_is_not_handled():
    seen = Deduplicator()
    with pytest.raises(ZeroDivisionError), seen.once(copy("a@1")):
        raise ZeroDivisionError

    assert handled(seen, "a@1", "a@1") == ["a@1"]


def test_a_message_without_a_fire_id_is_always_a_first():
    seen = Deduplicator()
    for _ in range(2):
        with seen.once([]) as first:
            assert first


def test_the_oldest_is_forgotten_first():
    assert handled(Deduplicator(2), "a", "b", "a", "c", "b", "a") == ["a", "b", "c", "a"]
    with pytest.raises(InputError, match="remembered: 0"):
        Deduplicator(0)


@pytest.mark.parametrize("fails", [False, True])
def test_a_copy_on_another_thread_waits_for_what_becomes_of_the_first(fails):
    seen, began, go_on = Deduplicator(), threading.Event(), threading.Event()

    def first():
        with seen.once(copy("a")):
            began.set()
            assert go_on.wait(30)
            if fails:
                raise ZeroDivisionError

    def second():
        with seen.once(copy("a")) as is_first:
            return is_first

    with ThreadPoolExecutor(2) as threads:
        running = threads.submit(first)
        wait_until(began.is_set, "the first has begun")
        waiting = threads.submit(second)
        assert handled(seen, "b") == ["b"]  # another occurrence does not wait
        assert not waiting.done()
        go_on.set()
        assert waiting.result(30) is fails
        assert (running.exception(30) is not None) is fails


@pytest.mark.parametrize("fails", [False, True])
def test_a_copy_in_another_task_waits_too(fails):
    async def main():
        seen, began, go_on = AsyncDeduplicator(), asyncio.Event(), asyncio.Event()

        async def first():
            async with seen.once(copy("a")):
                began.set()
                await go_on.wait()
                if fails:
                    raise ZeroDivisionError

        async def other(name):
            async with seen.once(copy(name)) as is_first:
                return is_first

        running = asyncio.create_task(first())
        await began.wait()
        waiting = [asyncio.create_task(other("a")) for _ in range(2)]
        assert await other("b")
        assert not any(task.done() for task in waiting)
        go_on.set()
        assert sorted(await asyncio.gather(*waiting)) == [False, fails]
        assert isinstance((await asyncio.gather(running, return_exceptions=True))[0], ZeroDivisionError) is fails

    asyncio.run(asyncio.wait_for(main(), 30))
