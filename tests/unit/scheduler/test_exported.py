"""A line of an export brings back what it was made of, whatever bytes that is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scheduler import wire
from scheduler.exported import line_of, read_line
from scheduler.instants import LATEST_MS
from scheduler.records import Stored
from scheduler.schedule import PAUSE_KEY, Schedule

names = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda name: not name.startswith(wire.PREFIX))
instants = st.integers(0, LATEST_MS)


@given(
    key=st.binary(min_size=1).filter(lambda key: key != PAUSE_KEY),
    value=st.binary(),
    headers=st.lists(st.tuples(names, st.none() | st.binary())),
    target_key=st.none() | st.binary(),
    due_ms=instants,
    written_ms=st.just(-1) | instants,
)
def test_a_line_holds_every_byte(key, value, headers, target_key, due_ms, written_ms):
    own = wire.schedule_headers("target", delay="1ms", target_key=target_key, headers=headers)
    schedule = wire.decode(key, value, own, timestamp_ms=1)
    assert isinstance(schedule, Schedule)
    schedule.due_ms, schedule.timestamp_ms = due_ms, written_ms

    line = line_of(Stored("schedules", 3, schedule), 8)
    read = read_line(line)

    assert "\n" not in line
    assert (read.topic, read.partition, read.partitions, read.written_ms) == ("schedules", 3, 8, written_ms)
    again = read.schedule
    assert (again.key, again.value, again.headers, again.target_key) == (key, value, headers, target_key)
    assert (again.due_ms, again.timestamp_ms) == (due_ms, written_ms)
    assert "scheduler-delay" not in dict(read.headers)
