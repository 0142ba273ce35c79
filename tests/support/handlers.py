"""Handlers of a job queue for tests; those of processes must be importable by name."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from datetime import datetime  # noqa: TC003 - the registry reads the signatures

from worker import GiveUp, Registry, Retry, RetryLater, current

SOON = Retry(delay_seconds=0.2)
jobs = Registry()
NEVER = threading.Event()


@jobs.register("Add", retries=3)
def add(x: int, y: int) -> int:
    return x + y


@jobs.register("double")
def double(number: int) -> int:
    return 2 * number


@jobs.register("say")
def say(characters: int) -> str:
    return "x" * characters


@jobs.register("sum-doubled", then=["double", "shout"])
def sum_doubled(x: int, y: int) -> int:
    return x + y


@jobs.register()
async def shout(text: str | int, *, mark: str = "!") -> str:
    await asyncio.sleep(0)
    return f"{text}{mark}"


@jobs.register(retries=2, backoff=SOON)
def flaky(good_from: int) -> str:
    attempt = current().attempt
    if attempt < good_from:
        raise ValueError(f"attempt {attempt} is too early")
    return f"{current().run_id} {attempt}"


@jobs.register(retries=5)
def hopeless() -> None:
    raise GiveUp("the customer has gone")


@jobs.register(retries=5, never_on=[KeyError], retry_on=[LookupError])
def picky(kind: str) -> None:
    raise {"key": KeyError, "index": IndexError, "value": ValueError}[kind](kind)


@jobs.register(retries=1)
def later(delay: str) -> None:
    raise RetryLater(delay, "busy")


@jobs.register()
def when(moment: datetime) -> str:
    return moment.isoformat()


@jobs.register(timeout=0.3)
async def slow() -> None:
    await asyncio.Event().wait()


@jobs.register()
async def endless() -> None:
    await asyncio.Event().wait()


@jobs.register(process=True)
def pid_and_attempt() -> list[int]:
    return [os.getpid(), current().attempt]


@jobs.register(process=True, timeout=0.5)
def spins_with_a_child(told: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    with open(told, "w", encoding="utf-8") as file:  # noqa: PTH123 - short
        file.write(str(child.pid))
    while True:
        pass


@jobs.register(process=True)
def endless_process(told: str) -> None:
    with open(told, "w", encoding="utf-8") as file:  # noqa: PTH123 - short
        file.write(str(os.getpid()))
    NEVER.wait()


@jobs.register(process=True)
def crashes() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


@jobs.register(process=True, retries=1, never_on=[KeyError])
def raises_in_process(what: str) -> None:
    if what == "later":
        raise RetryLater("7s")
    raise KeyError(what)


@jobs.register(process=True)
def exits() -> None:
    os._exit(3)


@jobs.register()
def waits_for_stop() -> str:
    current().stopping.wait(30)
    return "stopped by itself"


@jobs.register("appended", fifo=True)
def appended(file: str, what: str) -> None:
    with open(file, "a", encoding="utf-8") as opened:  # noqa: PTH123 - short
        opened.write(what + "\n")


@jobs.register("counted", then=["double", "shout"])
def counted(file: str) -> int:
    """Number its calls."""
    appended(file, "called")
    with open(file, encoding="utf-8") as opened:  # noqa: PTH123 - short
        return len(opened.readlines())


@jobs.register("nothing")
def nothing() -> None:
    pass
