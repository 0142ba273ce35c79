"""The replica's membership in the group: which partitions it has, and their records to their owners."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from scheduler.broker.bodies import AHEAD_MS
from scheduler.broker.handover import HandOver
from scheduler.clock import Deadline
from scheduler.runtime.exhaustion import exhausted
from scheduler.runtime.logs import fields, names
from scheduler.runtime.polling import by_partition, poll_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scheduler.broker.owner import Owner
    from scheduler.broker.restorers import Restorers
    from scheduler.clock import Clock
    from scheduler.runtime.kafka import Conf
    from scheduler.runtime.watchdog import Watchdog

POLL_SECONDS = 0.1
IDLE_SECONDS = 0.25
"""While all owners fire, and none has more than it can take: what is read and what the group says comes at once, and
each round that finds nothing takes 0.2 ms of a processor that has other work between two of them."""
AWAITING_SECONDS = 0.01
"""While other processes restore: what they have restored does not come by way of the consumer."""
BATCH = 10_000
FIRST_BATCH = 500
"""While nothing fires here: what was read is looked at while the caches have it, and a start takes a sixth less of the
processor. Beside owners that fire, each call waits for the interpreter, up to 5 ms."""
PASSED_ON = 10_000
"""Records that a restore gathers before their owners are told: a thread that wakes holds up the reading."""
HAND_OVER_SECONDS = 1.0
"""For finishing transactions when partitions are lost; what is not finished by then is fenced."""
FOLLOWED_SECONDS = 0.5
"""How often a replica that leaves asks whether others are left: they may be leaving too."""
REST_SECONDS = 0.004
"""After a round that has brought nothing but tombstones and ends of partitions. A replica that fires reads its own
back all the time: 900 rounds a second at 1,000/s, of which each takes the interpreter from those who fire."""
UNHEARD_SECONDS = 0.02
"""How long these may stay unheard by an owner that has nothing else to look after. It looks before it fires."""
ROOM_SECONDS = 0.05
RETAKE_SECONDS = 5.0
"""How long after an owner ended by itself the group is asked whether the partition is still ours."""
ROUND_SECONDS = 10.0
"""For one call of the consumer: it polls for 0.1 s, and the group's callbacks in it finish transactions."""
LAG_SECONDS = 1.0
"""How often the distance to the end of each partition is noted; 40 microseconds for each."""

_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's public codes
_QUIET = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}  # noqa: SLF001 - the client's log has them

Key = tuple[str, int]

log = logging.getLogger("scheduler.group")


class Subscriber:
    """Runs on one thread, which alone touches the consumer."""

    def __init__(
        self,
        conf: Conf,
        topics: Sequence[str],
        make_owner: Callable[[str, int], Owner],
        owner_in_group: Callable[[str, int], str | None],
        others: Callable[[str | None], bool],
        on_rebalance: Callable[[str], None],
        on_assign: Callable[[Sequence[Key]], None],
        on_release: Callable[[Mapping[Key, Owner]], None],
        restorers: Restorers,
        clock: Clock,
        watchdog: Watchdog,
    ) -> None:
        self._conf = conf
        self._topics = list(topics)
        self._make_owner = make_owner
        self._owner_in_group = owner_in_group
        self._others = others
        self._on_rebalance = on_rebalance
        self._on_assign = on_assign
        self._on_release = on_release
        self._restorers = restorers
        self._clock = clock
        self._watchdog = watchdog
        self.owners: dict[Key, Owner] = {}
        """Replaced, never changed, so that other threads may read it."""
        self.lags: dict[Key, int] = {}
        """Records that stand in each partition and are not applied yet, when last noted; replaced, never changed."""
        self.joined = False
        """Whether the group has told us which partitions are ours, be they none."""
        self.member_id: str | None = None
        """Our name in the group. Noted at each assignment: asked for on another thread, the client would not
        answer until nobody polls any more."""
        self._consumer: Consumer | None = None
        self._hand_over = HandOver(conf, clock, watchdog)
        self._paused: set[Key] = set()
        self._retake_at: dict[Key, float] = {}
        self._read_up_to: dict[Key, int] = {}
        self._note_lags_at = 0.0
        self._rouse_at: float | None = None
        """When to rouse owners that have not heard what they were given quietly."""
        self._gathered, self._most = 0, FIRST_BATCH

    def is_ours(self, topic: str, partition: int) -> bool:
        """Whether the group's coordinator has the partition assigned to us, now.

        Raises:
            KafkaException: it does not answer.
        """
        try:
            return self._owner_in_group(topic, partition) == self.member_id
        except KafkaException as error:
            if error.args[0].code() == KafkaError._UNSUPPORTED_FEATURE:  # noqa: SLF001
                return (topic, partition) in self.owners  # the embedded broker cannot be asked
            raise

    def run(self, stop: threading.Event) -> None:
        """Read until told to stop, then give everything back."""
        threading.Thread(target=self._restorers.prepare, name="restorers", daemon=True).start()
        while not stop.is_set():
            try:
                self._consumer = Consumer(self._conf)
                self._consumer.subscribe(
                    self._topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
                )
                while not stop.is_set():
                    self._read(self._consumer, stop)
            except KafkaException as error:
                # a client that has failed for good is replaced: the replica does not end for it
                log.error("consumer failed, making a new one", extra=fields(detail=error.args[0].str()))  # noqa: TRY400
                self._clock.wait(stop, 1.0)
            except MemoryError:
                exhausted()
                raise
            finally:
                self._leave()
        while self._hand_over.under_way:
            if not self._is_followed():
                self._hand_over.stop()
            self._hand_over.join(FOLLOWED_SECONDS)

    def _leave(self) -> None:
        """Leave the group, so that others take over at once."""
        self._let_go(list(self.owners), orderly=True)
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with self._watchdog.call("consumer.close", ROUND_SECONDS):
                consumer.close()

    def is_taken(self, topic: str, partition: int) -> bool:
        """Whether a partition that was taken away from us has another owner by now, be it one of this replica.

        Raises:
            KafkaException: the coordinator does not answer.
        """
        if (topic, partition) in self.owners:
            return True
        return self._owner_in_group(topic, partition) not in (None, self.member_id)

    def _is_followed(self) -> bool:
        """Whether the group has other members, who take over."""
        try:
            return self._others(self.member_id)
        except KafkaException as error:
            # the embedded broker cannot be asked, and has nobody else
            return bool(error.args[0].code() != KafkaError._UNSUPPORTED_FEATURE)  # noqa: SLF001

    def _read(self, consumer: Consumer, stop: threading.Event) -> None:
        with self._watchdog.call("consumer.poll", ROUND_SECONDS):
            messages = poll_batch(consumer, self._patience(), self._most)
        quietly = bool(messages) and not any(map(_tells_something, messages))
        if messages:
            self._hand_out(messages, quietly=quietly)
        self._gathered += len(messages)
        if self._gathered >= PASSED_ON or len(messages) < self._most:
            self._pass_on(consumer)
        if self._paused:
            self._resume(consumer)
        if self._restorers.awaited:
            self._go_on(consumer)
        if self._retake_at or any(owner.ended_by for owner in self.owners.values()):
            self._retake(consumer)
        if self._clock.monotonic() >= self._note_lags_at:
            self._note_lags_at = self._clock.monotonic() + LAG_SECONDS
            self._note_lags(consumer)
        self._rouse()
        if quietly and not self._reads_ahead:
            self._clock.wait(stop, REST_SECONDS)

    def _rouse(self) -> None:
        """Those who have not heard for a while what they were given quietly."""
        if self._rouse_at is not None and self._clock.monotonic() >= self._rouse_at:
            self._rouse_at = None
            for owner in self.owners.values():
                owner.inbox.rouse()

    def _patience(self) -> float:
        """How long to wait for records, in seconds, before there is something else to look after."""
        if self._restorers.awaited:
            return AWAITING_SECONDS
        if self._rouse_at is not None:
            return UNHEARD_SECONDS
        if self._paused or self._reads_ahead:
            return POLL_SECONDS
        return IDLE_SECONDS

    @property
    def _reads_ahead(self) -> bool:
        """Whether an owner still reads what stands in the log: it is to have it as soon as it comes."""
        return any(owner.reads_ahead for owner in self.owners.values())

    def _pass_on(self, consumer: Consumer) -> None:
        self._gathered, self._most = 0, FIRST_BATCH
        for key, owner in self.owners.items():
            if owner.reads_ahead:
                owner.log_end = self._end_of(consumer, key)
            if owner.restores_behind_ms is None and key not in self._restorers.awaited:
                self._most = BATCH
            owner.inbox.pass_on()

    def _note_lags(self, consumer: Consumer) -> None:
        lags = {}
        for key, owner in self.owners.items():
            awaited = self._restorers.awaited.get(key)
            if awaited is not None:
                lags[key] = awaited.left
                owner.standing = owner.standing._replace(pending=awaited.pending)
                continue
            if key not in self._read_up_to:
                continue
            end = self._end_of(consumer, key)
            if end is not None:
                lags[key] = max(0, end - self._read_up_to[key]) + owner.inbox.backlog
        self.lags = lags

    def _go_on(self, consumer: Consumer) -> None:
        """Read on behind what other processes have restored, and what they have not."""
        awaited = self._restorers.awaited
        if not any(owner.reads_ahead for key, owner in self.owners.items() if key not in awaited):
            self._restorers.take_back()
        for key, restored in self._restorers.come():
            owner = self.owners[key]
            if restored is None:
                owner.go_on()
            else:
                owner.go_on(restored.engine, restored.read_to)
            consumer.resume([TopicPartition(*key)])
            consumer.seek(TopicPartition(*key, owner.reads_from))

    @staticmethod
    def _end_of(consumer: Consumer, key: Key) -> int | None:
        """Where the log ends, as the client remembers it from the last fetch: the broker is not asked."""
        try:
            end: int = consumer.get_watermark_offsets(TopicPartition(*key), cached=True)[1]
        except KafkaException as error:
            log.debug(
                "the end of the log is not known",
                extra=fields(topic=key[0], partition=key[1], detail=str(error.args[0])),
            )
            return None
        return end if end >= 0 else None

    def _hand_out(self, messages: list[Message], *, quietly: bool) -> None:
        if quietly and self._rouse_at is None:
            self._rouse_at = self._clock.monotonic() + UNHEARD_SECONDS
        for key, given in by_partition(messages, self._topics):
            owner = self.owners.get(key)
            if owner is None or owner.ended_by is not None or key in self._restorers.awaited:
                for message in given:
                    self._report(message)
                continue
            owner.give(given, quietly=quietly)
            last, error = given[-1], given[-1].error()
            if error is None or error.code() == _EOF:
                self._read_up_to[key] = last.offset() + (error is None)  # an end is where the next record will be
            if not owner.inbox.room.is_set():
                self._make_room(key, owner)

    def _report(self, message: Message) -> None:
        error = message.error()
        if error is None or error.code() == _EOF:
            return  # of a partition that was just taken away
        if error.fatal():
            raise KafkaException(error)
        if error.code() not in _QUIET:
            log.warning("consumer", extra=fields(topic=message.topic(), detail=error.str()))

    def _make_room(self, key: Key, owner: Owner) -> None:
        """Let a busy owner catch up; leave one that is putting up a fence alone for a while."""
        if owner.reading:
            self._clock.wait(owner.inbox.room, ROOM_SECONDS)
        elif self._consumer is not None and key not in self._paused:
            self._consumer.pause([TopicPartition(*key)])
            self._paused.add(key)

    def _resume(self, consumer: Consumer) -> None:
        for key in list(self._paused):
            owner = self.owners.get(key)
            if owner is not None and owner.inbox.room.is_set():
                consumer.resume([TopicPartition(*key)])
                self._paused.discard(key)

    # -- the group -----------------------------------------------------------------------------------

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._consumer is None:
            return  # it closes: what it is asked then may fail, and a failure in here becomes a SystemError
        self.joined = True
        self._on_rebalance("assigned")
        self.member_id = consumer.memberid()
        keys = [(each.topic, each.partition) for each in partitions]
        if keys:
            log.info("assigned", extra=fields(partitions=names(keys)))
        self._on_assign(keys)
        owners = {key: self._own(*key) for key in keys}
        cold = [key for key, owner in owners.items() if owner.begin == OFFSET_BEGINNING]
        self._restorers.begin(cold, self._clock.now_ms() + AHEAD_MS)
        awaited = self._restorers.awaited
        for partition in partitions:
            key = partition.topic, partition.partition
            partition.offset = awaited[key].job.end if key in awaited else owners[key].begin
        for key, owner in owners.items():
            if key in awaited:
                owner.hold()
            owner.start()
        consumer.incremental_assign(partitions)
        consumer.pause([TopicPartition(*key) for key in owners if key in awaited])

    def _own(self, topic: str, partition: int) -> Owner:
        owner = self._make_owner(topic, partition)
        self.owners = {**self.owners, (topic, partition): owner}
        return owner

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # the client may call this where the partitions are lost: nothing here relies on still owning them
        self._dispossess(consumer, partitions, "revoked")

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._dispossess(consumer, partitions, "lost")

    def _dispossess(self, consumer: Consumer, partitions: list[TopicPartition], how: str) -> None:
        self._on_rebalance(how)
        keys = [(each.topic, each.partition) for each in partitions]
        if keys:
            log.info(how, extra=fields(partitions=names(keys)))
        self._let_go(keys, orderly=how == "revoked")
        consumer.incremental_unassign(partitions)

    def _let_go(self, keys: Sequence[Key], *, orderly: bool) -> None:
        """Others will have them: whoever fires there goes on until they do."""
        leaving = {key: owner for key in keys if (owner := self.owners.get(key)) is not None}
        read_up_to = self._read_up_to
        staying = {
            key: (owner, read_up_to[key]) for key, owner in leaving.items() if key in read_up_to and owner.may_stay
        }
        self.owners = {key: owner for key, owner in self.owners.items() if key not in leaving}
        self._hand_over.begin(staying, orderly=orderly)
        self._restorers.drop(keys)
        for key in keys:
            self._paused.discard(key)
            self._retake_at.pop(key, None)
            read_up_to.pop(key, None)
        stopping = [owner for key, owner in leaving.items() if key not in staying]
        for owner in stopping:
            owner.stop()
        deadline = Deadline(self._clock, HAND_OVER_SECONDS if orderly else 0.0)
        for owner in stopping:
            owner.join(deadline.remaining())
        self._on_release(leaving)

    def _retake(self, consumer: Consumer) -> None:
        """Start afresh what ended by itself (fenced, failed) but is ours, as the coordinator says."""
        now = self._clock.monotonic()
        for key, owner in self.owners.items():
            if owner.ended_by is None:
                self._retake_at.pop(key, None)
            elif now >= self._retake_at.setdefault(key, now + RETAKE_SECONDS):
                self._retake_at[key] = now + RETAKE_SECONDS
                try:
                    ours = self.is_ours(*key)
                except KafkaException as error:
                    log.warning("cannot ask for the owner", extra=fields(detail=error.args[0].str()))
                    continue
                if ours:
                    log.info("taking over again", extra=fields(topic=key[0], partition=key[1]))
                    afresh = self._own(*key)
                    afresh.start()
                    consumer.seek(TopicPartition(*key, afresh.begin))


def _tells_something(message: Message) -> bool:
    """Whether it is neither a tombstone nor the end of a partition."""
    error = message.error()
    return message.value() is not None if error is None else error.code() != _EOF
