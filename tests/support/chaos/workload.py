"""What customers do while the faults happen: drawn from a seed as a timetable, written by a client, noted in a journal.

One-shots spread over milliseconds and in bursts, by instant and by delay, small and large; updates and cancels
around the due time; recurring schedules that are changed, and cancelled at the end so that a run has one.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import Producer

from scheduler.clock import rfc3339
from tests.support.chaos.cluster import clock

if TYPE_CHECKING:
    import random  # noqa: TID251 - seeded, and passed in
    from collections.abc import Iterable, Iterator

    from scheduler.audit.journal import Journal
    from tests.support.chaos.cluster import Cluster, Names

Header = tuple[str, bytes | None]

MESSAGE_TIMEOUT_MS = 300_000
"""Longer than any outage. A client that gives records up begins a new epoch of its idempotent producer, and was seen to
write others twice then, acknowledged ones too: customers' doubles, which no judge can tell from the scheduler's."""
TICK_SECONDS = 0.005
FLUSH_SECONDS = 310.0
FIRST_DUE_MS, LAST_DUE_MS = 300, 15_000
AROUND_MS = 120
"""Of the due time: where updates and cancels race the firing."""
LARGE = 200_000
RECURRING = 16
CHANGED_EVERY = 150
"""One-shots between two changes of a recurring schedule."""
SCRIPTS = 100
NOWHERE = -1
"""A target that does not exist."""


class Step(NamedTuple):
    """A record to write, so many ms after the start. Due times in it are counted from there as well."""

    at_ms: int
    key: bytes
    value: bytes | None
    """None cancels."""
    due_ms: int | None = None
    stated: str = "epoch"
    """By which header the due time is said: epoch, at, delay; with `every`, a rule and no time at all."""
    target: int = 0
    """Which of the targets."""
    target_key: bytes | None = None
    rule: str = ""
    misfire: str = ""
    customers: tuple[Header, ...] = ()

    def headers(self, start_ms: int, names: Names) -> list[Header]:
        """As a client writes them; a cancel has none."""
        if self.value is None:
            return []
        target = names.nowhere if self.target == NOWHERE else names.targets[self.target % len(names.targets)]
        own: list[Header] = [("scheduler-target-topic", target.encode())]
        if self.target_key is not None:
            own.append(("scheduler-target-key", self.target_key))
        if self.rule:
            own.append(("scheduler-cron", self.rule.encode()))
        if self.misfire:
            own.append(("scheduler-misfire", self.misfire.encode()))
        if self.due_ms is not None:
            due_ms = start_ms + self.due_ms
            stated = {
                "epoch": b"%d.%03d" % divmod(due_ms, 1000),
                "at": rfc3339(due_ms).encode(),
                "delay": b"%dms" % (self.due_ms - self.at_ms),
            }
            own.append((f"scheduler-{self.stated}", stated[self.stated]))
        return [*self.customers, *own]


def timetable(dice: random.Random, rate: float) -> Iterator[Step]:
    """What is written, without end, in order of time: so many one-shots a second, and recurring ones beside them."""
    coming: list[tuple[int, int, Step]] = []
    count = itertools.count()

    def add(steps: Iterable[Step]) -> None:
        for step in steps:
            heapq.heappush(coming, (step.at_ms, next(count), step))

    add(_recurring(dice, number, number * 100) for number in range(RECURRING))
    for number in itertools.count():
        at_ms = int(number * 1000 / rate)
        add(_script(dice, number, at_ms))
        if number % CHANGED_EVERY == 0 and number:
            add([_recurring(dice, dice.randrange(RECURRING), at_ms)])
        while coming[0][0] <= at_ms:
            yield heapq.heappop(coming)[2]


def last_steps() -> list[Step]:
    """What ends the recurring schedules; everything else ends by itself."""
    return [Step(0, _recurring_key(number), None) for number in range(RECURRING)]


def _script(dice: random.Random, number: int, at_ms: int) -> Iterator[Step]:
    """The life of one id. A hundred of them in a row hold every kind; every tenth hundred is due in bursts."""
    due_ms = at_ms + dice.randint(FIRST_DUE_MS, LAST_DUE_MS)
    kind = number % SCRIPTS
    if number // SCRIPTS % 10 == 9:
        yield _version(dice, number, 0, at_ms, at_ms - at_ms % 2000 + 5000)
    elif kind < len(_CHANGED):
        yield from _CHANGED[kind](dice, number, at_ms, due_ms)
    else:
        version = _version(dice, number, 0, at_ms, due_ms)
        if kind < 25:
            version = version._replace(stated="delay" if kind < 20 else "at")
        elif kind == 25:
            version = version._replace(value=b"")
        elif kind == 26:
            version = version._replace(value=dice.randbytes(dice.randint(1000, LARGE)))
        elif kind == 27:
            version = version._replace(target=NOWHERE)
        elif kind == 28:  # late already when it is written
            version = version._replace(due_ms=at_ms - 3000)
        yield version


def _updated(dice: random.Random, number: int, at_ms: int, due_ms: int) -> Iterator[Step]:
    race_ms = _around(dice, at_ms, due_ms)
    yield _version(dice, number, 0, at_ms, due_ms)
    yield _version(dice, number, 1, race_ms, max(race_ms, due_ms) + dice.choice((0, 100, 3000)))


def _cancelled(dice: random.Random, number: int, at_ms: int, due_ms: int) -> Iterator[Step]:
    yield _version(dice, number, 0, at_ms, due_ms)
    yield Step(_around(dice, at_ms, due_ms), _key(number), None)


def _made_anew(dice: random.Random, number: int, at_ms: int, due_ms: int) -> Iterator[Step]:
    race_ms = _around(dice, at_ms, due_ms)
    yield _version(dice, number, 0, at_ms, due_ms)
    yield Step(race_ms, _key(number), None)
    yield _version(dice, number, 1, race_ms + dice.choice((0, 20)), due_ms + 1500)


def _cancelled_early(dice: random.Random, number: int, at_ms: int, _due_ms: int) -> Iterator[Step]:
    yield _version(dice, number, 0, at_ms, at_ms + LAST_DUE_MS)
    yield Step(at_ms + 2000, _key(number), None)


def _put_off(dice: random.Random, number: int, at_ms: int, _due_ms: int) -> Iterator[Step]:
    yield _version(dice, number, 0, at_ms, at_ms + 5000)
    yield _version(dice, number, 1, at_ms + 1000, at_ms + 9000)


_CHANGED = (*[_updated] * 4, *[_cancelled] * 4, *[_made_anew] * 2, *[_cancelled_early] * 2, *[_put_off] * 2)
"""Of a hundred, those that are changed before they fire, or while they do."""


def _around(dice: random.Random, at_ms: int, due_ms: int) -> int:
    return max(at_ms + 1, due_ms + dice.randint(-AROUND_MS, AROUND_MS))


def _key(number: int) -> bytes:
    return b"one-%d" % number


def _version(dice: random.Random, number: int, version: int, at_ms: int, due_ms: int) -> Step:
    name = b"%d/%d" % (number, version)
    return Step(
        at_ms,
        _key(number),
        name + b"." * dice.randint(0, 200),
        due_ms,
        target=number,
        target_key=dice.choice((None, b"customer-%d" % (number % 50))),
        customers=(("trace", name), ("trace", b"\x00\xff"), ("empty", None))[: dice.randint(0, 3)],
    )


def _recurring(dice: random.Random, number: int, at_ms: int) -> Step:
    """Stated, or stated anew with another rule."""
    return Step(
        at_ms,
        _recurring_key(number),
        b"from %d" % at_ms,
        target=number,
        rule=dice.choice(("@every 1s", "@every 1500ms", "@every 3s", "@every 7s", "* * * * *")),
        misfire=dice.choice(("", "", "all", "once", "skip")),
    )


def _recurring_key(number: int) -> bytes:
    return b"recurring-%d" % number


class Writer(threading.Thread):
    """The customers' client: writes the timetable until told to stop, and notes what it was told of each record."""

    def __init__(self, cluster: Cluster, steps: Iterator[Step], journal: Journal) -> None:
        super().__init__(name="writer", daemon=True)
        self._steps = steps
        self._journal = journal
        self._names = cluster.names
        self._producer = Producer(
            {
                "bootstrap.servers": cluster.bootstrap_servers,
                "client.id": "customers",
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "message.timeout.ms": MESSAGE_TIMEOUT_MS,
                "linger.ms": 1,
                "log_level": 0,
            }
        )
        self._start_ms = 0
        self._over = threading.Event()
        self._failure: BaseException | None = None
        self.keys: set[bytes] = set()
        """Ids that were written so far."""

    def run(self) -> None:
        """Write what is due to be written; late where this machine is, or where the client's queue is full."""
        try:
            self._start_ms = clock.now_ms()
            for step in self._steps:
                while (ahead := clock.seconds_until(self._start_ms + step.at_ms)) > 0 and not self._over.is_set():
                    self._producer.poll(0)
                    clock.wait(self._over, min(ahead, TICK_SECONDS))
                if self._over.is_set():
                    break
                self._write(step)
            for step in last_steps():
                self._write(step)
            if left := self._producer.flush(FLUSH_SECONDS):
                raise AssertionError(f"{left} records have neither been acknowledged nor given up")
        except BaseException as error:  # noqa: BLE001 - for whoever asks
            self._failure = error

    def check(self) -> None:
        """Return if it does well."""
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End the recurring schedules, and return when the client was told of everything."""
        self._over.set()
        self.join()
        self.check()

    def _write(self, step: Step) -> None:
        headers = step.headers(self._start_ms, self._names)
        self.keys.add(step.key)
        report = self._journal.report(self._names.schedules, step.key, step.value, headers)
        self._producer.produce(self._names.schedules, step.value, step.key, headers=headers, on_delivery=report)
