"""The transactional producer of one partition: all of a batch, or nothing of it.

Its transactional id is the partition's, so that opening it fences whoever held the partition before,
even a process that is frozen. After any call that raises or takes too long it is of no more use: the
client speaks the first transaction protocol, in which a delayed end of one transaction may decide the
next one of the same producer. Whoever uses it then opens a new one and reads from the log what happened.

The client also asks for the end of a transaction a second time by itself, where it loses the connection before
the answer, and says nothing of it. The first request may still be on its way. So a producer is of no more use
either, though its transaction is committed, where the commit took as long as that takes.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from scheduler.broker.failures import CLIENT_ERRORS, FATAL, LOST, Kind, PublishError, fault_of, kind, poison
from scheduler.clock import Deadline
from scheduler.runtime.kafka import RETRY_BACKOFF_MS, meet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from scheduler.clock import Clock
    from scheduler.engine.settlement import Out
    from scheduler.runtime.kafka import Conf
    from scheduler.runtime.watchdog import Call, Watchdog

COMMIT_SECONDS = 5.0
"""A transaction that takes longer is uncertain; after one that did, the next one may take twice as long, so that a
cluster that is slow for everybody is not asked in vain for ever."""
LONGEST_SHARE = 0.8
"""Of the time after which Kafka itself gives a transaction up: the longest that one may take."""
RESENT_SECONDS = 0.75 * RETRY_BACKOFF_MS / 1000
"""A commit that is answered sooner was asked for once: the client waits for its backoff, less a fifth, before it asks
again. (An end of a transaction takes 3 to 20 ms.)"""
BUSY_SHARE = 0.25
"""Of the time that a transaction took: for how long the coordinator is probably busy with it after its end is answered.
The next one, asked for meanwhile, is refused, and the client asks again after 20 ms, not sooner: of the bare client's,
which does not wait, up to one in 100 at 1,000/s and one in 20 at 10,000/s; at 0.15 one in 3,000 and 600. From there to
0.4 a firing at 1,000/s is no later and takes up to 5 % less CPU, as more of them share a transaction."""
MOST_BUSY_SECONDS = 0.004
INIT_SECONDS = 10.0
UNEASY_SECONDS = 1.0
"""Records that are not acknowledged by then may never be: their topics are looked at. Giving up before the commit
is asked for leaves no doubt, so it costs the neighbours this second, not the five of a commit."""
CAUSE_SECONDS = 1.0
"""For the client to say why a transaction has failed; it asks nobody, but on a busy machine it takes a moment."""
ABORT_SECONDS = 1.0
"""An aborted transaction lets the next producer in at once (8 ms, not the 500 of one that has to be aborted for it)."""

AHEAD_MS = 15
"""So long before it is due a transaction may be prepared. At 1,000/s the bare client is 1.6 ms late with it and 2.8
without at the median; with 1,000 due at one instant 26 and 34 at the worst: what the coordinator and the client have
to do for each record is done by then."""
_LEAVES_SOONER = {"queue.buffering.max.ms", "batch.size", "batch.num.messages"}
"""Where the client's own settings say one of these, nothing is prepared; see `ahead_ms`."""

ANY = -1
"""The client's word for a partition that the key decides."""
NOW = 0
"""And for a timestamp."""

_SLOW = {KafkaError._TIMED_OUT, KafkaError._MSG_TIMED_OUT, KafkaError.REQUEST_TIMED_OUT}  # noqa: SLF001
_CONSEQUENCES = {KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}  # noqa: SLF001 - librdkafka's public codes
"""Errors of records that failed only because another one did."""
_OVER = {FATAL, KafkaError._STATE}  # noqa: SLF001 - librdkafka's public codes
"""What a producer says of the next record once a transaction has failed: not why it did."""
_UNANSWERED = _SLOW | _CONSEQUENCES


class Publisher:
    """Opens, publishes, closes; one thread at a time.

    Args:
        conf: of its producers.
        topic: that it writes to, among others.
        clock: for how long a transaction may take.
        watchdog: is told of each call that may not return.
    """

    def __init__(self, conf: Conf, topic: str, clock: Clock, watchdog: Watchdog) -> None:
        self._conf = conf
        self._topic = topic
        self._clock = clock
        self._watchdog = watchdog
        self.worn = False
        """Whether the producer has to be replaced before the next transaction: a second end of the last one may be on
        its way."""
        self._producer: Producer | None = None
        self._begun = False
        """Whether the next transaction is begun already; there is nothing in it, and the broker knows nothing of it."""
        self._prepared = False
        """Whether it holds records."""
        self._busy_until = 0.0
        self._seconds = COMMIT_SECONDS
        self._longest = max(COMMIT_SECONDS, LONGEST_SHARE * conf["transaction.timeout.ms"] / 1000)
        self._fault: KafkaError | None = None
        self._unanswered: set[str] = set()
        self._refused: set[str] = set()

    def open(self) -> None:
        """Make a producer and fence every other one of this partition.

        Returns when the last transaction of the fenced one is decided.

        Raises:
            PublishError: it could not be done now; FENCED and FATAL will not pass by trying again.
        """
        self.close()
        self.worn = False
        try:
            with self._watching("init_transactions", INIT_SECONDS):
                self._producer = meet(Producer({**self._conf, "on_delivery": self._delivered}), self._topic)
                self._producer.init_transactions(INIT_SECONDS)
        except KafkaException as error:
            failure = PublishError(kind(error.args[0]), str(error.args[0]))
        else:
            return
        self.close()
        raise failure

    def prepare(self, outs: Iterable[Out], timestamp_ms: int) -> None:
        """Have the next transaction hold these records, of which none leaves this process within `ahead_ms`.

        Meanwhile the coordinator is told of their partitions. Then `publish` or `discard` it.

        Args:
            outs: the records; of each topic fewer, and less, than what leaves the client by itself.
            timestamp_ms: that they bear; they would bear an earlier one than what they tell of is due.

        Raises:
            PublishError: none of them stands in the log; the producer is closed.
        """

        def fill(producer: Producer, _: Deadline) -> None:
            self._begin(producer)
            self._produce(producer, outs, timestamp_ms)

        self._try("records", fill)
        self._prepared = True

    def publish(self, outs: Iterable[Out], ailing: Callable[[], bool] = lambda: False) -> None:
        """Write the records in one transaction, or what was prepared for it.

        Args:
            outs: the records; of no account where some were prepared.
            ailing: asked where it takes long; whether to give it up.

        Raises:
            PublishError: nobody knows whether they stand in the log; the producer is closed.
        """

        def write(producer: Producer, deadline: Deadline) -> PublishError | None:
            started = self._clock.monotonic()
            if not self._prepared:
                self._begin(producer)
                self._produce(producer, outs)
            self._prepared = False
            if producer.flush(UNEASY_SECONDS) and ailing():
                silent = self._unanswered_by(producer)
                detail = f"not acknowledged: {', '.join(sorted(silent))}"
                return PublishError(Kind.ABORTABLE, detail, unanswered=silent)
            self._end(producer, started, lambda: producer.commit_transaction(max(UNEASY_SECONDS, deadline.remaining())))
            return None

        self._try("transaction", write)
        self._seconds = COMMIT_SECONDS

    def discard(self) -> None:
        """Give up what was prepared: none of it has left.

        Raises:
            PublishError: it took too long; nothing of it stands in the log, and the producer is closed.
        """

        def drop(producer: Producer, deadline: Deadline) -> None:
            started = self._clock.monotonic()
            self._prepared = False
            # it drops what waits by itself; after a purge from outside the next records would have skipped numbers
            self._end(producer, started, lambda: producer.abort_transaction(deadline.remaining()))

        self._try("abort", drop)

    def _try(self, step: str, do: Callable[[Producer, Deadline], PublishError | None]) -> None:
        producer = self._producer
        if producer is None:
            raise PublishError(Kind.FATAL, "the producer is closed")
        deadline = Deadline(self._clock, self._seconds)
        failure = None
        try:
            with self._watching(step, self._seconds + UNEASY_SECONDS):
                failure = do(producer, deadline)
        except CLIENT_ERRORS as error:
            failure = self._failure(producer, fault_of(error))
        if failure is None and deadline.passed:
            failure = PublishError(Kind.ABORTABLE, f"the {step} took longer than {self._seconds:g} s")
        if deadline.passed:
            self._seconds = min(self._longest, 2 * self._seconds)
        if failure is not None:
            # raised out here, where no traceback holds the producer: its end must not wait for one
            del producer
            self.close()
            raise failure

    def _begin(self, producer: Producer) -> None:
        self._fault = None
        self._unanswered = set()
        self._refused = set()
        if not self._begun:
            producer.begin_transaction()
        self._begun = False

    def _end(self, producer: Producer, started: float, end: Callable[[], None]) -> None:
        asked = self._clock.monotonic()
        end()
        now = self._clock.monotonic()
        self.worn = now - asked >= RESENT_SECONDS
        self._busy_until = now + min(MOST_BUSY_SECONDS, BUSY_SHARE * (now - started))
        self._begin_ahead(producer)

    @property
    def ahead_ms(self) -> int:
        """How long what is prepared stays in this process, whatever happens: as long as the client lingers; 0 is not.

        So nothing is in the log before it is due, not even for readers that do not wait for transactions to end.
        """
        lingers = float(self._conf["linger.ms"]) >= AHEAD_MS and not _LEAVES_SOONER & self._conf.keys()
        return AHEAD_MS if lingers else 0

    @property
    def busy_seconds(self) -> float:
        """How long the coordinator is probably busy with the last transaction, and would refuse the next one."""
        return max(0.0, self._busy_until - self._clock.monotonic())

    def _begin_ahead(self, producer: Producer) -> None:
        """While nobody waits for it: it takes two turns with the client's own thread, and asks no broker."""
        if not self.worn:
            with contextlib.suppress(*CLIENT_ERRORS):  # the next transaction says why it cannot begin
                producer.begin_transaction()
                self._begun = True

    def _watching(self, call: str, seconds: float) -> Call:
        return self._watchdog.call(call, seconds, transactional_id=self._conf["transactional.id"])

    def _produce(self, producer: Producer, outs: Iterable[Out], timestamp_ms: int = NOW) -> None:
        produce = producer.produce
        # by position: the client looks for each argument that is not given by its name, a fifth of the call
        for topic, partition, key, value, headers in outs:
            while True:
                try:
                    where = ANY if partition is None else partition
                    produce(topic, value, key, where, None, None, timestamp_ms, headers)
                except BufferError:
                    producer.poll(0.05)  # the local queue is full: let some of it go out
                except KafkaException as error:
                    if poison(error.args[0]) is not None:
                        self._refused.add(topic)
                    raise
                else:
                    break

    def _failure(self, producer: Producer, error: KafkaError) -> PublishError:
        fault = _first_cause(producer) if error.code() in _OVER else _untold(producer) if error is LOST else error
        with contextlib.suppress(*CLIENT_ERRORS):  # a producer that has failed for good says so again
            producer.poll(0)  # reports what was refused so far
        # asked before the cause: what is given up here may have been refused meanwhile
        unanswered = self._unanswered_by(producer) if fault.code() in _SLOW else frozenset()
        cause = self._cause(fault)
        reason = poison(cause)
        if reason is not None:
            with contextlib.suppress(*CLIENT_ERRORS):  # it only spares time: the next producer would do it
                producer.abort_transaction(ABORT_SECONDS)
        return PublishError(kind(fault), str(cause), reason, unanswered, frozenset(self._refused))

    def _unanswered_by(self, producer: Producer) -> frozenset[str]:
        """The topics that have not acknowledged what was sent to them."""
        with contextlib.suppress(*CLIENT_ERRORS):
            producer.purge()
            producer.poll(0)  # reports what was purged
        return frozenset(self._unanswered)

    def _cause(self, error: KafkaError) -> KafkaError:
        """What a record was refused for; else what the transaction itself was refused for."""
        return error if self._fault is None or self._fault.code() in _CONSEQUENCES else self._fault

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            return
        if error.code() in _UNANSWERED:
            self._unanswered.add(message.topic())
        elif poison(error) is not None:
            self._refused.add(message.topic())
        known = self._fault
        if known is None or known.code() in _CONSEQUENCES or (poison(known) is None and poison(error) is not None):
            self._fault = error

    def close(self) -> None:
        """Drop the producer with whatever it still holds; opening again fences what it may yet do.

        Never waits for the broker: the client's own `close` would abort a transaction first, which does.
        """
        if self._producer is not None:
            with contextlib.suppress(KafkaException):  # nothing that it says now changes anything
                self._producer.purge()
            self._producer = None
        self._begun = self._prepared = False


def _untold(producer: Producer) -> KafkaError:
    """Why a producer that said nothing can do no more, if it cannot: to begin where one has begun changes nothing."""
    fault = LOST
    try:
        producer.begin_transaction()
    except CLIENT_ERRORS as error:
        fault = fault_of(error)
    return LOST if fault.code() == KafkaError._STATE else fault  # noqa: SLF001 - librdkafka's public code


def _first_cause(producer: Producer) -> KafkaError:
    """Why a transaction, or a producer for good, has failed (it is fenced, say): only its end tells, unsent."""
    try:
        producer.commit_transaction(CAUSE_SECONDS)
    except CLIENT_ERRORS as error:
        return fault_of(error)
    return KafkaError(FATAL)
