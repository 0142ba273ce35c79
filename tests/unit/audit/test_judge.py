"""The judge finds each kind of fault in a run that is otherwise sound, by name, and none where there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from scheduler.audit.entries import REFUSED, UNKNOWN, Entry
from scheduler.audit.judge import Evidence, Hanging, judge
from scheduler.audit.recording import Recording
from scheduler.audit.verdict import EXAMPLES, EXPLAINED, Fault
from tests.support.cases import (
    DEAD,
    DUE_MS,
    HISTORY,
    KEY,
    LATE_MS,
    SCHEDULES,
    TARGET,
    WRITTEN_MS,
    cancel,
    changed,
    entry,
    evidence,
    fired,
    message,
    record,
    schedule,
    told,
    tombstone,
    with_journal,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.audit.records import Record
    from scheduler.audit.verdict import Verdict

EVERY = b"@every 1s"
NEXT_MS, THIRD_MS = DUE_MS + 1000, DUE_MS + 2000
FAR_MS = DUE_MS + 3_600_000
OLD, NEW = schedule(0), schedule(1, b"new")
ENDED = tombstone(2, 0)


def recurring(offset: int, name: bytes = b"old", due_ms: int = DUE_MS, **own: bytes | int) -> Record:
    return schedule(offset, name, due_ms, cron=EVERY, **own)


MINUTE = recurring(0)
STILL = evidence([], now_ms=THIRD_MS - 1)
BAD = record(SCHEDULES, 1, KEY, b"bad", [("scheduler-epoch", b"soon")])
SOUND: dict[str, Evidence] = {
    "nothing": evidence([]),
    "fires": fired([OLD, ENDED], (OLD, DUE_MS)),
    "is not due yet": evidence([schedule(0, due_ms=FAR_MS)]),
    "is paused": evidence([schedule(0, paused=b"true")]),
    "its partition is paused": evidence([OLD, record(SCHEDULES, 1, b"||scheduler-paused||", b"", [])]),
    "is replaced": fired([OLD, NEW, tombstone(2, 1)], (NEW, DUE_MS)),
    "is cancelled": evidence([OLD, cancel(1), tombstone(2, 1, b"cancelled")], [], [told(OLD, b"cancelled")]),
    "is cancelled twice": evidence(
        [OLD, cancel(1), cancel(2), tombstone(3, 2, b"cancelled")], [], [told(OLD, b"cancelled")]
    ),
    "is cancelled by request": evidence([OLD, tombstone(1, 0, b"cancelled")], [], [told(OLD, b"cancelled")]),
    "the cancel comes too late": fired([OLD, cancel(1), ENDED], (OLD, DUE_MS)),
    "the update comes too late": fired(
        [OLD, NEW, ENDED, schedule(3, b"new", replaces=1), tombstone(4, 3)], (OLD, DUE_MS), (NEW, DUE_MS)
    ),
    "is fired by request": fired([schedule(0, due_ms=FAR_MS), ENDED], (schedule(0), DUE_MS)),
    "is rescheduled by request": fired(
        [OLD, schedule(1, due_ms=NEXT_MS, replaces=0), tombstone(2, 1)], (schedule(1), NEXT_MS)
    ),
    "is written twice by a client that retries": fired(
        [OLD, tombstone(1, 0), schedule(2), tombstone(3, 2)], (OLD, DUE_MS), (OLD, DUE_MS)
    ),
    "is too late for its grace": evidence(
        [schedule(0, misfire=b"skip", misfire_grace=b"1ms"), tombstone(1, 0, b"misfired")],
        [],
        [told(OLD, b"misfired")],
    ),
    "cannot be delivered": evidence(
        [OLD, tombstone(1, 0, b"undeliverable")],
        [],
        [told(OLD, b"undeliverable")],
        dead_letters=[told(OLD, b"undeliverable")._replace(topic=DEAD)],
    ),
    "is no schedule": evidence(
        [OLD, BAD, schedule(2, replaces=1), tombstone(3, 2)],
        [message(OLD)],
        [changed(told(BAD, b"rejected"), fire_id=None), told(OLD)],
    ),
    "sends a tombstone": evidence(
        [schedule(0, target_tombstone=b"true"), ENDED], [message(OLD)._replace(value_sha256=None)], [told(OLD)]
    ),
    "is told without its payload": evidence(
        [OLD, ENDED],
        [message(OLD)],
        [
            told(OLD)._replace(
                value_sha256=None, headers=(*(told(OLD).headers or ()), ("scheduler-reason", b"too-large"))
            )
        ],
    ),
    "recurs": fired(
        [MINUTE, recurring(1, due_ms=NEXT_MS, replaces=0), recurring(2, due_ms=THIRD_MS, replaces=1)],
        (MINUTE, DUE_MS),
        (MINUTE, NEXT_MS),
        now_ms=THIRD_MS - 1,
    ),
    "what was missed became one": fired(
        [MINUTE, recurring(1, due_ms=THIRD_MS, replaces=0)], (MINUTE, NEXT_MS), now_ms=THIRD_MS - 1
    ),
    "recurs and is cancelled behind a firing": replace(
        fired([MINUTE, cancel(1), recurring(2, due_ms=NEXT_MS, replaces=0), tombstone(3, 2, b"cancelled")]),
        targets=[message(MINUTE)],
        history=[told(MINUTE), told(MINUTE, b"cancelled", NEXT_MS, 1)],
    ),
    "recurs, is changed and cancelled behind a firing": replace(
        fired(
            [
                MINUTE,
                recurring(1, b"new", FAR_MS),
                cancel(2),
                recurring(3, due_ms=NEXT_MS, replaces=0),
                tombstone(4, 3, b"cancelled"),
            ]
        ),
        targets=[message(MINUTE)],
        history=[told(MINUTE), told(recurring(1, b"new"), b"cancelled", FAR_MS, 1)],
    ),
    "recurs and is changed behind a firing": fired(
        [
            MINUTE,
            recurring(1, b"new", FAR_MS),
            recurring(2, due_ms=NEXT_MS, replaces=0),
            recurring(3, b"new", FAR_MS, replaces=1),
        ],
        (MINUTE, DUE_MS),
    ),
    "recurs and is fired by request": fired(
        [MINUTE, recurring(1, replaces=0)], (MINUTE, DUE_MS - 5000), now_ms=DUE_MS - 1
    ),
    "recurs and is paused and resumed": evidence(
        [MINUTE, recurring(1, replaces=0, paused=b"true"), recurring(2, due_ms=FAR_MS, replaces=1)]
    ),
    "goes on where another stood": fired(
        [
            MINUTE,
            recurring(1, b"new", DUE_MS - 1000, continues=b"true"),
            recurring(2, b"new", DUE_MS, replaces=1),
            recurring(3, b"new", NEXT_MS, replaces=2),
        ],
        (recurring(2, b"new"), DUE_MS),
        now_ms=NEXT_MS - 1,
    ),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_run_has_no_fault_and_all_of_it_is_judged(name: str) -> None:
    for case in (SOUND[name], with_journal(SOUND[name], SOUND[name].schedules)):
        verdict = judge(case)
        verdict.check()
        assert not verdict.unjudged
        assert verdict.messages == len(case.targets)


@pytest.mark.parametrize("name", SOUND)
def test_no_message_and_no_line_of_the_history_may_be_missing_or_be_there_twice(name: str) -> None:
    sound = SOUND[name]
    for field in ("targets", "history", "dead_letters"):
        records: Sequence[Record] = getattr(sound, field)
        for number, each in enumerate(records):
            assert not judge(replace(sound, **{field: [*records[:number], *records[number + 1 :]]})).clean
            assert not judge(replace(sound, **{field: [*records, each._replace(offset=99)]})).clean


FIRES = with_journal(SOUND["fires"], [OLD])
(MESSAGE,), (TOLD,) = FIRES.targets, FIRES.history
AGAIN = MESSAGE._replace(offset=9)


def delivered(*messages: Record) -> Evidence:
    return replace(FIRES, targets=list(messages))


def logged(*log: Record) -> Evidence:
    return replace(FIRES, schedules=list(log))


def seen_live(*records: Record, reached: int = 1) -> Evidence:
    """A reader that ran all the time had these of the target, and had come so far."""
    had = {each.place: each._replace(received_ms=each.timestamp_ms + 2) for each in records}
    return replace(FIRES, recording=Recording(had, {(TARGET, 0): reached}))


FAULTY: dict[str, tuple[Evidence, dict[Fault, int]]] = {
    "there is no message": (delivered(), {Fault.LOST: 1}),
    "what was acknowledged is gone from the log": (
        with_journal(evidence([]), [OLD]),
        {Fault.LOST: 1},
    ),
    "what was acknowledged without a place was never there": (
        evidence([], journal=[entry(OLD)._replace(partition=None, offset=None)]),
        {Fault.LOST: 1},
    ),
    "it is due, and nothing came of it": (evidence([OLD]), {Fault.NOT_ENDED: 1}),
    "an update erased by the tombstone of the old version": (
        fired([OLD, schedule(1, b"new", FAR_MS), ENDED], (OLD, DUE_MS), now_ms=FAR_MS),
        {Fault.NOT_ENDED: 1, Fault.HIDDEN: 1},
    ),
    "a later update hidden and not written again": (
        fired([OLD, schedule(1, b"new", FAR_MS), ENDED], (OLD, DUE_MS)),
        {Fault.HIDDEN: 1},
    ),
    "a cancel that nobody tells of yet": (evidence([OLD, cancel(1)]), {Fault.NOT_ENDED: 1}),
    "a cancel that came in time and is not told": (
        evidence([OLD, cancel(1), tombstone(2, 1, b"cancelled")]),
        {Fault.TORN: 1},
    ),
    "a cancel that came too late and is told": (
        replace(SOUND["the cancel comes too late"], history=[TOLD, told(OLD, b"cancelled", offset=1)]),
        {Fault.TORN: 1},
    ),
    "a refusal that is not told": (
        evidence([BAD, tombstone(2, 1, b"rejected")]),
        {Fault.NOT_ENDED: 1},
    ),
    "a refused update that ends the good version": (
        evidence([OLD, BAD, tombstone(2, 1, b"rejected")], [], [changed(told(BAD, b"rejected"), fire_id=None)]),
        {Fault.LOST: 1},
    ),
    "a version written again in the place of another": (
        fired([NEW._replace(offset=0), OLD._replace(offset=1), schedule(3, b"new", replaces=1)], now_ms=DUE_MS - 1),
        {Fault.LOST: 1},
    ),
    "written back with a delay, which counts anew": (
        evidence(
            [
                schedule(0, paused=b"true"),
                changed(schedule(1, replaces=0, paused=b"true", at=b"2030-03-17T17:46:40.25Z"), epoch=None),
            ]
        ),
        {Fault.ALTERED: 1},
    ),
    "two messages": (delivered(MESSAGE, AGAIN), {Fault.DOUBLED: 1}),
    "two messages, two lines of the history, one tombstone": (
        replace(delivered(MESSAGE, AGAIN), history=[TOLD, TOLD._replace(offset=1)]),
        {Fault.DOUBLED: 1},
    ),
    "two of everything": (
        replace(logged(OLD, ENDED, tombstone(3, 0)), targets=[MESSAGE, AGAIN], history=[TOLD, TOLD._replace(offset=1)]),
        {Fault.DOUBLED: 1},
    ),
    "a version written again and fired under both offsets": (
        fired([OLD, schedule(1, replaces=0), tombstone(2, 1), tombstone(3, 0)], (OLD, DUE_MS), (OLD, DUE_MS)),
        {Fault.DOUBLED: 1},
    ),
    "a version written again after it had ended": (
        fired([OLD, ENDED, schedule(3, replaces=0), tombstone(4, 3)], (OLD, DUE_MS), (OLD, DUE_MS)),
        {Fault.DOUBLED: 1},
    ),
    "early by the clock of the replica": (delivered(MESSAGE._replace(timestamp_ms=DUE_MS - 1)), {Fault.EARLY: 1}),
    "early at the reader": (
        replace(FIRES, targets=[MESSAGE._replace(received_ms=DUE_MS - 1)]),
        {Fault.EARLY: 1},
    ),
    "no line of the history": (replace(FIRES, history=[]), {Fault.TORN: 1}),
    "two lines of the history": (replace(FIRES, history=[TOLD, TOLD._replace(offset=1)]), {Fault.TORN: 1}),
    "no tombstone": (logged(OLD), {Fault.TORN: 1}),
    "a message and nothing else": (replace(logged(OLD), history=[]), {Fault.TORN: 1}),
    "a line of the history and nothing else": (replace(logged(OLD), targets=[]), {Fault.LOST: 1}),
    "a tombstone and nothing else": (replace(FIRES, history=[], targets=[]), {Fault.LOST: 1}),
    "a tombstone of another partition's offset": (
        logged(OLD, ENDED, tombstone(3, 2)),
        {Fault.TORN: 1},
    ),
    "a tombstone without an outcome": (
        logged(OLD, ENDED, changed(tombstone(3, 0), outcome=None)),
        {Fault.TORN: 1},
    ),
    "no dead letter": (
        replace(SOUND["cannot be delivered"], dead_letters=[]),
        {Fault.TORN: 1},
    ),
    "a dead letter of which the history says nothing": (
        replace(FIRES, dead_letters=[told(OLD, b"undeliverable")._replace(topic=DEAD)]),
        {Fault.TORN: 1},
    ),
    "the message of the old version for the new one": (
        fired([OLD, NEW, tombstone(2, 1)], (OLD, DUE_MS)),
        {Fault.WRONG_VERSION: 2},
    ),
    "the old rule after a change": (
        fired(
            [
                MINUTE,
                recurring(1, b"new", FAR_MS),
                recurring(2, due_ms=NEXT_MS, replaces=0),
                recurring(3, b"new", FAR_MS, replaces=1),
                recurring(4, due_ms=THIRD_MS, replaces=2),
            ],
            (MINUTE, DUE_MS),
            (MINUTE, NEXT_MS),
        ),
        {Fault.WRONG_VERSION: 1, Fault.HIDDEN: 1},
    ),
    "another payload": (delivered(MESSAGE._replace(value_sha256=b"x" * 32)), {Fault.ALTERED: 1}),
    "another key": (delivered(MESSAGE._replace(key=b"other")), {Fault.ALTERED: 1}),
    "another topic": (delivered(MESSAGE._replace(topic="elsewhere")), {Fault.ALTERED: 1}),
    "the customer's headers in another order": (
        delivered(MESSAGE._replace(headers=(*(MESSAGE.headers or ())[1::-1], *(MESSAGE.headers or ())[2:]))),
        {Fault.ALTERED: 1},
    ),
    "a header that nobody knows": (
        delivered(MESSAGE._replace(headers=(*(MESSAGE.headers or ()), ("scheduler-else", b"1")))),
        {Fault.ALTERED: 1},
    ),
    "another due time": (delivered(changed(MESSAGE, epoch=b"1900000000.5")), {Fault.ALTERED: 1}),
    "no due time": (delivered(changed(MESSAGE, epoch=None)), {Fault.ALTERED: 1}),
    "another name": (delivered(changed(MESSAGE, fire_id=b"a@0")), {Fault.ALTERED: 1}),
    "no name": (delivered(changed(MESSAGE, fire_id=None)), {Fault.ALTERED: 1}),
    "another time of writing": (delivered(changed(MESSAGE, timestamp=b"1")), {Fault.ALTERED: 1}),
    "history with another payload": (
        replace(FIRES, history=[TOLD._replace(value_sha256=b"x" * 32)]),
        {Fault.ALTERED: 1},
    ),
    "history without a lateness": (
        replace(FIRES, history=[changed(TOLD, lateness_ms=b"-3")]),
        {Fault.ALTERED: 1},
    ),
    "a schedule that stands otherwise than it was written": (
        replace(FIRES, journal=[entry(OLD)._replace(value_sha256="00" * 32)]),
        {Fault.ALTERED: 1},
    ),
    "an occurrence left out": (
        fired(
            [MINUTE, recurring(1, due_ms=NEXT_MS, replaces=0), recurring(2, due_ms=THIRD_MS, replaces=1)],
            (MINUTE, DUE_MS),
            now_ms=THIRD_MS - 1,
        ),
        {Fault.SKIPPED: 1},
    ),
    "a step too far": (
        fired([MINUTE, recurring(1, due_ms=THIRD_MS, replaces=0)], (MINUTE, DUE_MS), now_ms=THIRD_MS - 1),
        {Fault.SKIPPED: 1},
    ),
    "missed ones made one against the policy": (
        fired(
            [recurring(0, misfire=b"all"), recurring(1, due_ms=THIRD_MS, replaces=0, misfire=b"all")],
            (MINUTE, NEXT_MS),
            now_ms=THIRD_MS - 1,
        ),
        {Fault.SKIPPED: 1},
    ),
    "a misfire without a policy": (
        evidence([OLD, tombstone(1, 0, b"misfired")], [], [told(OLD, b"misfired")]),
        {Fault.OUTCOME: 1},
    ),
    "a sound schedule is refused": (
        replace(SOUND["is not due yet"], history=[told(OLD, b"rejected")]),
        {Fault.OUTCOME: 1},
    ),
    "a message never submitted": (
        delivered(MESSAGE, message(schedule(0, key=b"alien"), offset=9)),
        {Fault.FOREIGN: 1},
    ),
    "a line of the history of what was never submitted": (
        replace(FIRES, history=[TOLD, told(schedule(0, key=b"alien"), offset=9)]),
        {Fault.FOREIGN: 1},
    ),
    "a schedule that no customer wrote": (
        logged(OLD, ENDED, schedule(7, due_ms=FAR_MS, key=b"alien")),
        {Fault.FOREIGN: 1},
    ),
    "a schedule that stands twice": (logged(OLD, ENDED, schedule(7, due_ms=FAR_MS)), {Fault.FOREIGN: 1}),
    "a schedule of which its producer was told that it was refused": (
        replace(FIRES, journal=[entry(OLD, REFUSED)]),
        {Fault.FOREIGN: 1},
    ),
    "the scheduler wrote a version that nobody stated": (
        logged(OLD, ENDED, schedule(3, b"other", FAR_MS, replaces=2)),
        {Fault.FOREIGN: 1},
    ),
    "seen live and gone": (seen_live(MESSAGE, AGAIN), {Fault.RETRACTED: 1, Fault.DOUBLED: 1}),
    "seen live otherwise": (
        seen_live(MESSAGE._replace(value_sha256=b"x" * 32)),
        {Fault.RETRACTED: 1, Fault.ALTERED: 1},
    ),
    "never seen live": (seen_live(), {Fault.UNSEEN: 1}),
    "a transaction left open": (replace(FIRES, hanging=[Hanging("target", 0, 3, 9)]), {Fault.HANGING: 1}),
}


@pytest.mark.parametrize("name", FAULTY)
def test_each_fault_is_seen_and_named_and_nothing_else_is(name: str) -> None:
    case, faults = FAULTY[name]
    verdict = judge(case)
    assert verdict.counts == faults, "\n".join(verdict.lines())
    with pytest.raises(AssertionError) as raised:
        verdict.check()
    for fault in faults:
        assert f"{fault}: {EXPLAINED[fault]}\n  " in str(raised.value)


def test_every_kind_of_fault_has_a_case_and_an_explanation() -> None:
    assert {fault for _, faults in FAULTY.values() for fault in faults} == set(Fault) == set(EXPLAINED)


@pytest.mark.parametrize("ending", [tombstone(6, 0), recurring(6, due_ms=NEXT_MS, replaces=0)], ids=["once", "recurs"])
def test_a_firing_is_a_fault_once_the_owner_has_read_what_cancelled_it(ending: Record) -> None:
    """Another schedule of the partition that ended shows how far the owner had read by then."""
    first = OLD if ending.value_sha256 is None else MINUTE
    witness = schedule(2, b"witness", key=b"w")
    log = [first, cancel(1), witness, ending]
    unsaid = [] if ending.value_sha256 is None else [told(first, b"cancelled", NEXT_MS)]

    def found(ended_at: int) -> Verdict:
        case = fired([*log, tombstone(ended_at, 2, key=b"w")], (first, DUE_MS), (witness, DUE_MS))
        return judge(replace(case, history=[*case.history, *(each._replace(offset=9) for each in unsaid)]))

    assert Fault.WRONG_VERSION not in found(7).counts
    assert found(5).counts[Fault.WRONG_VERSION] == 1


def test_the_two_ways_in_which_a_race_may_end_are_told_apart() -> None:
    late, in_time = judge(SOUND["the update comes too late"]), judge(SOUND["is replaced"])

    assert (late.too_late, late.replaced) == (1, 0)
    assert (in_time.too_late, in_time.replaced) == (0, 1)


def test_what_only_an_operator_may_ask_for_is_counted() -> None:
    """Early, while it is paused, while its partition is, or too late for its policy."""
    pause = record(SCHEDULES, 1, b"||scheduler-paused||", b"", [])
    late = schedule(0, misfire=b"skip", misfire_grace=b"1ms")
    witness = schedule(2, b"witness", FAR_MS, key=b"w", paused=b"true")
    again = schedule(3, b"witness", FAR_MS, key=b"w", paused=b"true", replaces=2)
    for case in (
        SOUND["is fired by request"],
        fired([schedule(0, paused=b"true"), ENDED], (schedule(0), DUE_MS)),
        fired([OLD, pause, witness, again, tombstone(4, 0)], (OLD, DUE_MS)),
        fired([late, ENDED], (late, DUE_MS)),
    ):
        verdict = judge(case)
        verdict.check()
        assert verdict.requested == 1
    unread = judge(fired([OLD, pause, tombstone(4, 0)], (OLD, DUE_MS)))
    assert (unread.clean, unread.requested) == (True, 0)


def test_what_was_not_acknowledged_may_be_there_or_not() -> None:
    there = judge(replace(FIRES, journal=[entry(OLD, UNKNOWN)]))
    there.check()
    assert there.unknown_found == 1
    not_there = evidence([], journal=[entry(OLD, UNKNOWN), entry(NEW, REFUSED)])
    judge(not_there).check()
    nowhere = replace(FIRES, journal=[entry(OLD)._replace(partition=None, offset=None)])
    judge(nowhere).check()


def test_others_may_write_too_where_that_is_said() -> None:
    alien = schedule(7, due_ms=FAR_MS, key=b"alien")

    assert not judge(logged(OLD, ENDED, alien)).clean
    judge(replace(logged(OLD, ENDED, alien), alone=False)).check()


def test_messages_of_other_installations_and_of_nobody_are_passed_over() -> None:
    other = changed(AGAIN, topic=b"another-schedules-topic")
    plain = record(TARGET, 10, b"k", b"v", [("trace", b"1")])

    verdict = judge(delivered(MESSAGE, other, plain))

    verdict.check()
    assert verdict.messages == 1


def test_at_another_cluster_copies_are_allowed_and_losses_are_not() -> None:
    copies = judge(replace(delivered(MESSAGE, AGAIN), at_least_once=True))
    copies.check()
    assert copies.copies == 1
    assert judge(replace(delivered(), at_least_once=True)).counts == {Fault.LOST: 1}


def test_what_compaction_has_taken_is_not_judged_and_said() -> None:
    now_ms = DUE_MS + 3_600_000
    gone = {SCHEDULES: now_ms}
    cases = {
        "the version": logged(ENDED),
        "all of it": logged(),
        "the tombstone": replace(logged(), journal=[entry(OLD)]),
    }
    for name, case in cases.items():
        verdict = judge(replace(case, journal=case.journal if name == "the tombstone" else None, whole_since=gone))
        verdict.check()
        assert verdict.unjudged.total() == 1, (name, verdict.unjudged)
    # the newest record of a key stays
    assert judge(with_journal(evidence([], whole_since=gone), [OLD])).counts == {Fault.LOST: 1}


@pytest.mark.parametrize("topic", [HISTORY, TARGET])
def test_what_retention_has_taken_is_not_judged_and_said(topic: str) -> None:
    field = "history" if topic == HISTORY else "targets"
    verdict = judge(replace(FIRES, **{field: []}, whole_since={topic: DUE_MS + LATE_MS + 1}))
    verdict.check()
    assert verdict.unjudged.total() == 1
    assert not judge(replace(FIRES, **{field: []}, whole_since={topic: DUE_MS + LATE_MS})).clean


def test_a_recording_stands_for_what_the_topics_have_lost() -> None:
    had = {each.place: each for each in (OLD, ENDED, MESSAGE, TOLD)}
    case = replace(
        evidence([ENDED], recording=Recording(had, {})),
        starts={(TARGET, 0): 5, (HISTORY, 0): 5},
        compacted={SCHEDULES},
        journal=[entry(OLD)],
    )
    verdict = judge(case)
    verdict.check()
    assert (verdict.messages, verdict.outcomes["fired"]) == (1, 1)
    assert judge(replace(case, compacted=())).counts == {Fault.RETRACTED: 1}
    assert judge(replace(case, starts={})).counts == {Fault.RETRACTED: 2}


def test_only_what_was_due_in_the_time_given_is_judged() -> None:
    later = schedule(1, due_ms=FAR_MS, key=b"later")
    both = evidence([OLD, later], now_ms=FAR_MS + 1)

    assert judge(both).counts == {Fault.NOT_ENDED: 2}
    assert judge(replace(both, until_ms=FAR_MS - 1)).counts == {Fault.NOT_ENDED: 1}
    assert judge(replace(both, since_ms=DUE_MS + 1)).counts == {Fault.NOT_ENDED: 1}
    assert judge(replace(both, since_ms=FAR_MS + 1)).clean


def test_what_is_written_while_it_is_read_is_not_judged() -> None:
    case = replace(FIRES, schedules=[OLD], until_ms=DUE_MS + 1)

    verdict = judge(case)

    verdict.check()
    assert verdict.unjudged.total() == 1


def test_the_figures_are_those_of_the_reader_that_ran_all_the_time() -> None:
    schedules = [schedule(number, due_ms=DUE_MS + 100 * number, key=b"k%d" % number) for number in range(4)]
    log = [*schedules, *(tombstone(10 + number, number, key=b"k%d" % number) for number in range(4))]
    case = fired(log, *((each, DUE_MS + 100 * number) for number, each in enumerate(schedules)))
    had = {
        each.place: each._replace(received_ms=DUE_MS + 100 * number + (0, 10, 20, 330)[number])
        for number, each in enumerate(case.targets)
    }
    verdict = judge(replace(case, recording=Recording(had, {(TARGET, 0): 4})))

    verdict.check()
    assert (verdict.schedules, verdict.messages, verdict.outcomes) == (4, 4, {"fired": 4})
    assert verdict.lateness_ms == [0, 10, 20, 330]
    assert (verdict.lateness(0.5), verdict.lateness(0.99), verdict.lateness(1)) == (20, 330, 330)
    assert verdict.longest_gap_ms() == 410
    assert verdict.longest_gap_ms(until_ms=DUE_MS + 300) == 110
    assert verdict.first_firing_after(DUE_MS + 201) == 429
    assert verdict.first_firing_after(DUE_MS + 1000) is None
    assert "4 schedules, 4 messages, 0 lost, 0 doubled, 0 early; lateness p50 20 ms" in verdict.summary


def test_a_verdict_counts_all_offenders_and_names_the_first() -> None:
    lost = [schedule(number, key=b"id-%d" % number) for number in range(20)]
    verdict = judge(evidence(lost))
    assert verdict.counts == {Fault.NOT_ENDED: 20}
    assert len(verdict.examples[Fault.NOT_ENDED]) == EXAMPLES
    assert verdict.as_json()["faults"]["not ended"]["count"] == 20
    assert f"due {DUE_MS}, in force at schedules 0/" in verdict.examples[Fault.NOT_ENDED][0]


def test_an_entry_is_what_its_producer_wrote() -> None:
    assert entry(OLD) == Entry(
        SCHEDULES, KEY, "acknowledged", 0, 0, WRITTEN_MS, (OLD.value_sha256 or b"").hex(), 14, OLD.headers or ()
    )
