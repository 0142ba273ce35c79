"""The doctor's judgement of what stands in the logs: the restore, the keys, transactions that stay open. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.doctor.facts import Facts, TopicFacts, Unknown
from scheduler.doctor.findings import Finding, Status
from scheduler.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler.doctor.facts import OpenTransaction, RestoreFacts
    from scheduler.runtime.settings import Settings

OK, WARNING, FAILED, UNKNOWN = Status
NAMED = 3
"""How many keys are named as examples."""
LONGEST_MS = 15 * 60_000
"""Kafka's default of transaction.max.timeout.ms, where the brokers do not tell theirs."""


def restores(facts: Facts) -> Iterator[Finding]:
    """How long a restore takes, what it finds paused, and where clients put their keys."""
    for name, restore in facts.restores.items():
        if isinstance(restore, Unknown):
            yield Finding(UNKNOWN, f"restore of {name}", restore.why)
        else:
            yield from _restore(facts, name, restore)


def _restore(facts: Facts, name: str, restore: RestoreFacts) -> Iterator[Finding]:
    seen = f"{restore.in_force} in force, read in {restore.seconds:.1f} s"
    check = f"restore of {name}"
    topic = facts.topics.get(name)
    config = topic.config if isinstance(topic, TopicFacts) else Unknown("")
    kept_ms = None if isinstance(config, Unknown) else int(config.get("delete.retention.ms", "0"))
    if kept_ms is not None and restore.seconds * 1000 > kept_ms / 2:
        yield Finding(
            FAILED,
            check,
            f"{seen}; delete.retention.ms keeps tombstones for {format_duration(kept_ms)}",
            "a tombstone may be gone before a restore reads it, and what had fired would fire again; keep them longer",
            name,
            {"delete.retention.ms": str(int(restore.seconds * 1000) * 100)},
        )
    else:
        yield Finding(OK, check, seen)
    if restore.paused:
        yield Finding(
            WARNING,
            f"paused in {name}",
            f"partition {', '.join(map(str, restore.paused))}: nothing fires there",
            "if that is over: scheduler resume --all",
        )
    yield from _keys(name, restore)


def _keys(name: str, restore: RestoreFacts) -> Iterator[Finding]:
    check = f"keys of {name}"
    advice = "partitions were added while it was in use, or a client has another partitioner"
    if restore.doubled:
        named = "; ".join(f"{key} in {', '.join(map(str, partitions))}" for key, partitions in restore.doubled[:NAMED])
        yield Finding(
            FAILED,
            check,
            f"{len(restore.doubled)} in force in several partitions: {named}",
            f"{advice}: each is a schedule of its own and fires. Cancel those that are meant to be one: "
            "scheduler cancel KEY --partition N",
        )
    elif restore.astray:
        why = (
            "they stand where librdkafka's default puts them: let that client set partitioner=murmur2_random"
            if restore.by_librdkafka == restore.astray
            else advice
        )
        yield Finding(
            WARNING,
            check,
            f"{restore.astray} of {restore.looked_at} stand elsewhere than Java's hash puts them",
            f"{why}. An update by another client would be a second schedule",
        )
    else:
        yield Finding(OK, check, f"{restore.looked_at} looked at, each where Java's hash puts it")


def open_transactions(facts: Facts, settings: Settings) -> Iterator[Finding]:
    """What holds up readers of committed records."""
    check = "open transactions"
    if isinstance(facts.open_transactions, Unknown):
        yield Finding(UNKNOWN, check, facts.open_transactions.why)
    elif not facts.open_transactions:
        yield Finding(OK, check, "none that stays open")
    else:
        for each in facts.open_transactions:
            yield _open_transaction(facts, settings, each)


def _open_transaction(facts: Facts, settings: Settings, each: OpenTransaction) -> Finding:
    check = f"open transaction on {each.topic}"
    age_ms = None if each.stamp_ms is None else facts.now_ms - each.stamp_ms
    age = "" if age_ms is None else f", its first record is {format_duration(max(0, age_ms))} old"
    seen = f"partition {each.partition}: readers wait at offset {each.offset} of {each.end}{age}"
    limits = {} if isinstance(facts.limits, Unknown) else facts.limits
    longest_ms = int(limits.get("transaction.max.timeout.ms", LONGEST_MS))
    # no transaction may be open for longer than that: this one is forgotten by its coordinator
    if age_ms is not None and age_ms > longest_ms:
        return Finding(
            FAILED,
            check,
            seen,
            "no coordinator will end it; abort it",
            command=f"kafka-transactions.sh --bootstrap-server {{server}} abort --topic {each.topic} "
            f"--partition {each.partition} --start-offset {each.offset}",
        )
    return Finding(
        WARNING,
        check,
        seen,
        "a client holds it open, or has died: it then ends with its transaction.timeout.ms "
        f"({settings.transaction_timeout} ms for replicas)",
    )
