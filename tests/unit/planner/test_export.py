"""A crontab goes to records and comes back as a crontab that a sync would find unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from planner.apply import plan_writes
from planner.crontab import Crontab, read_crontab
from planner.export import export
from planner.plan import Keep, make_plan
from planner.snapshot import Snapshot
from planner.standing import standing
from scheduler.records import Stored, Write
from scheduler.schedule import Schedule
from scheduler.wire import decode, restated, schedule_headers, successor_headers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.export import Exported

NOW = 1_893_499_200_000
"""2030-01-01T12:00:00Z"""
CLUSTERS = ["cluster-a", "cluster-b", "7", "sun"]


def read(text: str, *, system: bool = False) -> Crontab:
    return read_crontab(text.encode(), clusters=CLUSTERS, system=system)


def landed(write: Write) -> Stored:
    schedule = decode(write.key, write.value, write.headers, timestamp_ms=NOW, offset=7)
    assert isinstance(schedule, Schedule)
    return Stored(write.topic, 0, schedule)


def synced(crontab: Crontab, source: str = "jobs") -> list[Stored]:
    assert crontab.errors == ()
    desired = [standing(entry, source) for entry in crontab.entries]
    return [landed(write) for write in plan_writes(make_plan(desired, Snapshot(), NOW), "schedules")]


def exported(stored: Sequence[Stored], source: str = "jobs") -> Exported:
    return export([one.schedule for one in stored], source, clusters=CLUSTERS)


def assert_kept(stored: Sequence[Stored], text: str, *, system: bool = False) -> None:
    crontab = read(text, system=system)
    assert crontab.errors == (), text
    desired = [standing(entry, "jobs") for entry in crontab.entries]
    steps = make_plan(desired, Snapshot(own=tuple(stored)), NOW).steps
    assert all(isinstance(step, Keep) for step in steps), text
    assert len(steps) == len(stored)


EVERYTHING = r"""
@every 90s  one
GREETING="  hello "
EMPTY=""
'odd name'='with "quotes"'
CRON_TZ=Europe/Riga
MAX_ATTEMPTS=3
TIMEOUT=1500ms
RETRY_DELAY=250ms
RETRY_FACTOR=1.25
RETRY_MAX_DELAY=2h
MISFIRE=all
MISFIRE_GRACE=10m
OVERLAP=forbid
JITTER=5m
NAME=nightly
30  3 * * mon-fri  cluster-b  date +\%F\\ \\\% %one%%two\%
@daily  same
@every 1h  period %ends with a line%%
MAX_ATTEMPTS=""
CRON_TZ=""
@daily  same
@hourly  cluster-a cluster-b names a cluster
"""


def test_everything_that_a_crontab_can_state_comes_back() -> None:
    stored = synced(read(EVERYTHING))
    found = exported(stored)

    assert found.left == ()
    assert found.count == len(stored) == 6
    assert_kept(stored, found.text)


def test_a_plain_crontab_comes_back_as_it_was() -> None:
    text = "MAX_ATTEMPTS=3\nNAME=nightly\n30 3 * * *  cluster-b  report\n\nMAX_ATTEMPTS=5\n@daily  cluster-a  tidy\n"

    assert exported(synced(read(text))).text == text


def test_a_user_column_comes_back() -> None:
    stored = synced(read("5 0 * * *  root  cluster-b  tidy\n@daily  www-data  sweep\n", system=True))
    found = exported(stored)

    assert found.system
    assert_kept(stored, found.text, system=True)


def test_variables_that_only_some_entries_have_are_unset_for_the_others() -> None:
    """As the files of a directory have them: neither has the other's."""
    stored = [*synced(read("A=1\nB=2\n@daily one")), *synced(read("C=3\n@daily two"))]
    found = exported(stored)

    assert found.text == "C=3\n@daily  cluster-a  two\n\nUNSET=C\nA=1\nB=2\n@daily  cluster-a  one\n"
    assert_kept(stored, found.text)


def test_an_entry_that_has_moved_or_is_paused_comes_back_as_well() -> None:
    first, second = synced(read("NAME=a\n@hourly a\nNAME=b\nJITTER=5m\n@hourly b"))
    moved = successor_headers(first.schedule, first.schedule.due_ms + 3_600_000, 7)
    paused = restated(second.schedule, paused=True)
    stored = [
        landed(Write("schedules", first.schedule.key, first.schedule.value, moved)),
        landed(Write("schedules", paused.key, paused.value, paused.headers + paused.own_headers)),
    ]

    assert_kept(stored, exported(stored).text)


def odd(key: bytes, value: bytes, **headers: object) -> Stored:
    stated = schedule_headers("cluster-a", due_ms=NOW, headers=[("planner-source", b"jobs")], **headers)  # type: ignore[arg-type]
    return landed(Write("schedules", key, value, stated))


@pytest.mark.parametrize(
    ("value", "headers", "why"),
    [
        (b"?", {"cron": "@daily"}, "its payload is no job"),
        (b'{"id":"jobs/x","job":"x","cluster":"cluster-a","command":"run"}', {}, "it is not as a sync writes it"),
        (
            b'{"id":"jobs/x","job":"x","cluster":"cluster-a","command":["run"]}',
            {"cron": "@daily"},
            "it is not as a sync writes it",
        ),
        (
            b'{"id":"jobs/x","job":"x","cluster":"cluster-a","command":"run","more":1}',
            {"cron": "@daily"},
            "it is not as a sync writes it; a sync would change it",
        ),
        (
            b'{"id":"jobs/x","job":"x","cluster":"mars","command":"run"}',
            {"cron": "@daily"},
            "it is not as a sync writes it; a sync would change it",
        ),
        (
            b'{"id":"jobs/x","job":"x","cluster":"cluster-a","command":"one\\ntwo"}',
            {"cron": "@daily"},
            "1 field where there are 5",
        ),
    ],
)
def test_what_no_line_can_state_is_left_out_with_the_reason(value: bytes, headers: dict[str, object], why: str) -> None:
    found = exported([odd(b"jobs/x", value, **headers), *synced(read("@daily kept"))])

    ((schedule_id, said),) = found.left
    assert schedule_id == "jobs/x"
    assert said.startswith(why)
    assert found.text == "@daily  cluster-a  kept\n"


TIMES = st.sampled_from(["* * * * *", "0 3 * * mon", "@daily", "@every 90s", "*/5 1-3 1,2 jan *"])
WORDS = st.text(st.sampled_from(list("ab=# \t\\%'\"é$*7")), min_size=1, max_size=12)
SETTINGS = st.sampled_from(
    [
        *("CRON_TZ=Asia/Tokyo", 'CRON_TZ=""', "MAX_ATTEMPTS=3", 'MAX_ATTEMPTS=""', "TIMEOUT=1h1ms", 'TIMEOUT=""'),
        *("RETRY_DELAY=0s", "RETRY_DELAY=10s", "RETRY_FACTOR=1.123456789", "RETRY_FACTOR=100", "RETRY_MAX_DELAY=365d"),
        *("MISFIRE=once", "MISFIRE=skip", 'MISFIRE=""', "MISFIRE_GRACE=0s", "MISFIRE_GRACE=36500d"),
        *("OVERLAP=replace", "OVERLAP=allow", "JITTER=1ms", "JITTER=365d", 'JITTER=""', "CLUSTER=7", "CLUSTER=sun"),
        *("X=1", "X= two words", "Y='  '", 'Y=""', '"Z z"=z"z', "MAILTO=me", "PATH=$PATH:/bin", "MAX_ATTEMPT=2"),
    ]
)
NAMES = st.one_of(st.none(), st.sampled_from(["a", "b.c", "0", "nightly-report"]))
LINES = st.lists(
    st.one_of(
        SETTINGS,
        st.tuples(
            NAMES,
            TIMES,
            st.sampled_from(["", "cluster-b ", "cluster-a cluster-b ", "root "]),
            st.lists(WORDS, max_size=3),
        ).map(
            lambda parts: (
                (f"NAME={parts[0]}\n" if parts[0] else "") + f"{parts[1]} {parts[2]}{'%'.join(['run', *parts[3]])}"
            )
        ),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(files=st.lists(LINES, min_size=1, max_size=2), system=st.booleans())
def test_whatever_is_synced_is_exported_and_kept(files: list[list[str]], *, system: bool) -> None:
    stored: dict[bytes, Stored] = {}
    for lines in files:
        crontab = read("\n".join(lines), system=system)
        assume(not crontab.errors)
        stored.update({one.schedule.key: one for one in synced(crontab)})
    found = exported(list(stored.values()))

    assert found.left == ()
    assert found.system == (system and bool(stored))
    assert_kept(list(stored.values()), found.text, system=system)


@given(st.text(st.sampled_from(list("a b\t\\%")), max_size=14))
def test_whatever_a_command_and_its_input_are_they_come_back(text: str) -> None:
    crontab = read(f"@daily x{text}")
    stored = synced(crontab)

    (entry,) = read(exported(stored).text).entries
    assert (entry.command, entry.stdin) == (crontab.entries[0].command, crontab.entries[0].stdin)


def test_the_same_schedules_in_any_order_give_one_text() -> None:
    stored = synced(read(EVERYTHING))

    assert exported(stored).text == exported(stored[::-1]).text
