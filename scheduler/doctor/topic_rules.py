"""The doctor's judgement of one topic: its partitions, its copies, its settings, and the rights on it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.doctor.facts import Role, TopicFacts, Unknown
from scheduler.doctor.findings import Finding, Status
from scheduler.topics import MINUTE_MS, SAFE_REPLICATION, schedules_topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OK, WARNING, FAILED, UNKNOWN = Status

SAFE_IN_SYNC = 2
_KEPT = schedules_topic("").config
_AT_LEAST = (
    (
        "min.compaction.lag.ms",
        int(_KEPT["min.compaction.lag.ms"]),
        MINUTE_MS,
        "an update that a firing hides is lost if every replica is down for longer",
    ),
    ("delete.retention.ms", int(_KEPT["delete.retention.ms"]), 0, "a restore has to end within it"),
)
"""Setting, what it should have, below what it is grave, why."""
_AT_MOST = (
    ("max.compaction.lag.ms", int(_KEPT["max.compaction.lag.ms"]), "what has fired stays on a quiet topic for so long"),
    ("segment.ms", int(_KEPT["segment.ms"]), "a restart reads what has fired for so long on a quiet topic"),
)
_RIGHTS = {
    Role.SCHEDULES: frozenset({"Read", "Write", "Describe"}),
    Role.HISTORY: frozenset({"Write", "Describe"}),
    Role.DEAD_LETTERS: frozenset({"Write", "Describe"}),
    Role.WORK: frozenset({"Write", "Describe"}),
}


def places(name: str, topic: TopicFacts) -> Iterator[Finding]:
    """Partitions without a leader, or with copies that are behind."""
    check = f"topic {name}"
    offline = [number for number, each in topic.partitions.items() if each.leader is None]
    behind = [number for number, each in topic.partitions.items() if len(each.in_sync) < len(each.replicas)]
    if offline:
        yield Finding(
            FAILED, check, f"no leader for partition {_list(offline)}", "start the brokers that have its copies"
        )
    elif behind:
        yield Finding(
            WARNING, check, f"copies are behind for partition {_list(behind)}", "look at the brokers that have them"
        )
    else:
        count = len(topic.partitions)
        yield Finding(OK, check, f"{count} partition{'' if count == 1 else 's'}")


def copies(name: str, topic: TopicFacts, role: Role, *, brokers: int) -> Iterator[Finding]:
    """How many copies there are, and how many have to be in sync."""
    check = f"copies of {name}"
    count = min((len(each.replicas) for each in topic.partitions.values()), default=0)
    if isinstance(topic.config, Unknown):
        yield Finding(UNKNOWN, check, f"{count}; {topic.config.why}")
        return
    needed = int(topic.config.get("min.insync.replicas", "1"))
    seen = f"{count} cop{'y' if count == 1 else 'ies'}, of which {needed} must be in sync"
    grave = WARNING if role is Role.WORK else FAILED
    if needed > count:
        yield Finding(
            FAILED, check, seen, "nothing can be written", name, {"min.insync.replicas": str(max(1, count - 1))}
        )
    elif brokers < SAFE_IN_SYNC:
        yield Finding(OK, check, "one copy")  # said once, of the brokers
    elif count < SAFE_IN_SYNC:
        yield Finding(
            grave,
            check,
            seen,
            f"what is lost with a broker is lost; move it to {min(brokers, SAFE_REPLICATION)} copies with "
            "kafka-reassign-partitions.sh",
        )
    elif needed < SAFE_IN_SYNC:
        yield from _too_few_in_sync(name, check, seen, count, grave)
    elif needed == count:
        yield Finding(
            WARNING, check, seen, "while one broker is down nothing can be written; three copies, two in sync"
        )
    else:
        yield Finding(OK, check, seen)
    if topic.config.get("unclean.leader.election.enable") == "true":
        yield Finding(
            grave,
            f"leaders of {name}",
            "unclean.leader.election.enable=true",
            "a broker that is behind may become the leader, and acknowledged records are lost",
            name,
            {"unclean.leader.election.enable": "false"},
        )


def _too_few_in_sync(name: str, check: str, seen: str, count: int, grave: Status) -> Iterator[Finding]:
    if count < SAFE_REPLICATION:
        yield Finding(
            WARNING,
            check,
            seen,
            "a record may stand on one broker alone when it is acknowledged; three copies, two in sync, are safe",
        )
    else:
        yield Finding(
            grave,
            check,
            seen,
            "a record may stand on one broker alone when it is acknowledged",
            name,
            {"min.insync.replicas": str(SAFE_IN_SYNC)},
        )


def settings_of(name: str, topic: TopicFacts, role: Role, largest: int | None) -> Iterator[Finding]:
    """The settings of a topic: all well in one row, otherwise a row for each that is not.

    Args:
        name: the topic.
        topic: what is known of it.
        role: what it is for.
        largest: the largest record that a schedules topic takes, in bytes.
    """
    check = f"settings of {name}"
    config = topic.config
    if isinstance(config, Unknown):
        yield Finding(UNKNOWN, check, config.why, "allow these credentials to DescribeConfigs the topic")
        return
    found: list[Finding] = []
    if role is Role.SCHEDULES:
        found = list(_schedules_settings(name, check, config))
    elif role in (Role.HISTORY, Role.DEAD_LETTERS):
        found = list(_records_settings(name, check, config, role, largest))
    if found:
        yield from found
    elif role is not Role.WORK:
        yield Finding(OK, check, f"cleanup.policy={config.get('cleanup.policy', '?')}")


def _schedules_settings(name: str, check: str, config: Mapping[str, str]) -> Iterator[Finding]:
    def row(status: Status, setting: str, advice: str) -> Finding:
        return Finding(status, check, f"{setting}={config.get(setting, '?')}", advice, name, {setting: _KEPT[setting]})

    policy = config.get("cleanup.policy", "").split(",")
    by_age = config.get("retention.ms", "-1") != "-1"
    if "compact" not in policy:
        yield row(FAILED, "cleanup.policy", "schedules are deleted by age, or never: the topic has to be compacted")
    elif "delete" in policy:
        deletes = by_age or config.get("retention.bytes", "-1") != "-1"
        yield row(FAILED if deletes else WARNING, "cleanup.policy", "`delete` loses schedules: compact it alone")
    if by_age:
        # also where the policy deletes nothing now: whoever changes it later would not think of this
        yield row(
            FAILED if "delete" in policy else WARNING, "retention.ms", "with `delete` in its policy it loses schedules"
        )
    for setting, bound, grave, advice in _AT_LEAST:
        value = int(config.get(setting, "0"))
        if value < bound:
            yield row(FAILED if value < grave else WARNING, setting, advice)
    for setting, bound, advice in _AT_MOST:
        if int(config.get(setting, "0")) > bound:
            yield row(WARNING, setting, advice)


def _records_settings(
    name: str, check: str, config: Mapping[str, str], role: Role, largest: int | None
) -> Iterator[Finding]:
    size = int(config.get("max.message.bytes", "0"))
    if largest is not None and size < largest:
        yield Finding(
            FAILED,
            check,
            f"max.message.bytes={size}, and schedules may have {largest}",
            "a larger one cannot be recorded when it fires: it ends undeliverable",
            name,
            {"max.message.bytes": str(largest)},
        )
    if role is Role.HISTORY and config.get("message.timestamp.type") != "LogAppendTime":
        yield Finding(
            WARNING,
            check,
            f"message.timestamp.type={config.get('message.timestamp.type', '?')}",
            "stamped by the brokers, its times can be relied on, and a replica's wrong clock is noticed",
            name,
            {"message.timestamp.type": "LogAppendTime"},
        )


def rights_on(name: str, topic: TopicFacts, role: Role) -> Iterator[Finding]:
    """What these credentials may do with a topic, against what the scheduler needs."""
    check = f"rights on {name}"
    if isinstance(topic.operations, Unknown):
        yield Finding(UNKNOWN, check, topic.operations.why)
        return
    missing = sorted(_RIGHTS[role] - topic.operations)
    if not missing:
        yield Finding(OK, check, f"may {', '.join(sorted(_RIGHTS[role]))}")
        return
    flags = " ".join(f"--operation {operation}" for operation in missing)
    yield Finding(
        WARNING if role is Role.WORK else FAILED,
        check,
        f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing",
        "jobs for it cannot be delivered with these credentials"
        if role is Role.WORK
        else "a replica with these credentials cannot do its work",
        command=f"kafka-acls.sh --bootstrap-server {{server}} --add --allow-principal User:NAME {flags} --topic {name}",
    )


def _list(numbers: list[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
