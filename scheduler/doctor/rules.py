"""The doctor's judgement: facts in, findings out. Pure.

What a guarantee stands on is *failed* where it does not hold, what works until something breaks is a
*warning*. The figures are those of `scheduler.topics`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.doctor.facts import Facts, Forbidden, Missing, Role, TopicFacts, Unknown
from scheduler.doctor.findings import Finding, Status
from scheduler.doctor.log_rules import open_transactions, restores
from scheduler.doctor.topic_rules import copies, places, rights_on, settings_of
from scheduler.durations import format_duration
from scheduler.needs import needed_topics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scheduler.runtime.settings import Settings

OK, WARNING, FAILED, UNKNOWN = Status
ALARMING_MS = 1000
"""A clock that is wrong by more makes schedules visibly late or early."""
GROUP_RIGHTS = frozenset({"Read", "Describe"})


def examine(facts: Facts, settings: Settings) -> list[Finding]:
    """Every check, in the order in which to mend what they find."""
    if facts.embedded:
        return [Finding(WARNING, "brokers", "the embedded broker", "it is for looking around; it promises nothing")]
    return [
        *_brokers(facts),
        *_targets(facts, settings),
        *_topics(facts, settings),
        *_transactions(facts, settings),
        *_sessions(facts, settings),
        *_group(facts, settings),
        _clock(facts),
        *restores(facts),
        *open_transactions(facts, settings),
    ]


def unanswered(settings: Settings, why: str) -> Finding:
    """The one finding where no broker answers."""
    return Finding(
        FAILED,
        "brokers",
        f"{settings.bootstrap_servers}: {why}",
        "check BOOTSTRAP_SERVERS, the network, and CONFIGURATION_FILE where the brokers ask for TLS or SASL",
    )


def _brokers(facts: Facts) -> Iterator[Finding]:
    yield Finding(OK, "brokers", _listed(facts.brokers))
    if len(facts.brokers) == 1:
        yield Finding(
            WARNING, "copies", "one broker has everything", "what is lost with it is lost; three brokers are safe"
        )


def _listed(brokers: Mapping[int, str]) -> str:
    named = ", ".join(f"{number} at {address}" for number, address in sorted(brokers.items()))
    return f"{len(brokers)} answer{'s' if len(brokers) == 1 else ''}: {named}"


def _targets(facts: Facts, settings: Settings) -> Iterator[Finding]:
    if isinstance(facts.targets, Unknown):
        yield Finding(
            FAILED,
            "brokers of targets",
            f"{settings.target_bootstrap_servers}: {facts.targets.why}",
            "check TARGET_BOOTSTRAP_SERVERS; until they answer nothing fires",
        )
    elif facts.targets is not None:
        yield Finding(OK, "brokers of targets", _listed(facts.targets))


def _topics(facts: Facts, settings: Settings) -> Iterator[Finding]:
    for name, topic in facts.topics.items():
        role = facts.roles[name]
        check = f"topic {name}"
        if isinstance(topic, Missing):
            if role is not Role.INTERNAL:
                yield Finding(
                    FAILED,
                    check,
                    "missing",
                    "create it with: scheduler doctor --fix, or scheduler topics --create",
                    command=_create(settings, name),
                )
        elif isinstance(topic, Forbidden):
            yield Finding(
                FAILED,
                f"rights on {name}",
                f"{topic.operation} is missing",
                f"allow these credentials to {topic.operation} the topic",
                command=_allow(topic.operation, f"--topic {name}"),
            )
        elif isinstance(topic, Unknown):
            yield Finding(UNKNOWN, check, topic.why)
        else:
            yield from _topic(facts, settings, name, role, topic)


def _create(settings: Settings, name: str) -> str:
    config = next(spec.config for spec in needed_topics(settings) if spec.name == name)
    return (
        f"kafka-topics.sh --bootstrap-server {{server}} --create --topic {name} --partitions {settings.partitions} "
        f"--replication-factor {settings.replication_factor}"
        + "".join(f" --config {setting}={value}" for setting, value in config.items())
    )


def _topic(facts: Facts, settings: Settings, name: str, role: Role, topic: TopicFacts) -> Iterator[Finding]:
    found = [*places(name, topic), *copies(name, topic, role, brokers=len(facts.brokers))]
    if role is not Role.INTERNAL:
        found += settings_of(name, topic, role, _largest_schedule(facts, settings))
        found += rights_on(name, topic, role)
    # what is well about a topic is one row, what is not has a row each
    yield Finding(OK, f"topic {name}", "; ".join(each.seen for each in found if each.status is OK and each.seen))
    yield from (each for each in found if each.status is not OK)


def _largest_schedule(facts: Facts, settings: Settings) -> int | None:
    """The largest record that a schedules topic takes: what is fired from it has to fit elsewhere."""
    sizes = [
        int(topic.config["max.message.bytes"])
        for topic in map(facts.topics.get, settings.schedules_topics)
        if isinstance(topic, TopicFacts)
        and not isinstance(topic.config, Unknown)
        and "max.message.bytes" in topic.config
    ]
    return max(sizes, default=None)


def _transactions(facts: Facts, settings: Settings) -> Iterator[Finding]:
    check = "transactions"
    prefix = f"{settings.group_id}-"
    asked = facts.transactional_id
    if isinstance(asked, Forbidden):
        yield Finding(
            FAILED,
            check,
            f"{asked.operation} is missing on transactional ids that begin with {prefix}",
            "nothing can fire; allow Write and Describe on them",
            command=_allow("Write", f"--transactional-id {prefix} --resource-pattern-type prefixed"),
        )
    elif isinstance(asked, Unknown):
        yield Finding(FAILED, check, f"cannot be begun: {asked.why}", "look at the brokers' transaction coordinators")
    else:
        yield Finding(OK, check, f"a transactional id that begins with {prefix} can be had")
    check = "TRANSACTION_TIMEOUT"
    most = _limit(facts, "transaction.max.timeout.ms")
    if isinstance(most, Unknown):
        yield Finding(UNKNOWN, check, most.why)
    elif settings.transaction_timeout > most:
        yield Finding(
            FAILED,
            check,
            f"{settings.transaction_timeout} ms; the brokers' transaction.max.timeout.ms is {most}",
            f"nothing can fire; set TRANSACTION_TIMEOUT to {most} or less",
        )
    else:
        yield Finding(OK, check, f"{settings.transaction_timeout} ms, the brokers allow {most}")


def _sessions(facts: Facts, settings: Settings) -> Iterator[Finding]:
    check = "SESSION_TIMEOUT"
    least, most = (_limit(facts, f"group.{which}.session.timeout.ms") for which in ("min", "max"))
    if isinstance(least, Unknown) or isinstance(most, Unknown):
        yield Finding(UNKNOWN, check, least.why if isinstance(least, Unknown) else str(most))
    elif not least <= settings.session_timeout <= most:
        yield Finding(
            FAILED,
            check,
            f"{settings.session_timeout} ms; the brokers take {least} to {most} (group.min.session.timeout.ms, max)",
            "no replica can join; set SESSION_TIMEOUT within these",
        )
    else:
        yield Finding(OK, check, f"{settings.session_timeout} ms, the brokers take {least} to {most}")


def _limit(facts: Facts, name: str) -> int | Unknown:
    if isinstance(facts.limits, Unknown):
        return facts.limits
    if name not in facts.limits:
        return Unknown(f"the brokers do not tell their {name}")
    return int(facts.limits[name])


def _group(facts: Facts, settings: Settings) -> Iterator[Finding]:
    check = f"group {settings.group_id}"
    group = facts.group
    missing: frozenset[str] = frozenset()
    if isinstance(group, Unknown):
        yield Finding(UNKNOWN, check, group.why)
        return
    if isinstance(group, Forbidden):
        missing = frozenset({group.operation})
    elif isinstance(group.operations, Unknown):
        yield Finding(UNKNOWN, check, group.operations.why)
    else:
        missing = GROUP_RIGHTS - group.operations
    if missing:
        named = " and ".join(sorted(missing))
        yield Finding(
            FAILED,
            check,
            f"{named} is missing",
            "no replica can join; allow these credentials to Read the group",
            command=_allow("Read", f"--group {settings.group_id}"),
        )
        return
    members = group.members if not isinstance(group, Forbidden) else 0
    topics = [facts.topics.get(name) for name in settings.schedules_topics]
    partitions = sum(len(topic.partitions) for topic in topics if isinstance(topic, TopicFacts))
    seen = f"{members} replica{'' if members == 1 else 's'} for {partitions} partitions"
    if members > partitions and all(isinstance(topic, TopicFacts) for topic in topics):
        yield Finding(WARNING, check, seen, "some have nothing to do; they take over when others end")
    else:
        yield Finding(OK, check, seen)


def _clock(facts: Facts) -> Finding:
    check = "clock"
    skew = facts.skew
    if isinstance(skew, Unknown):
        return Finding(UNKNOWN, check, skew.why)
    advice = "schedules fire late or early by so much; synchronise it (NTP)"
    if skew.most_ms is not None and skew.most_ms < -ALARMING_MS:
        return Finding(
            FAILED, check, f"this machine is at least {format_duration(-skew.most_ms)} behind the brokers", advice
        )
    if skew.least_ms is not None and skew.least_ms > ALARMING_MS:
        return Finding(
            FAILED, check, f"this machine is at least {format_duration(skew.least_ms)} ahead of the brokers", advice
        )
    if skew.least_ms is None or skew.most_ms is None or skew.most_ms > ALARMING_MS or skew.least_ms < -ALARMING_MS:
        return Finding(
            UNKNOWN,
            check,
            "not behind the brokers; whether it is ahead shows only while something fires",
            "look at scheduler_clock_skew_seconds of a replica",
        )
    return Finding(OK, check, f"between {skew.least_ms} and {skew.most_ms} ms from the brokers'")


def _allow(operation: str, resource: str) -> str:
    allowed = f"--allow-principal User:NAME --operation {operation}"
    return f"kafka-acls.sh --bootstrap-server {{server}} --add {allowed} {resource}"
