"""Compares the log, the history and the targets, schedule by schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.audit import contract
from scheduler.audit.contract import CANCELLED, FIRED, LATENESS, MISFIRED, REJECTED, UNDELIVERABLE
from scheduler.audit.occurrences import ENDINGS, cancelled, match
from scheduler.audit.said import differences
from scheduler.audit.verdict import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scheduler.audit.contract import Version
    from scheduler.audit.occurrences import Matched, Unit
    from scheduler.audit.records import Place, Record
    from scheduler.audit.replay import End, KeyLog, Report
    from scheduler.audit.said import Said
    from scheduler.audit.verdict import Verdict

DAY_MS = 86_400_000


class Comparison:
    """Looks at one schedule after the other, and adds to the verdict.

    Args:
        verdict: gets the figures.
        report: is told of faults.
        held: whether nothing of a topic is missing since an instant.
        judged: whether occurrences of a due time are to be judged.
        history: the history topic.
        now_ms: what was due by then has to have ended.
        paused: partitions that are held.
        vanished: places of acknowledged records that the log does not have, and whether that is reported already.
        at_least_once: copies are allowed.
    """

    def __init__(
        self,
        verdict: Verdict,
        report: Report,
        *,
        held: Callable[[str, int], bool],
        judged: Callable[[int], bool],
        history: str,
        now_ms: int,
        paused: Mapping[tuple[str, int], bool],
        vanished: Mapping[Place, bool],
        at_least_once: bool,
    ) -> None:
        self._verdict = verdict
        self._report = report
        self._held = held
        self._judged = judged
        self._history = history
        self._now_ms = now_ms
        self._paused = paused
        self._vanished = vanished
        self._at_least_once = at_least_once

    def compare(
        self, topic: str, key: bytes, logs: Sequence[KeyLog], told: Sequence[Said], messages: Sequence[Said]
    ) -> None:
        """One schedule: all of its versions and occurrences."""
        ends = [end for log in logs for end in log.ends if end.outcome != CANCELLED]
        case = _Case(topic, key, logs, match(ends, [each for each in told if each.outcome in ENDINGS], messages))
        for message in messages:
            if message.due_ms is None:
                self._fault(case, Fault.ALTERED, f"{_at(message.record)}: names no occurrence", message.record)
        self._verdict.requested += case.matched.requested
        self._skips(case)
        for unit in case.matched.units:
            if self._judged(unit.due_ms):
                self._judge_unit(case, unit)
        for log in logs:
            self._standing(case, log)
        self._cancels(case, [each for each in told if each.outcome == CANCELLED])
        self._refusals(case, [each for each in told if each.outcome == REJECTED])
        for each in told:
            if each.outcome not in (*ENDINGS, CANCELLED, REJECTED):
                self._fault(
                    case, Fault.OUTCOME, f"the history says {each.outcome!r} at {_at(each.record)}", each.record
                )

    def _fault(self, case: _Case, fault: Fault, text: str, *shown_by: Record) -> None:
        self._report(fault, f"{case.key!r}: {text}", *shown_by)

    def _unjudged(self, reason: str) -> None:
        self._verdict.unjudged[reason] += 1

    # -- one occurrence ------------------------------------------------------------------------------

    def _judge_unit(self, case: _Case, unit: Unit) -> None:
        end, told, message = unit.end, unit.told, unit.message
        if end is not None and told is not None and (message is not None or not unit.fires):
            self._as_written(case, unit)
        elif end is None and told is None and message is not None:
            self._alone(case, unit, message)
        elif end is None and told is not None:
            self._without_end(case, unit, told)
        elif end is not None:
            self._incomplete(case, unit, end)

    def _as_written(self, case: _Case, unit: Unit) -> None:
        version = None if unit.end is None else unit.end.version
        for said, what in ((unit.message, "message"), (unit.told, "history")):
            if said is None:
                continue
            wrong = differences(said, version, unit.due_ms)
            if wrong:
                other = version is not None and any(said.tells_of(each) for each in case.versions() if each != version)
                text = f"{what} {_at(said.record)}: {'; '.join(wrong)}"
                self._fault(case, Fault.WRONG_VERSION if other else Fault.ALTERED, text, said.record)
        if unit.end is not None and unit.told is not None and (unit.told.record.stated(LATENESS) or b"").isdigit():
            self._decided(case, unit.end, unit.told)

    def _decided(self, case: _Case, end: End, told: Said) -> None:
        """Whether it could be decided so: by its policy, and not while it was paused."""
        version, lateness_ms = end.version, int(told.record.stated(LATENESS) or 0)
        late = version.misfire == "skip" and version.grace_ms is not None and lateness_ms > version.grace_ms
        if told.outcome != MISFIRED:
            # an operator may ask for it all the same
            self._verdict.requested += told.outcome == FIRED and (late or version.paused or end.held)
            return
        # SINCE_DELTA may say that what was due before a day is too late
        before = (told.due_ms or 0) // DAY_MS < told.record.timestamp_ms // DAY_MS
        if not late and not before:
            text = f"due {told.due_ms} and misfired, {lateness_ms} ms late, by the policy {version.misfire}"
            self._fault(case, Fault.OUTCOME, text, told.record)

    def _alone(self, case: _Case, unit: Unit, message: Said) -> None:
        """A message of which neither the history nor the log tells."""
        beside = [each.message for each in case.matched.units if each.due_ms == unit.due_ms and each is not unit]
        others = [each for each in beside if each is not None]
        if self._at_least_once and case.logs:
            self._verdict.copies += 1
        elif others:
            places = ", ".join(_at(each.record) for each in (message, *others))
            self._fault(case, Fault.DOUBLED, f"due {unit.due_ms}, messages {places}", message.record)
        elif self._held(self._history, message.record.timestamp_ms):
            text = f"due {unit.due_ms}, message {_at(message.record)}, and neither history nor successor"
            self._fault(case, Fault.TORN, text, message.record)
        else:
            self._unjudged("messages of which the history is gone")

    def _without_end(self, case: _Case, unit: Unit, told: Said) -> None:
        """The history tells of an occurrence, and no record of an owner ends it."""
        message = unit.message
        same = [
            each
            for each in case.matched.units
            if each is not unit and each.due_ms == unit.due_ms and each.told and each.message
        ]
        if message is not None and any(each.message and each.message.agrees_with(told) for each in same):
            places = ", ".join(_at(each.message.record) for each in (unit, *same) if each.message)
            self._fault(case, Fault.DOUBLED, f"due {unit.due_ms}, messages {places}", message.record)
        elif any(each.told and each.told.record.same_words(told.record) for each in same):
            text = f"due {unit.due_ms}, told once more at {_at(told.record)}"
            self._fault(case, Fault.TORN, text, told.record)
        elif unit.fires and message is None:
            self._missing_message(case, unit, told.record, told.record)
        elif not case.blind and self._held(case.topic, told.record.timestamp_ms):
            text = f"due {unit.due_ms}, history {_at(told.record)}, and no successor"
            self._fault(case, Fault.TORN, text, told.record)
        else:
            self._as_written(case, unit)
            self._unjudged("occurrences of which the schedules topic no longer holds how they ended")

    def _incomplete(self, case: _Case, unit: Unit, end: End) -> None:
        """The log says that it ended, and the history or the target lacks it."""
        if unit.told is None and unit.message is not None:
            self._as_written(case, unit)
            self._not_told(case, unit, end, f"message {_at(unit.message.record)}")
        elif unit.fires:
            self._missing_message(case, unit, end.by, end.version.record)
        else:
            self._not_told(case, unit, end, f"{(end.outcome or b'').decode()} by {_at(end.by)}")

    def _not_told(self, case: _Case, unit: Unit, end: End, text: str) -> None:
        if self._held(self._history, end.by.timestamp_ms):
            self._fault(case, Fault.TORN, f"due {unit.due_ms}, {text}, and no history", end.by)
        else:
            self._unjudged("occurrences of which the history is gone")

    def _missing_message(self, case: _Case, unit: Unit, by: Record, schedule: Record) -> None:
        target = self._target(unit)
        if self._held(target, by.timestamp_ms):
            text = f"due {unit.due_ms}, schedule {_at(schedule)}, ended by {_at(by)}, and no message at {target}"
            self._fault(case, Fault.LOST, text, by)
        else:
            self._unjudged("messages that their target no longer holds")

    def _target(self, unit: Unit) -> str:
        if unit.end is not None:
            return unit.end.version.target
        named = None if unit.told is None else unit.told.record.stated(contract.TARGET_TOPIC)
        return (named or b"").decode(errors="backslashreplace")

    # -- what stands at the end ----------------------------------------------------------------------

    def _standing(self, case: _Case, log: KeyLog) -> None:
        """What is in force and due has to have ended; what is hidden has to have been written again."""
        if log.in_force is None:
            return
        version = log.standing[log.in_force]
        record = version.record
        said = any(unit.due_ms == version.due_ms and unit.end is None for unit in case.matched.units)
        if record.place in self._vanished:
            if not said and not self._vanished[record.place]:
                text = f"acknowledged at {_at(record)}, due {version.due_ms}, and gone from the topic"
                self._fault(case, Fault.LOST, text, record)
            return
        paused = version.paused or self._paused.get((record.topic, record.partition), False)
        if paused or version.due_ms > self._now_ms:
            self._verdict.pending += 1
        elif not said and self._judged(version.due_ms):
            self._fault(case, Fault.NOT_ENDED, f"due {version.due_ms}, in force at {_at(record)}, not ended", record)
        if log.hidden:
            self._fault(case, Fault.HIDDEN, f"the version at {_at(record)} is hidden, and not written again", record)

    # -- between occurrences -------------------------------------------------------------------------

    def _skips(self, case: _Case) -> None:
        """Each occurrence of a rule is ended, or left out by its misfire policy."""
        for end in case.matched.skipped:
            version, until_ms = end.version, end.until_ms
            moved = until_ms is not None and not version.occurs(until_ms)
            if moved or not self._judged(version.due_ms):
                continue  # to an instant of its own: by request
            if self._held(self._history, end.by.timestamp_ms):
                text = f"nothing is told of what was due from {version.due_ms} until {until_ms}, by {_at(end.by)}"
                self._fault(case, Fault.SKIPPED, text, end.by)
            else:
                self._unjudged("occurrences of which the history is gone")
        for unit in case.matched.units:
            left_out = "" if unit.end is None else _left_out(unit.end, unit)
            if unit.end is not None and left_out and self._judged(unit.due_ms):
                self._fault(case, Fault.SKIPPED, f"{left_out}, by {_at(unit.end.by)}", unit.end.by)

    def _cancels(self, case: _Case, told: list[Said]) -> None:
        """Each cancel that came in time is told, and no other."""
        left = list(told)
        for log in case.logs:
            for offset, cancelled_at in log.cancels.items():
                version = log.standing[offset]
                self._told_as(case, left, version, log, cancelled_at)
            for end in cancelled(log.ends):
                self._told_as(case, left, end.version, log, -1)
        for each in left:
            if case.blind or not self._held(case.topic, each.record.timestamp_ms):
                self._unjudged("cancels that the schedules topic no longer holds")
            else:
                text = f"told as cancelled at {_at(each.record)}, and no cancel came in time"
                self._fault(case, Fault.TORN, text, each.record)

    def _told_as(self, case: _Case, left: list[Said], version: Version, log: KeyLog, cancelled_at: int) -> None:
        fitting = [each for each in left if each.quotes(version)]
        exact = [each for each in fitting if each.tells_of(version) and each.due_ms == version.due_ms]
        if fitting:
            left.remove((exact or fitting)[0])
        elif not self._judged(version.due_ms):
            return
        elif cancelled_at > log.told_to:
            self._fault(case, Fault.NOT_ENDED, f"the cancel at {cancelled_at} is not told", version.record)
        elif self._held(self._history, version.record.timestamp_ms):
            text = f"the version at {_at(version.record)} was cancelled in time, and the history does not say so"
            self._fault(case, Fault.TORN, text, version.record)
        else:
            self._unjudged("cancels of which the history is gone")

    def _refusals(self, case: _Case, told: list[Said]) -> None:
        """Each record that is no schedule is told, and no other."""
        left = list(told)
        for log in case.logs:
            for record in log.refusals:
                fitting = [each for each in left if _refuses(each, record)]
                if fitting:
                    left.remove(fitting[0])
                elif self._held(self._history, record.timestamp_ms):
                    text = f"the record at {_at(record)} is no schedule, and the history does not say so"
                    self._fault(case, Fault.NOT_ENDED, text, record)
                else:
                    self._unjudged("refusals of which the history is gone")
        for each in left:
            text = f"told as rejected at {_at(each.record)}"
            sound = [version for version in case.versions() if _refuses(each, version.record)]
            if sound:
                text += f", and the record at {_at(sound[0].record)} is a schedule"
                self._fault(case, Fault.OUTCOME, text, each.record)
            elif each.record.key is None:
                continue  # nothing can be written back without a key: who takes over does not tell of it again
            elif not self._held(case.topic, each.record.timestamp_ms):
                self._unjudged("refusals that the schedules topic no longer holds")
            else:
                self._fault(case, Fault.TORN, f"{text}, and no such record stands", each.record)


class _Case:
    """A schedule, with what was found of it."""

    def __init__(self, topic: str, key: bytes, logs: Sequence[KeyLog], matched: Matched) -> None:
        self.topic, self.key, self.logs, self.matched = topic, key, logs, matched
        self.blind = sum(log.blind for log in logs)

    def versions(self) -> list[Version]:
        return [version for log in self.logs for version in log.standing.values()]


def _refuses(told: Said, record: Record) -> bool:
    payload = told.partial or told.record.value_sha256 == record.value_sha256
    return payload and (told.bare or record.headers is None or told.customers == contract.customers_headers(record))


def _left_out(end: End, unit: Unit) -> str:
    """What is wrong with the step from a version to the occurrence that ended, and from there to the next; or ''."""
    version = end.version
    if version.rule is None or unit.due_ms < version.due_ms:
        return ""
    if not version.occurs(unit.due_ms):
        return f"{unit.due_ms} is no occurrence of {version.rule.text}"
    if version.misfire == "all" and unit.due_ms != version.due_ms:
        return f"due {version.due_ms}, and {unit.due_ms} was ended, by the policy all"
    following_ms = version.next_after(unit.due_ms)
    refused = unit.told is not None and unit.told.outcome == UNDELIVERABLE and end.until_ms is None
    if following_ms == end.until_ms or refused:
        return ""
    return f"behind {unit.due_ms} follows {following_ms}, and not {end.until_ms}"


def _at(record: Record) -> str:
    return f"{record.topic} {record.partition}/{record.offset}"
