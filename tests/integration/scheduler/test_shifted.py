"""A shifted rule on a real broker: it fires at its own time, and so does the next occurrence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.durations import format_duration
from tests.support.schedules import clock

if TYPE_CHECKING:
    from tests.support.schedules import Installation

HOUR = 3_600_000


def test_an_occurrence_comes_later_by_the_shift_and_leaves_a_shifted_one_behind(installation: Installation) -> None:
    due_ms = clock.now_ms()
    shift_ms = due_ms % HOUR  # "at the full hour", by so much later, is now
    with installation.replica():
        installation.write(
            installation.schedule(b"hourly", cron="@hourly", shift=format_duration(shift_ms), due_ms=due_ms)
        )
        (fired,) = installation.fired(b"hourly")
        *_, successor = installation.wait_for(installation.schedules, 2)

    assert fired["scheduler-fire-id"] == b"hourly@%d" % due_ms
    assert fired.timestamp_ms >= due_ms
    assert round(float(successor["scheduler-epoch"] or b"") * 1000) == due_ms + HOUR
    assert successor["scheduler-shift"] == format_duration(shift_ms).encode()
    assert successor["scheduler-cron"] == b"@hourly"
