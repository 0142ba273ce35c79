"""What a plan says, given a crontab and what is in force; and the records that carry it out."""

from __future__ import annotations

import json

import pytest

from planner.apply import plan_writes
from planner.crontab import read_crontab
from planner.differences import differences
from planner.plan import make_plan
from planner.report import as_json, shown, summary, table_rows
from planner.snapshot import Snapshot, select, take_snapshot
from planner.standing import Standing, standing
from planner.steps import Cancel, Change, Create, Keep, Later, Plan
from scheduler.errors import InputError
from scheduler.job import Job
from scheduler.records import Stored, Write
from scheduler.schedule import Schedule
from scheduler.wire import CRON, EPOCH, TARGET_KEY, TARGET_TOPIC, TIMEZONE, decode, schedule_headers, successor_headers

NOON = 1_893_499_200_000
"""2030-01-01T12:00:00Z"""
HOUR = 3_600_000


def desired(text: str, source: str = "jobs") -> list[Standing]:
    crontab = read_crontab(text.encode(), clusters=["cluster-a", "cluster-b"])
    assert crontab.errors == ()
    return [standing(entry, source) for entry in crontab.entries]


def landed(write: Write, *, partition: int = 0, offset: int = 7) -> Stored:
    """The schedule that a written record becomes."""
    schedule = decode(write.key, write.value, write.headers, timestamp_ms=NOON, offset=offset)
    assert isinstance(schedule, Schedule)
    return Stored(write.topic, partition if write.partition is None else write.partition, schedule)


def in_force(text: str, source: str = "jobs", *, partition: int = 0, now_ms: int = NOON) -> tuple[Stored, ...]:
    plan = make_plan(desired(text, source), Snapshot(), now_ms)
    return tuple(landed(write, partition=partition) for write in plan_writes(plan, "schedules"))


def planned(text: str, current: tuple[Stored, ...], now_ms: int = NOON) -> Plan:
    return make_plan(desired(text), Snapshot(own=current), now_ms)


def test_a_new_entry_is_a_standing_schedule_due_at_its_next_occurrence() -> None:
    text = (
        "CRON_TZ=Europe/Riga\nMAX_ATTEMPTS=3\nTIMEOUT=1500ms\nRETRY_DELAY=2s\nRETRY_FACTOR=3\nRETRY_MAX_DELAY=1m\n"
        "B=2\nA=1\nMISFIRE=all\nMISFIRE_GRACE=5m\nNAME=nightly\n30  3 * * *  cluster-b run%in\n"
    )

    (write,) = plan_writes(make_plan(desired(text), Snapshot(), NOON), "schedules")

    assert (write.topic, write.partition, write.key) == ("schedules", None, b"jobs/nightly")
    assert write.headers == [
        ("planner-source", b"jobs"),
        (EPOCH, b"1893547800"),  # 2030-01-02T03:30 in Riga
        (TARGET_TOPIC, b"cluster-b"),
        (TARGET_KEY, b"jobs/nightly"),
        (CRON, b"30 3 * * *"),
        (TIMEZONE, b"Europe/Riga"),
        ("scheduler-misfire", b"all"),
        ("scheduler-misfire-grace", b"5m"),
    ]
    assert write.value is not None
    assert json.loads(write.value) == {
        "id": "jobs/nightly",
        "job": "nightly",
        "cluster": "cluster-b",
        "command": "run",
        "overlap": "allow",
        "environment": {"A": "1", "B": "2"},
        "stdin": "in\n",
        "timeout_seconds": 1.5,
        "max_attempts": 3,
        "retry": {"delay_seconds": 2.0, "factor": 3.0, "max_delay_seconds": 60.0},
    }
    assert Job.from_json(write.value).max_attempts == 3
    assert isinstance(landed(write).schedule, Schedule)


def test_what_nothing_is_said_of_is_left_to_the_worker() -> None:
    (write,) = plan_writes(make_plan(desired("@daily run"), Snapshot(), NOON), "schedules")

    assert write.value is not None
    assert json.loads(write.value).keys() == {"id", "job", "cluster", "command", "overlap"}


def test_a_period_begins_with_the_sync() -> None:
    (step,) = planned("@every 90s run", ()).steps

    assert isinstance(step, Create)
    assert step.due_ms == NOON + 90_000


def test_the_same_file_again_keeps_all_and_writes_nothing() -> None:
    text = "X=1\n@daily a\nMAX_ATTEMPTS=2\n@every 5s cluster-b b%in\n"

    plan = planned("# moved\n@every  5s   cluster-b b%in\n@daily a\n", ())
    assert plan.count(Create) == 2
    plan = planned(text, in_force(text))

    assert [type(step) for step in plan.steps] == [Keep, Keep]
    assert plan_writes(plan, "schedules") == []


def test_the_order_of_variables_changes_nothing() -> None:
    (step,) = planned("B=2\nA=1\n@daily run", in_force("A=1\nB=2\n@daily run")).steps

    assert isinstance(step, Keep)


def test_a_schedule_that_has_moved_to_its_next_occurrence_is_kept() -> None:
    (first,) = in_force("MISFIRE=skip\n@hourly run")
    moved = landed(
        Write(
            first.topic,
            first.schedule.key,
            first.schedule.value,
            successor_headers(first.schedule, NOON + 5 * HOUR, first.schedule.offset),
        )
    )

    (step,) = planned("MISFIRE=skip\n@hourly run", (moved,), NOON + 5 * HOUR - 1).steps

    assert isinstance(step, Keep)


@pytest.mark.parametrize(
    "setting",
    ["MAX_ATTEMPTS=2", "TIMEOUT=1s", "RETRY_DELAY=1s", "MISFIRE=skip", "MISFIRE_GRACE=1m", "VARIABLE=1"],
)
@pytest.mark.parametrize("later_ms", [10 * 60_000, 90 * 60_000])
def test_changed_settings_change_the_schedule_where_it_stands_and_leave_its_occurrence(
    setting: str, later_ms: int
) -> None:
    """Also one that is overdue: the scheduler was down, and its run is not lost."""
    (current,) = in_force("@hourly run", partition=3)

    plan = planned(f"{setting}\n@hourly run", (current,), NOON + later_ms)

    (step,) = plan.steps
    assert isinstance(step, Change)
    assert step.due_ms == current.schedule.due_ms == NOON + HOUR
    (write,) = plan_writes(plan, "new-topic")
    assert (write.topic, write.partition, write.key) == ("schedules", 3, current.schedule.key)
    assert [type(step) for step in planned(f"{setting}\n@hourly run", (landed(write),)).steps] == [Keep]


@pytest.mark.parametrize("after", ["NAME=x\n@every 7s run", "CRON_TZ=Asia/Kathmandu\nNAME=x\n@hourly run"])
def test_a_named_entry_with_another_time_is_due_at_its_new_next_occurrence(after: str) -> None:
    (current,) = in_force("NAME=x\n@daily run", now_ms=NOON - 48 * HOUR)

    (step,) = planned(after, (current,)).steps

    assert isinstance(step, Change)
    assert NOON < step.due_ms <= NOON + HOUR


def test_a_named_entry_with_another_command_is_changed_and_an_unnamed_one_replaced() -> None:
    named, unnamed = in_force("NAME=x\n@daily run\n@hourly run")

    plan = planned("NAME=x\n@daily ran\n@hourly ran", (named, unnamed))

    assert [type(step) for step in plan.steps] == [Change, Create, Cancel]


@pytest.mark.parametrize(
    ("before", "after", "fields"),
    [
        ("@every 1h run%in", "NAME=x\n@every 1h run%in", ["id", "job"]),
        ("NAME=x\n@every 1h run", "@every 1h run", ["id", "job"]),
        ("*/9 * * * * run", "*/9 * * * * cluster-b run", ["id", "cluster", "job"]),
    ],
)
def test_an_entry_with_another_id_goes_on_where_it_stood(before: str, after: str, fields: list[str]) -> None:
    """A name or a cluster is given to a running entry: its next run is neither lost nor doubled."""
    (current,) = in_force(before, partition=3)

    (step,) = planned(after, (current,), NOON + 60_000).steps

    assert isinstance(step, Change)
    assert step.due_ms == current.schedule.due_ms
    assert [found.field for found in differences(step)] == fields
    new, old = plan_writes(Plan((step,)), "schedules")
    assert (new.key, new.partition) == (step.desired.key, None)
    assert old == Write("schedules", current.schedule.key, None, partition=3)


@pytest.mark.parametrize("late_ms", [-2_000, 0, HOUR])
def test_one_that_is_about_to_fire_takes_another_id_later(late_ms: int) -> None:
    """Or is overdue: nobody knows whether a scheduler fires it in this very moment."""
    (current,) = in_force("@hourly run")
    now_ms = current.schedule.due_ms + late_ms

    plan = planned("NAME=x\n@hourly run", (current,), now_ms)

    assert [type(step) for step in plan.steps] == [Later]
    assert plan.waits
    assert plan_writes(plan, "schedules") == []
    assert "which is about to fire" in table_rows(plan.steps)[0][-1]
    assert [type(step) for step in planned("NAME=x\n@hourly run", (current,), now_ms - 2_001 - late_ms).steps] == [
        Change
    ]


def test_the_lead_grows_with_what_is_to_be_written() -> None:
    text = "".join(f"NAME=job-{number}\n@daily run\n" for number in range(10_000))

    assert planned(text, ()).needed_lead_ms == 4_000
    assert planned(text, in_force(text)).needed_lead_ms == 2_000


def test_a_change_says_to_the_scheduler_that_it_goes_on_where_the_schedule_stands() -> None:
    """The schedule may fire while this is written."""
    (current,) = in_force("NAME=x\n@hourly run")

    for after in ("NAME=x\n@hourly ran", "NAME=x\n@daily run"):
        (write,) = plan_writes(planned(after, (current,)), "schedules")
        assert ("scheduler-continues", b"true") in write.headers
    (write,) = plan_writes(planned("NAME=x\n@hourly ran", ()), "schedules")
    assert "scheduler-continues" not in dict(write.headers)


def test_a_pause_is_an_operators_and_no_difference() -> None:
    (current,) = in_force("@hourly run")
    current.schedule.own_headers.append(("scheduler-paused", b"true"))
    current.schedule.paused = True

    assert not planned("@hourly run", (current,)).changes
    (write,) = plan_writes(planned("MAX_ATTEMPTS=2\n@hourly run", (current,)), "schedules")
    assert ("scheduler-paused", b"true") in write.headers


def test_differences_are_told_field_by_field_without_what_may_be_a_secret() -> None:
    before = "TOKEN=old\nGONE=x\nTIMEOUT=90s\nNAME=x\n@hourly run%old"
    after = (
        "TOKEN=new\nADDED=y\nMAX_ATTEMPTS=3\nRETRY_DELAY=1500ms\nMISFIRE=skip\nCRON_TZ=Asia/Tokyo\nNAME=x\n"
        "0 3 * * * cluster-b [run]%new"
    )

    plan = planned(after, in_force(before))

    assert str(table_rows(plan.steps)[0][-1]).splitlines() == [
        "when: @hourly -> 0 3 * * *",
        "CRON_TZ: UTC -> Asia/Tokyo",
        "cluster: cluster-a -> cluster-b",
        "MISFIRE: (none) -> skip",
        "command: run -> [run]",
        "ADDED: added",
        "TOKEN: changed",
        "stdin: changed",
        "TIMEOUT: 1m30s -> (none)",
        "MAX_ATTEMPTS: 1 -> 3",
        "RETRY_DELAY: 10s -> 1s500ms",
        "GONE: removed",
    ]
    assert {"field": "command", "before": "run", "after": "[run]"} in as_json(plan)[0]["changes"]
    assert "old" not in json.dumps(as_json(plan))


def test_a_long_plan_shows_what_changes_and_says_how_much_it_leaves_out() -> None:
    old = "".join(f"NAME=job-{number}\n@daily run\n" for number in range(300))
    new = old + "".join(f"NAME=new-{number}\n@daily run\n" for number in range(250))

    steps, left_out = shown(planned(new, in_force(old)))

    assert (len(steps), left_out) == (200, 50)
    assert {type(step) for step in steps} == {Create}


def test_what_the_file_does_not_state_is_cancelled_in_its_partition() -> None:
    kept, gone = in_force("@daily a\n@hourly b", partition=5)

    plan = planned("@daily a", (kept, gone))

    assert plan_writes(plan, "new-topic") == [Write("schedules", gone.schedule.key, None, partition=5)]


def test_an_empty_file_cancels_all() -> None:
    assert planned("# nothing", in_force("@daily a\n@hourly b")).count(Cancel) == 2


def test_of_two_schedules_under_one_key_the_right_one_is_kept_whichever_comes_first() -> None:
    """Another client's partitioner can leave a second one."""
    right = in_force("MAX_ATTEMPTS=2\n@daily a", partition=1)
    stale = in_force("@daily a", partition=0)

    for current in (right + stale, stale + right):
        plan = planned("MAX_ATTEMPTS=2\n@daily a", current)

        assert [type(step) for step in plan.steps] == [Keep, Cancel]
        assert [write.partition for write in plan_writes(plan, "schedules")] == [0]


def test_only_schedules_of_the_source_are_its_own() -> None:
    mine, theirs = in_force("@daily a", "jobs"), in_force("@daily a", "jobs-2")
    nobody = landed(Write("schedules", b"jobs/x", b"", schedule_headers("t", due_ms=NOON)))
    other = landed(Write("schedules", b"order-1", b"", schedule_headers("t", due_ms=NOON)))

    snapshot = select([*mine, *theirs, nobody, other], "jobs")

    assert snapshot == Snapshot(own=mine, foreign=(nobody,), others=theirs)


def test_a_pending_retry_of_a_job_is_not_the_planners() -> None:
    """It carries the mark of its source, as every header of a message travels; a sync must not cancel it."""
    retry = landed(
        Write(
            "schedules",
            b"jobs/x@1893499200000#2",
            b"",
            schedule_headers("cluster-a-retry", due_ms=NOON, headers=[("planner-source", b"jobs")]),
        )
    )

    snapshot = select([*in_force("NAME=x\n@daily a"), retry], "jobs")

    assert [stored.schedule.key for stored in snapshot.own] == [b"jobs/x"]
    assert make_plan(desired("NAME=x\n@daily a"), snapshot, NOON).count(Cancel) == 0


def test_an_id_that_someone_else_uses_is_refused() -> None:
    nobody = landed(Write("schedules", b"jobs/x", b"", schedule_headers("t", due_ms=NOON)))

    with pytest.raises(InputError, match=r"^the schedule jobs/x on schedules was not written by this source; choose"):
        make_plan(desired("NAME=x\n@daily a"), Snapshot(foreign=(nobody,)), NOON)
    assert make_plan(desired("NAME=y\n@daily a"), Snapshot(foreign=(nobody,)), NOON).count(Create) == 1


class Topics:
    """Schedules by topic, and how often each was read."""

    def __init__(self, **held: list[Stored]) -> None:
        self.held = held
        self.read: list[str] = []

    def schedules(self, topic: str, **_: object) -> list[Stored]:
        self.read.append(topic)
        return self.held[topic]


def test_every_topic_is_read_once() -> None:
    mine = in_force("@daily a\n@hourly b")
    topics = Topics(one=[mine[0]], two=[mine[1]])

    assert take_snapshot(topics, ["one", "two"], "jobs").own == mine
    assert topics.read == ["one", "two"]


def test_a_plan_is_shown_as_rows_and_counted() -> None:
    kept, gone = in_force("NAME=stays\n@daily a\nNAME=goes\n@hourly b")
    text = "NAME=stays\n@daily a\nCRON_TZ=Asia/Tokyo\nNAME=new\n0 3 * * * cluster-b c"
    plan = planned(text, (kept, gone))

    assert [tuple(map(str, row)) for row in table_rows(plan.steps)] == [
        ("=", "stays", "stays", "@daily", "UTC", "cluster-a", "2030-01-02T00:00:00Z", ""),
        ("+", "new", "new", "0 3 * * *", "Asia/Tokyo", "cluster-b", "2030-01-01T18:00:00Z", ""),
        ("-", "goes", "goes", "@hourly", "UTC", "cluster-a", "2030-01-01T13:00:00Z", ""),
    ]
    assert summary(plan) == "1 created, 0 changed, 1 cancelled, 1 kept"
    assert as_json(plan)[1:] == [
        {
            "action": "create",
            "schedule_id": "jobs/new",
            "job": "new",
            "file": None,
            "line": 5,
            "cron": "0 3 * * *",
            "timezone": "Asia/Tokyo",
            "cluster": "cluster-b",
            "next": "2030-01-01T18:00:00Z",
            "topic": None,
            "partition": None,
        },
        {
            "action": "cancel",
            "schedule_id": "jobs/goes",
            "job": "goes",
            "file": None,
            "line": None,
            "cron": "@hourly",
            "timezone": "UTC",
            "cluster": "cluster-a",
            "next": "2030-01-01T13:00:00Z",
            "topic": "schedules",
            "partition": 0,
        },
    ]


def test_a_cancelled_schedule_that_is_no_job_is_shown_too() -> None:
    odd = landed(
        Write("schedules", b"jobs/[x]", b"?", schedule_headers("t", due_ms=NOON, headers=[("planner-source", b"jobs")]))
    )

    (row,) = table_rows(planned("", (odd,)).steps)
    assert tuple(map(str, row)) == ("-", "?", "[x]", "once", "", "t", "2030-01-01T12:00:00Z", "")
