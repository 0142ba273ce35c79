"""The planner beside a running scheduler and beside other planners: no run is lost, none comes twice."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from planner.crontab import read_crontab
from planner.reconcile import Reconciler, TakenOverError, Wanted
from scheduler.client import SchedulerClient
from scheduler.clock import SystemClock
from scheduler.errors import ExitCode
from scheduler.instants import epoch_ms
from tests.support.planner import Planner
from tests.support.schedules import Installation, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from planner.entry import Entry
    from tests.support.broker import Broker, Topics

SECONDS = 60.0


@pytest.fixture
def place(broker: Broker, topics: Topics) -> Installation:
    return Installation.make(broker.bootstrap_servers, topics, partitions=3)


@pytest.fixture
def planner(place: Installation, tmp_path: Path) -> Planner:
    return Planner({**place.environment(), "CLUSTERS": place.target}, tmp_path / "jobs")


def fired_ms(place: Installation) -> list[int]:
    """When the runs were due, in order; all of them."""
    found = [epoch_ms((record["scheduler-epoch"] or b"").decode()) for record in place.read(place.target)]
    return sorted(due_ms for due_ms in found if due_ms is not None)


def assert_each_once(dues: list[int], period_ms: int) -> None:
    assert dues == list(range(dues[0], dues[-1] + 1, period_ms))


def test_settings_change_while_the_schedule_fires(place: Installation, planner: Planner) -> None:
    """Every sync falls between two runs 100 ms apart: each run comes, and comes once."""
    entry = "MISFIRE=all\nNAME=tick\n@every 100ms run\n"
    with place.replica():
        planner.sync_well(entry)
        for attempts in range(2, 8):
            place.wait_for(place.target)
            assert planner.sync_well(f"MAX_ATTEMPTS={attempts}\n{entry}") == (
                "0 created, 1 changed, 0 cancelled, 0 kept"
            )
            wait_until(
                lambda attempts=attempts: f'"max_attempts":{attempts}'.encode() in place.read(place.target)[-1].value,
                "the changed job runs",
            )
        planner.sync_well("", "--yes")

    assert_each_once(fired_ms(place), 100)


def test_a_running_entry_is_given_a_name_and_loses_it_again(place: Installation, planner: Planner) -> None:
    """To the scheduler these are different schedules, perhaps of different partitions."""
    with place.replica():
        planner.sync_well("MISFIRE=all\n@every 4s run\n")
        for text, count in (("MISFIRE=all\nNAME=tick\n@every 4s run\n", 2), ("MISFIRE=all\n@every 4s run\n", 4)):
            place.wait_for(place.target, count)
            ended = planner.sync(text)
            while ended.code == ExitCode.FAILED:  # on a busy machine no moment was quiet enough
                assert "left as it was" in ended.err
                ended = planner.sync(text)
            assert (ended.code, ended.summary) == (ExitCode.OK, "0 created, 1 changed, 0 cancelled, 0 kept")
        place.wait_for(place.target, 5)

    dues = fired_ms(place)
    assert_each_once(dues, 4_000)
    assert len({record["scheduler-key"] for record in place.read(place.target)}) == 2


def test_without_a_scheduler_an_overdue_entry_keeps_its_id_and_its_run(planner: Planner) -> None:
    planner.sync_well("@every 1s run\n@daily other\n")
    due_ms = min(stored.schedule.due_ms for stored in planner.in_force().values())
    wait_until(lambda: SystemClock().now_ms() > due_ms, "it is overdue")

    ended = planner.sync("NAME=tick\n@every 1s run\nNAME=daily\n@daily other\n")

    assert (ended.code, ended.summary) == (ExitCode.FAILED, "0 created, 1 changed, 0 cancelled, 0 kept, 1 later")
    assert "run sync again in a moment. If it stays so, see that a scheduler runs" in ended.err
    found = planner.in_force()
    assert "jobs/daily" in found
    assert "jobs/tick" not in found
    assert due_ms in {stored.schedule.due_ms for stored in found.values()}


def test_of_two_planners_at_a_time_one_wins_whole(place: Installation, planner: Planner) -> None:
    """Ten times, two planners of one source with different crontabs: what stands is one of them, never a mix."""
    crontabs = [[f"NAME=job-{number}\n@daily {name} {number}" for number in range(30)] for name in ("left", "right")]
    clock = SystemClock()
    wins = 0
    for _ in range(10):
        start, ends = threading.Barrier(2), dict[int, BaseException | None]()

        def sync(
            number: int,
            start: threading.Barrier = start,
            ends: dict[int, BaseException | None] = ends,
        ) -> None:
            client = SchedulerClient(planner.settings)
            wanted = Wanted("jobs", entries("\n".join(crontabs[number]), place.target))
            start.wait(SECONDS)
            try:
                Reconciler(client, planner.settings, clock).sync(wanted, confirm=lambda _: None)
            except TakenOverError as error:
                ends[number] = error
            else:
                ends[number] = None

        threads = [threading.Thread(target=sync, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)

        commands = {json.loads(stored.schedule.value)["command"] for stored in planner.in_force().values()}
        assert len(commands) == 30
        (winner,) = {command.partition(" ")[0] for command in commands}
        assert ends[("left", "right").index(winner)] is None
        wins += len([end for end in ends.values() if end is not None])
    assert wins, "no planner was ever fenced: they never met"


def entries(text: str, cluster: str) -> tuple[Entry, ...]:
    crontab = read_crontab(text.encode(), clusters=[cluster])
    assert crontab.errors == ()
    return crontab.entries
