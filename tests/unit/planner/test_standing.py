"""The standing schedule of an entry: what a change of its crontab does to the occurrence that is pending."""

from __future__ import annotations

from planner.crontab import read_crontab
from planner.standing import Standing, standing
from scheduler.job import Job
from scheduler.schedule import Schedule
from scheduler.wire import decode, restated

THREE = 1_893_466_800_000
"""2030-01-01T03:00:00Z"""


def desired(text: str, *, system: bool = False) -> Standing:
    crontab = read_crontab(text.encode(), clusters=["cluster-a"], system=system)
    assert crontab.errors == ()
    return standing(crontab.entries[0], "jobs")


def in_force(text: str, due_ms: int) -> Schedule:
    wanted = desired(text)
    found = decode(wanted.key, wanted.payload, wanted.headers(due_ms), timestamp_ms=due_ms - 1)
    assert isinstance(found, Schedule)
    return found


PLAIN = "NAME=nightly\n0 3 * * * run"
SPREAD = f"JITTER=1h\n{PLAIN}"
SHIFT = 831_873


def test_a_change_of_the_jitter_moves_the_pending_occurrence_and_no_other() -> None:
    """Counted from now, a longer shift would run once more what ran at three, and a shorter one leave it out."""
    assert desired(SPREAD).keeps_time(in_force(PLAIN, THREE))
    assert desired(SPREAD).moved_due(in_force(PLAIN, THREE)) == THREE + SHIFT
    assert desired(PLAIN).moved_due(in_force(SPREAD, THREE + SHIFT)) == THREE
    assert not desired(PLAIN).matches(in_force(SPREAD, THREE + SHIFT))


def test_another_time_or_zone_is_another_rule() -> None:
    for other in ("NAME=nightly\n1 3 * * * run", f"CRON_TZ=Asia/Tokyo\n{PLAIN}"):
        assert not desired(other).keeps_time(in_force(PLAIN, THREE))


def test_jitter_of_the_same_shift_is_a_change_all_the_same() -> None:
    """It could not be exported otherwise; a period has no shift at all."""
    text = "NAME=x\n@every 5m run"

    assert not desired(f"JITTER=1m\n{text}").matches(in_force(text, THREE))


def test_what_an_operator_paused_is_as_it_should_be() -> None:
    paused = restated(in_force(PLAIN, THREE), paused=True)

    assert desired(PLAIN).matches(paused)
    assert ("scheduler-paused", b"true") in desired(PLAIN).headers(THREE, paused=True)


def test_a_job_carries_its_user_and_what_to_do_on_overlap() -> None:
    job = Job.from_json(desired("OVERLAP=replace\n0 3 * * * mail run", system=True).payload)

    assert (job.user, job.overlap, job.command) == ("mail", "replace", "run")
    assert Job.from_json(in_force("OVERLAP=allow\n" + PLAIN, THREE).value).overlap == "allow"
    assert Job.from_json(in_force(PLAIN, THREE).value).overlap is None  # one at a time, in order
