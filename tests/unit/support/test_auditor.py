"""The auditor sees each fault in a run that is otherwise sound, and none where there is none."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from tests.support.auditor import Evidence, Hanging, Seen, Submission, judge
from tests.support.verdict import EXAMPLES, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.auditor import Header

DUE_MS = 1_900_000_000_250
LATE_MS = 3
CUSTOMERS: list[Header] = [("trace", b"1"), ("trace", b"\x00\xff")]


def submission(number: int) -> Submission:
    payload_sha256 = sha256(b"payload-%d" % number).digest()
    place = (number % 2, 10 + number)
    return Submission(b"id-%d" % number, DUE_MS + number, payload_sha256, b"key", CUSTOMERS, *place, DUE_MS - 1000)


def message(number: int) -> Seen:
    due_ms = DUE_MS + number
    headers: list[Header] = [
        *CUSTOMERS,
        ("scheduler-timestamp", b"%d" % ((DUE_MS - 1000) // 1000)),
        ("scheduler-key", b"id-%d" % number),
        ("scheduler-topic", b"schedules"),
        ("scheduler-epoch", b"%d.%03d" % divmod(due_ms, 1000)),
        ("scheduler-fire-id", b"id-%d@%d" % (number, due_ms)),
    ]
    return Seen(0, number, due_ms + LATE_MS, b"key", b"payload-%d" % number, headers)


def history(number: int) -> Seen:
    fired = message(number)
    headers = [*(fired.headers or ()), ("scheduler-outcome", b"fired"), ("scheduler-lateness-ms", b"3")]
    return fired._replace(key=b"id-%d" % number, headers=headers)


def schedule(number: int) -> Seen:
    return Seen(number % 2, 10 + number, DUE_MS - 1000, b"id-%d" % number, b"payload-%d" % number, [])


def tombstone(number: int) -> Seen:
    headers: list[Header] = [("scheduler-replaces", b"%d" % (10 + number)), ("scheduler-outcome", b"fired")]
    return Seen(number % 2, 20 + number, DUE_MS + number + LATE_MS, b"id-%d" % number, None, headers)


RUN = range(4)
SUBMISSIONS = [submission(number) for number in RUN]
SOUND = Evidence(
    "schedules",
    target=[message(number) for number in RUN],
    history=[history(number) for number in RUN],
    schedules=[*map(schedule, RUN), *map(tombstone, RUN)],
    live=[message(number)._replace(received_ms=DUE_MS + number + 10 * number) for number in RUN],
)


def with_headers(seen: Seen, **changed: bytes | None) -> Seen:
    """The record with other values under these names; None leaves the header out."""
    values = {f"scheduler-{name.replace('_', '-')}": value for name, value in changed.items()}
    headers = [(name, values.get(name, value)) for name, value in seen.headers or ()]
    return seen._replace(headers=[header for header in headers if values.get(header[0], b"") is not None])


def instead(records: Sequence[Seen], number: int, *others: Seen) -> list[Seen]:
    return [*records[:number], *others, *records[number + 1 :]]


def only(number: int, change: Callable[[Seen], Seen]) -> Evidence:
    """The sound run with one message changed, at the live reader too."""
    target = instead(SOUND.target, number, change(SOUND.target[number]))
    return replace(SOUND, target=target, live=instead(SOUND.live, number, change(SOUND.live[number])))


def test_a_sound_run_has_no_fault_and_its_figures_are_those_of_the_live_reader() -> None:
    report = judge(SUBMISSIONS, SOUND)
    report.check()
    assert (report.submitted, report.fired) == (4, 4)
    assert report.lateness_ms == [0, 10, 20, 30]
    assert (report.lateness(0.5), report.lateness(0.99)) == (20, 30)
    assert (report.longest_gap_ms, report.longest_silence_ms) == (1, 11)
    assert "4 schedules, 4 fired, 0 lost, 0 doubled, 0 early; lateness p50 20 ms" in report.summary


def test_a_schedule_without_an_answer_may_fire_once_or_not_at_all() -> None:
    unanswered = SUBMISSIONS[3]._replace(partition=None, offset=None, timestamp_ms=None)
    judge([*SUBMISSIONS[:3], unanswered], SOUND).check()
    never_arrived = Submission(b"other", DUE_MS, b"", None, [], None, None, None)
    judge([*SUBMISSIONS, never_arrived], SOUND).check()


FIRED_TWICE = message(1)._replace(offset=9)
ALIEN = with_headers(message(1), key=b"alien")._replace(offset=9)
FAULTY: dict[str, tuple[Evidence, dict[Fault, int]]] = {
    "lost, its schedule left": (
        replace(
            SOUND,
            target=SOUND.target[1:],
            history=SOUND.history[1:],
            live=SOUND.live[1:],
            schedules=instead(SOUND.schedules, 4),
        ),
        {Fault.LOST: 1},
    ),
    "lost, though a tombstone and the history say that it fired": (
        replace(SOUND, target=SOUND.target[1:], live=SOUND.live[1:]),
        {Fault.LOST: 1, Fault.HISTORY: 1, Fault.TOMBSTONE: 1},
    ),
    "doubled, with history and tombstone": (
        replace(
            SOUND,
            target=[*SOUND.target, FIRED_TWICE],
            live=[*SOUND.live, FIRED_TWICE],
            history=[*SOUND.history, history(1)],
            schedules=[*SOUND.schedules, tombstone(1)._replace(offset=40)],
        ),
        {Fault.DOUBLED: 1},
    ),
    "doubled at the target alone": (
        replace(SOUND, target=[*SOUND.target, FIRED_TWICE], live=[*SOUND.live, FIRED_TWICE]),
        {Fault.DOUBLED: 1, Fault.HISTORY: 1, Fault.TOMBSTONE: 1},
    ),
    "early by the firing replica's clock": (
        only(1, lambda seen: seen._replace(timestamp_ms=DUE_MS)),
        {Fault.EARLY: 1},
    ),
    "early at the live reader": (
        replace(SOUND, live=instead(SOUND.live, 1, SOUND.live[1]._replace(received_ms=DUE_MS))),
        {Fault.EARLY: 1},
    ),
    "another payload": (only(1, lambda seen: seen._replace(value=b"payload-1 ")), {Fault.ALTERED: 1}),
    "no payload": (only(1, lambda seen: seen._replace(value=None)), {Fault.ALTERED: 1}),
    "another key": (only(1, lambda seen: seen._replace(key=None)), {Fault.ALTERED: 1}),
    "a customer's header missing": (
        only(1, lambda seen: seen._replace(headers=(seen.headers or ())[1:])),
        {Fault.ALTERED: 1},
    ),
    "the customer's headers in another order": (
        only(1, lambda seen: seen._replace(headers=[*CUSTOMERS[::-1], *(seen.headers or ())[2:]])),
        {Fault.ALTERED: 1},
    ),
    "a header that nobody knows": (
        only(1, lambda seen: seen._replace(headers=[*(seen.headers or ()), ("scheduler-else", b"1")])),
        {Fault.ALTERED: 1},
    ),
    "another due time": (only(1, lambda seen: with_headers(seen, epoch=b"1900000000.25")), {Fault.ALTERED: 1}),
    "no due time": (only(1, lambda seen: with_headers(seen, epoch=None)), {Fault.ALTERED: 1}),
    "another name": (only(1, lambda seen: with_headers(seen, fire_id=b"id-1@0")), {Fault.ALTERED: 1}),
    "another schedules topic": (only(1, lambda seen: with_headers(seen, topic=b"else")), {Fault.ALTERED: 1}),
    "another time of submission": (only(1, lambda seen: with_headers(seen, timestamp=b"1")), {Fault.ALTERED: 1}),
    "a message never submitted": (
        replace(SOUND, target=[*SOUND.target, ALIEN], live=[*SOUND.live, ALIEN]),
        {Fault.FOREIGN: 1},
    ),
    "a message with headers that cannot be read": (
        only(1, lambda seen: seen._replace(headers=None)),
        {Fault.FOREIGN: 1, Fault.LOST: 1, Fault.HISTORY: 1, Fault.TOMBSTONE: 1},
    ),
    "history of what was never submitted": (
        replace(SOUND, history=[*SOUND.history, history(1)._replace(key=b"alien")]),
        {Fault.FOREIGN: 1},
    ),
    "history without": (replace(SOUND, history=SOUND.history[1:]), {Fault.HISTORY: 1}),
    "history twice": (replace(SOUND, history=[*SOUND.history, history(1)]), {Fault.HISTORY: 1}),
    "history with another outcome": (
        replace(SOUND, history=instead(SOUND.history, 1, with_headers(history(1), outcome=b"misfired"))),
        {Fault.HISTORY: 1},
    ),
    "history with another payload": (
        replace(SOUND, history=instead(SOUND.history, 1, history(1)._replace(value=b""))),
        {Fault.HISTORY: 1},
    ),
    "history without its lateness": (
        replace(SOUND, history=instead(SOUND.history, 1, with_headers(history(1), lateness_ms=b"-3"))),
        {Fault.HISTORY: 1},
    ),
    "no tombstone": (replace(SOUND, schedules=instead(SOUND.schedules, 5)), {Fault.TOMBSTONE: 1}),
    "a tombstone in another partition": (
        replace(SOUND, schedules=instead(SOUND.schedules, 5, tombstone(1)._replace(partition=0))),
        {Fault.TOMBSTONE: 1},
    ),
    "a tombstone for another version": (
        replace(SOUND, schedules=instead(SOUND.schedules, 5, with_headers(tombstone(1), replaces=b"12"))),
        {Fault.TOMBSTONE: 1},
    ),
    "a tombstone of a customer": (
        replace(SOUND, schedules=instead(SOUND.schedules, 5, tombstone(1)._replace(headers=[]))),
        {Fault.TOMBSTONE: 1},
    ),
    "a tombstone for what was never submitted": (
        replace(SOUND, schedules=[*SOUND.schedules, tombstone(1)._replace(key=b"alien")]),
        {Fault.FOREIGN: 1},
    ),
    "a schedule written back": (
        replace(SOUND, schedules=[*SOUND.schedules, schedule(1)._replace(offset=40)]),
        {Fault.FOREIGN: 1},
    ),
    "seen live and gone": (replace(SOUND, live=[*SOUND.live, FIRED_TWICE]), {Fault.RETRACTED: 1}),
    "never seen live": (replace(SOUND, live=SOUND.live[1:]), {Fault.UNSEEN: 1}),
    "a transaction left open": (replace(SOUND, hanging=[Hanging("target", 0, 3, 9)]), {Fault.HANGING: 1}),
}


@pytest.mark.parametrize("name", FAULTY)
def test_each_fault_is_seen_named_and_nothing_else_is(name: str) -> None:
    evidence, faults = FAULTY[name]
    report = judge(SUBMISSIONS, evidence)
    assert report.counts == faults
    with pytest.raises(AssertionError) as raised:
        report.check()
    for fault in faults:
        assert f"1 {fault}:\n  " in str(raised.value)


def test_every_fault_has_a_case() -> None:
    assert {fault for _, faults in FAULTY.values() for fault in faults} == set(Fault)


def test_a_report_counts_all_offenders_and_names_the_first() -> None:
    lost = [submission(number) for number in range(100, 120)]
    report = judge([*SUBMISSIONS, *lost], SOUND)
    assert report.counts == {Fault.LOST: 20}
    assert len(report.examples[Fault.LOST]) == EXAMPLES
    assert report.examples[Fault.LOST][0] == f"b'id-100': due {DUE_MS + 100}, schedule 0/110"


def test_a_run_of_which_nothing_came_out_is_all_lost() -> None:
    report = judge(SUBMISSIONS, Evidence("schedules", [], [], [schedule(number) for number in RUN], []))
    assert report.counts == {Fault.LOST: 4}
    assert "lateness p50 None ms" in report.summary


def test_an_id_submitted_twice_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="5 submissions under 4 ids"):
        judge([*SUBMISSIONS, SUBMISSIONS[0]], SOUND)
