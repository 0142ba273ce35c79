"""The doctor's rules: facts in, findings out."""

from dataclasses import replace

import pytest

from scheduler import partitioners
from scheduler.doctor.facts import (
    Facts,
    Forbidden,
    GroupFacts,
    Missing,
    OpenTransaction,
    PartitionFacts,
    RestoreFacts,
    Role,
    SkewFacts,
    TopicFacts,
    Unknown,
)
from scheduler.doctor.findings import Finding, Status, commands, failed
from scheduler.doctor.logs import Stamp, skew
from scheduler.doctor.restore import judge_keys
from scheduler.doctor.rules import examine
from scheduler.needs import needed_topics
from scheduler.records import Stored
from scheduler.runtime.settings import Settings
from scheduler.schedule import Schedule

SETTINGS = Settings(replication_factor=3, clusters=["work"])
ALL = frozenset({"Read", "Write", "Describe", "Create"})
LIMITS = {
    "transaction.max.timeout.ms": "900000",
    "group.min.session.timeout.ms": "6000",
    "group.max.session.timeout.ms": "1800000",
}
ROLES = {
    "schedules": Role.SCHEDULES,
    "history": Role.HISTORY,
    "dead-letters": Role.DEAD_LETTERS,
    "results": Role.WORK,
    "work": Role.WORK,
    "work-retry": Role.WORK,
}
DAY_MS = 86_400_000


def topic(name, partitions=2, **config):
    kept = next(spec.config for spec in needed_topics(SETTINGS) if spec.name == name)
    changed = {setting.replace("_", "."): value for setting, value in config.items()}
    place = PartitionFacts(1, (1, 2, 3), (1, 2, 3))
    return TopicFacts(dict.fromkeys(range(partitions), place), {"max.message.bytes": "1048588", **kept, **changed}, ALL)


def facts(**other):
    well = Facts(
        now_ms=10 * DAY_MS,
        brokers={1: "a:9092", 2: "b:9092", 3: "c:9092"},
        limits=LIMITS,
        roles=ROLES,
        topics={name: topic(name) for name in ROLES},
        group=GroupFacts(2, ALL),
        transactional_id=None,
        skew=SkewFacts(-5, 5),
        restores={"schedules": RestoreFacts(1.5, 100, looked_at=100)},
    )
    topics = {**well.topics, **other.pop("topics", {})}
    return replace(well, topics=topics, **other)


def bad(given, settings=SETTINGS):
    """What is not well."""
    return [finding for finding in examine(given, settings) if finding.status is not Status.OK]


def test_where_all_is_well_nothing_is_to_be_done():
    assert bad(facts()) == []
    assert not any(finding.advice or finding.command or finding.alter for finding in examine(facts(), SETTINGS))


def with_copies(name, replicas, in_sync, needed, partitions=2):
    place = PartitionFacts(1, tuple(range(replicas)), tuple(range(in_sync)))
    there = topic(name, min_insync_replicas=str(needed))
    return {name: replace(there, partitions=dict.fromkeys(range(partitions), place))}


ONE_BROKER = {"brokers": {1: "a:9092"}}


@pytest.mark.parametrize(
    ("given", "status", "check", "seen"),
    [
        ({"topics": {"schedules": Missing()}}, "failed", "topic schedules", "missing"),
        ({"topics": {"work": Missing()}}, "failed", "topic work", "missing"),
        ({"topics": {"schedules": Forbidden("Describe")}}, "failed", "rights on schedules", "Describe is missing"),
        ({"topics": {"history": Unknown("no answer")}}, "unknown", "topic history", "no answer"),
        (
            {"topics": {"schedules": topic("schedules", cleanup_policy="delete")}},
            "failed",
            "settings of schedules",
            "cleanup.policy=delete",
        ),
        (
            {"topics": {"schedules": topic("schedules", cleanup_policy="compact,delete")}},
            "warning",
            "settings of schedules",
            "cleanup.policy=compact,delete",
        ),
        (
            {"topics": {"schedules": topic("schedules", retention_ms="1000")}},
            "warning",
            "settings of schedules",
            "retention.ms=1000",
        ),
        (
            {"topics": {"schedules": topic("schedules", min_compaction_lag_ms="0")}},
            "failed",
            "settings of schedules",
            "min.compaction.lag.ms=0",
        ),
        (
            {"topics": {"schedules": topic("schedules", min_compaction_lag_ms="300000")}},
            "warning",
            "settings of schedules",
            "min.compaction.lag.ms=300000",
        ),
        (
            {"topics": {"schedules": topic("schedules", delete_retention_ms="3600000")}},
            "warning",
            "settings of schedules",
            "delete.retention.ms=3600000",
        ),
        (
            {"topics": {"schedules": topic("schedules", max_compaction_lag_ms=str(2**63 - 1))}},
            "warning",
            "settings of schedules",
            f"max.compaction.lag.ms={2**63 - 1}",
        ),
        (
            {"topics": {"schedules": topic("schedules", segment_ms=str(7 * DAY_MS))}},
            "warning",
            "settings of schedules",
            f"segment.ms={7 * DAY_MS}",
        ),
        (
            {"topics": {"history": topic("history", max_message_bytes="1000000")}},
            "failed",
            "settings of history",
            "max.message.bytes=1000000, and schedules may have 1048588",
        ),
        (
            {"topics": {"history": topic("history", message_timestamp_type="CreateTime")}},
            "warning",
            "settings of history",
            "message.timestamp.type=CreateTime",
        ),
        (
            {"topics": {"schedules": topic("schedules", unclean_leader_election_enable="true")}},
            "failed",
            "leaders of schedules",
            "unclean.leader.election.enable=true",
        ),
        ({"topics": with_copies("schedules", 1, 1, 1)}, "failed", "copies of schedules", "1 copy, of which 1"),
        ({"topics": with_copies("work", 1, 1, 1)}, "warning", "copies of work", "1 copy, of which 1"),
        ({"topics": with_copies("schedules", 3, 3, 1)}, "failed", "copies of schedules", "3 copies, of which 1"),
        ({"topics": with_copies("schedules", 2, 2, 1)}, "warning", "copies of schedules", "2 copies, of which 1"),
        ({"topics": with_copies("schedules", 3, 3, 3)}, "warning", "copies of schedules", "3 copies, of which 3"),
        ({"topics": with_copies("schedules", 1, 1, 2)}, "failed", "copies of schedules", "1 copy, of which 2"),
        ({"topics": with_copies("schedules", 3, 2, 2)}, "warning", "topic schedules", "copies are behind"),
        (
            {
                "topics": {
                    "schedules": replace(
                        topic("schedules"),
                        partitions={0: PartitionFacts(None, (1, 2, 3), ()), 1: PartitionFacts(1, (1, 2, 3), (1, 2, 3))},
                    )
                }
            },
            "failed",
            "topic schedules",
            "no leader for partition 0",
        ),
        (
            {"topics": {"schedules": replace(topic("schedules"), operations=ALL - {"Write"})}},
            "failed",
            "rights on schedules",
            "Write is missing",
        ),
        (
            {"topics": {"schedules": replace(topic("schedules"), operations=Unknown("not told"))}},
            "unknown",
            "rights on schedules",
            "not told",
        ),
        (
            {"topics": {"work": replace(topic("work"), operations=ALL - {"Write"})}},
            "warning",
            "rights on work",
            "Write is missing",
        ),
        ({"transactional_id": Forbidden("Write")}, "failed", "transactions", "ids that begin with scheduler-cg-"),
        ({"transactional_id": Unknown("no answer")}, "failed", "transactions", "no answer"),
        (
            {"limits": {**LIMITS, "transaction.max.timeout.ms": "14999"}},
            "failed",
            "TRANSACTION_TIMEOUT",
            "15000 ms; the brokers' transaction.max.timeout.ms is 14999",
        ),
        (
            {"limits": {**LIMITS, "group.min.session.timeout.ms": "10000"}},
            "failed",
            "SESSION_TIMEOUT",
            "6000 ms; the brokers take 10000",
        ),
        ({"group": Forbidden("Describe")}, "failed", "group scheduler-cg", "Describe is missing"),
        ({"group": GroupFacts(0, frozenset({"Describe"}))}, "failed", "group scheduler-cg", "Read is missing"),
        ({"group": GroupFacts(3, ALL)}, "warning", "group scheduler-cg", "3 replicas for 2 partitions"),
        ({"skew": SkewFacts(None, -2000)}, "failed", "clock", "at least 2s behind"),
        ({"skew": SkewFacts(3000, 3010)}, "failed", "clock", "at least 3s ahead"),
        ({"skew": SkewFacts(None, 60_000)}, "unknown", "clock", "not behind"),
        ({"skew": Unknown("nothing has fired")}, "unknown", "clock", "nothing has fired"),
        ({"restores": {"schedules": Unknown("no leader")}}, "unknown", "restore of schedules", "no leader"),
        (
            {"restores": {"schedules": RestoreFacts(50_000.0, 1)}},
            "failed",
            "restore of schedules",
            "delete.retention.ms keeps tombstones for 1d",
        ),
        (
            {"restores": {"schedules": RestoreFacts(1.0, 2, doubled=(("a", (0, 1)),))}},
            "failed",
            "keys of schedules",
            "1 in force in several partitions: a in 0, 1",
        ),
        (
            {"restores": {"schedules": RestoreFacts(1.0, 9, looked_at=9, astray=2)}},
            "warning",
            "keys of schedules",
            "2 of 9 stand elsewhere",
        ),
        (
            {"restores": {"schedules": RestoreFacts(1.0, 9, paused=(1,))}},
            "warning",
            "paused in schedules",
            "partition 1",
        ),
        (
            {"open_transactions": (OpenTransaction("work", 1, 5, 9, 10 * DAY_MS - 5000),)},
            "warning",
            "open transaction on work",
            "partition 1: readers wait at offset 5 of 9, its first record is 5s old",
        ),
        (
            {"open_transactions": (OpenTransaction("work", 1, 5, 9, 9 * DAY_MS),)},
            "failed",
            "open transaction on work",
            "1d old",
        ),
        ({"targets": Unknown("refused")}, "failed", "brokers of targets", "refused"),
        (ONE_BROKER, "warning", "copies", "one broker"),
    ],
)
def test_each_thing_that_is_wrong_is_one_row_that_says_what_to_do(given, status, check, seen):
    found = bad(facts(**given))

    assert [(finding.status, finding.check) for finding in found] == [(status, check)]
    assert seen in found[0].seen
    assert found[0].advice or status == "unknown"


def test_deleting_by_age_fails():
    given = facts(topics={"schedules": topic("schedules", cleanup_policy="compact,delete", retention_ms="1000")})

    assert [(each.status, each.seen) for each in bad(given)] == [
        ("failed", "cleanup.policy=compact,delete"),
        ("failed", "retention.ms=1000"),
    ]


def test_with_one_broker_its_copies_are_spoken_of_once():
    """A machine of one's own is no failure, and eight topics are no eight warnings."""
    given = facts(**ONE_BROKER, topics={each: with_copies(each, 1, 1, 1)[each] for each in ROLES})

    assert [(each.status, each.check) for each in bad(given)] == [("warning", "copies")]


def test_the_embedded_broker_promises_nothing():
    (finding,) = examine(facts(embedded=True), SETTINGS)

    assert finding.status is Status.WARNING


def test_settings_of_a_topic_are_mended_by_one_command():
    wrong = topic("schedules", cleanup_policy="delete", segment_ms=str(7 * DAY_MS))
    lines = commands(bad(facts(topics={"schedules": wrong})), "kafka:9092")

    (line,) = lines
    assert line == (
        "kafka-configs.sh --bootstrap-server kafka:9092 --alter --entity-type topics --entity-name schedules "
        "--add-config cleanup.policy=compact,segment.ms=21600000"
    )


def test_commands_for_a_missing_topic_and_a_hanging_transaction():
    lines = commands(
        bad(
            facts(
                topics={"results": Missing()},
                open_transactions=(OpenTransaction("work", 1, 5, 9, 0),),
            )
        ),
        "kafka:9092",
    )

    create, abort = lines
    assert create == (
        "kafka-topics.sh --bootstrap-server kafka:9092 --create --topic results --partitions 8 "
        "--replication-factor 3 --config cleanup.policy=delete --config retention.ms=2592000000 "
        "--config min.insync.replicas=2"
    )
    assert abort == (
        "kafka-transactions.sh --bootstrap-server kafka:9092 abort --topic work --partition 1 --start-offset 5"
    )


def test_only_a_failure_fails():
    assert failed([Finding(Status.FAILED, "a", "b")])
    assert not failed([Finding(status, "a", "b") for status in Status if status is not Status.FAILED])


# ---------------------------------------------------------------- clock and keys


@pytest.mark.parametrize(
    ("stamps", "bounds"),
    [
        ([Stamp(0, -1, 1)], None),
        ([Stamp(1000, 900, 1010)], SkewFacts(None, 110)),
        # stamped after the first look had begun, before the second was over
        ([Stamp(1000, 900, 1010), Stamp(1100, 1050, 1110)], SkewFacts(-50, 60)),
        ([Stamp(1000, -1, 1010), Stamp(1100, 1050, 1110)], SkewFacts(-50, 60)),
        ([Stamp(1000, 900, 1010), Stamp(2000, 900, 2010)], SkewFacts(None, 110)),
    ],
)
def test_the_clock_is_bounded_by_what_was_seen_when(stamps, bounds):
    assert skew(stamps) == bounds


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_keys_are_hashed_as_java_does(key, hashed):
    assert partitioners.java(key, 2**31) == hashed & 0x7FFFFFFF


def test_keys_in_several_partitions_and_keys_of_other_clients_are_counted():
    def at(key, partition):
        return Stored("schedules", partition, Schedule(key, b"", 0, "t", None, None, [], [], 0))

    keys = [b"key-%d" % number for number in range(50)]
    right = [at(key, partitioners.java(key, 4)) for key in keys]
    assert judge_keys(right, partitions=4, seconds=1.0) == RestoreFacts(1.0, 50, looked_at=50)
    # as if the topic had two partitions when they were written
    old = [at(key, partitioners.java(key, 2)) for key in keys]
    found = judge_keys([*old, right[0], at(keys[0], 3)], partitions=4, seconds=1.0)
    assert found.astray == sum(partitioners.java(key, 2) != partitioners.java(key, 4) for key in keys) > 10
    assert [key for key, _ in found.doubled] == ["key-0"]
