"""Partitions that the group takes away: their owners go on firing until the next ones put their fences up.

The group's consumer no longer reads them, so another one does, which is no member.

So also where the group's coordinator is lost with its broker: each member believes after a session that it is expelled,
and nobody is given its partitions before another broker has become the coordinator and has waited a session for members
that it takes for others.
"""

from __future__ import annotations

import logging
import threading
from itertools import groupby
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaException, TopicPartition

from scheduler.clock import Deadline
from scheduler.runtime.logs import fields
from scheduler.runtime.polling import poll_batch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.broker.owner import Owner
    from scheduler.clock import Clock
    from scheduler.runtime.kafka import Conf
    from scheduler.runtime.watchdog import Watchdog

    Key = tuple[str, int]

STAY_SECONDS = 3.0
"""How long an owner stays where its partition is given to another: until the group has settled, and for a restore."""
RESTORES = 3
"""How much longer than its own restore took: who takes over may be busy with others as well."""
LONGEST_STAY_SECONDS = 25.0
"""Also where nobody knows who will be given it. Who has asked the replica to stop waits: orchestrators kill it after
30 s."""
ROOM_SECONDS = 0.05
POLL_SECONDS = 0.05
BATCH = 10_000
CLOSE_SECONDS = 10.0

log = logging.getLogger("scheduler.group")


class HandOver:
    """Called by the reader's thread; every hand-over has a thread and a consumer."""

    def __init__(self, conf: Conf, clock: Clock, watchdog: Watchdog) -> None:
        self._conf = conf
        self._clock = clock
        self._watchdog = watchdog
        self._under_way: list[tuple[threading.Thread, list[Owner]]] = []

    def begin(self, leaving: Mapping[Key, tuple[Owner, int]], *, orderly: bool) -> None:
        """Owners that stay, and from which offset on each is to be given what is read.

        Args:
            leaving: by their partitions.
            orderly: others are given the partitions now; else nobody knows.
        """
        self._under_way = [each for each in self._under_way if each[0].is_alive()]
        if leaving:
            owners = [owner for owner, _ in leaving.values()]
            for owner in owners:
                seconds = STAY_SECONDS + RESTORES * (owner.standing.restore_seconds or 0.0)
                stay_seconds = min(seconds, LONGEST_STAY_SECONDS) if orderly else LONGEST_STAY_SECONDS
                owner.leave(stay_seconds, orderly=orderly)
            thread = threading.Thread(target=self._read, args=(leaving,), name="hand-over", daemon=True)
            self._under_way.append((thread, owners))
            thread.start()

    @property
    def under_way(self) -> bool:
        """Whether an owner stays."""
        return any(thread.is_alive() for thread, _ in self._under_way)

    def stop(self) -> None:
        """Nobody will take over: what is under way is finished, and nothing more taken up."""
        for _, owners in self._under_way:
            for owner in owners:
                owner.stop()

    def join(self, seconds: float) -> None:
        """Return when all have left, or after so long."""
        deadline = Deadline(self._clock, seconds)
        for thread, _ in self._under_way:
            thread.join(deadline.remaining())

    def _read(self, leaving: Mapping[Key, tuple[Owner, int]]) -> None:
        owners = {key: owner for key, (owner, _) in leaving.items()}
        consumer = Consumer(self._conf)
        try:
            consumer.assign([TopicPartition(*key, offset) for key, (_, offset) in leaving.items()])
            while owners:
                self._give(consumer, owners)
                left = [key for key, owner in owners.items() if owner.join(0)]
                if left:
                    consumer.incremental_unassign([TopicPartition(*key) for key in left])
                    owners = {key: owner for key, owner in owners.items() if key not in left}
        except KafkaException as error:
            # what they can do without reading is over in a moment, and the next owner does the same
            log.warning("a hand-over ends early", extra=fields(detail=error.args[0].str()))
            for owner in owners.values():
                owner.stop()
        finally:
            with self._watchdog.call("consumer.close", CLOSE_SECONDS):
                consumer.close()

    def _give(self, consumer: Consumer, owners: Mapping[Key, Owner]) -> None:
        messages = poll_batch(consumer, POLL_SECONDS, BATCH)
        for key, given in groupby(messages, key=lambda message: (message.topic(), message.partition())):
            owner = owners.get(key)
            if owner is not None:
                owner.give(list(given))
                if not owner.inbox.room.is_set():
                    self._clock.wait(owner.inbox.room, ROOM_SECONDS)
