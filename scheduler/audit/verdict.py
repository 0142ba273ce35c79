"""What the judge found: faults by kind, the first offenders of each by name, and the figures of the run."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any

EXAMPLES = 5
"""Offenders that are named for each kind of fault."""


class Fault(StrEnum):
    """What can be wrong."""

    LOST = "lost"  # acknowledged or ended, and there is no message
    NOT_ENDED = "not ended"  # due, in force, and nothing came of it; or a refusal or cancel that is not told
    DOUBLED = "doubled"
    EARLY = "early"
    TORN = "torn"  # target, history and successor do not agree
    WRONG_VERSION = "wrong version"  # replaced or cancelled in time, and fired all the same
    ALTERED = "altered"  # payload, key or headers
    SKIPPED = "skipped"  # an occurrence that no misfire rule accounts for
    OUTCOME = "wrong outcome"  # misfired or rejected without a reason in the contract
    HIDDEN = "hidden"  # an update behind a record of the scheduler, not written again: compaction will take it
    FOREIGN = "foreign"  # nobody has submitted it
    RETRACTED = "retracted"  # a reader that ran all the time had it, and it is gone
    UNSEEN = "unseen"  # it is there, and a reader that ran all the time never had it
    HANGING = "hanging transaction"


EXPLAINED = {
    Fault.LOST: "acknowledged, or said to have fired, and there is no message",
    Fault.NOT_ENDED: "due, and neither fired nor told; or a cancel or refusal that is not told",
    Fault.DOUBLED: "more than one message of one occurrence",
    Fault.EARLY: "a message before its time",
    Fault.TORN: "target, history and successor do not agree",
    Fault.WRONG_VERSION: "replaced or cancelled in time, and fired all the same",
    Fault.ALTERED: "payload, key or headers are not as they were written",
    Fault.SKIPPED: "an occurrence left out, and not by a misfire rule",
    Fault.OUTCOME: "an outcome that the contract has no reason for",
    Fault.HIDDEN: "an update that compaction will take: it was not written again",
    Fault.FOREIGN: "nobody has submitted it",
    Fault.RETRACTED: "a reader that ran all the time had it, and it is gone",
    Fault.UNSEEN: "there, and a reader that ran all the time never had it",
    Fault.HANGING: "a transaction that stays open holds up readers",
}


@dataclass
class Verdict:
    """The findings. Instants are Unix ms, durations ms."""

    schedules: int = 0
    """Versions that customers have written and that stand."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """Of the history: fired, misfired, cancelled, rejected, undeliverable."""
    messages: int = 0
    pending: int = 0
    """In force, and not due yet, or paused."""
    replaced: int = 0
    """Versions that ended unfired because a newer record stood in time."""
    too_late: int = 0
    """Ends of a version that a newer record had not stopped: it stood before, and nobody had read it."""
    requested: int = 0
    """Fired before they were due, while paused, or too late for their policy: an operator may ask for that."""
    copies: int = 0
    """Further messages of one occurrence at another cluster, where that is allowed."""
    unknown_found: int = 0
    """Records of which their producer was told nothing certain, and which stand."""
    unjudged: Counter[str] = field(default_factory=Counter)
    """What cannot be judged, by reason."""
    counts: Counter[Fault] = field(default_factory=Counter)
    examples: defaultdict[Fault, list[str]] = field(default_factory=lambda: defaultdict(list))
    firings: list[tuple[int, int]] = field(default_factory=list)
    """When a reader had each message (or, where none ran, when it was stamped) and its due time; sorted."""
    lateness_ms: list[int] = field(default_factory=list)
    """The differences of these, sorted."""

    def add(self, fault: Fault, offender: str) -> None:
        """Count a fault, and name the offender if it is one of the first."""
        self.counts[fault] += 1
        if len(self.examples[fault]) < EXAMPLES:
            self.examples[fault].append(offender)

    @property
    def clean(self) -> bool:
        """Whether no fault was found."""
        return not self.counts

    def lateness(self, share: float) -> int | None:
        """The lateness that this share of the messages does not exceed; None where there are none."""
        found = self.lateness_ms
        return found[min(len(found) - 1, int(len(found) * share))] if found else None

    def longest_gap_ms(self, since_ms: int | None = None, until_ms: int | None = None) -> int:
        """The longest time between two messages, of the whole run or of a part of it."""
        start = 0 if since_ms is None else bisect_left(self.firings, (since_ms, 0))
        end = len(self.firings) if until_ms is None else bisect_left(self.firings, (until_ms + 1, 0))
        return max((later[0] - earlier[0] for earlier, later in pairwise(self.firings[start:end])), default=0)

    def first_firing_after(self, instant_ms: int) -> int | None:
        """How long after an instant (a fault, say) the first message came that was due then or later; None: never."""
        start = bisect_left(self.firings, (instant_ms, 0))
        return next((at_ms - instant_ms for at_ms, due_ms in self.firings[start:] if due_ms >= instant_ms), None)

    @property
    def summary(self) -> str:
        """The figures, on one line."""
        faults = ", ".join(f"{self.counts[fault]} {fault}" for fault in (Fault.LOST, Fault.DOUBLED, Fault.EARLY))
        return (
            f"{self.schedules} schedules, {self.messages} messages, {faults}; lateness p50 {self.lateness(0.5)} ms, "
            f"p99 {self.lateness(0.99)} ms, max {self.lateness(1)} ms; longest gap {self.longest_gap_ms()} ms"
        )

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "clean": self.clean,
            "faults": {
                str(fault): {"count": count, "examples": self.examples[fault]} for fault, count in self.counts.items()
            },
            "schedules": self.schedules,
            "messages": self.messages,
            "outcomes": dict(self.outcomes),
            "pending": self.pending,
            "replaced": self.replaced,
            "too_late": self.too_late,
            "requested": self.requested,
            "copies": self.copies,
            "unknown_found": self.unknown_found,
            "cannot_be_judged": dict(self.unjudged),
            "lateness_ms": {
                "p50": self.lateness(0.5),
                "p99": self.lateness(0.99),
                "max": self.lateness(1),
            },
            "longest_gap_ms": self.longest_gap_ms(),
        }

    def check(self) -> None:
        """Return if nothing is wrong.

        Raises:
            AssertionError: something is; the message names the first offenders of each kind.
        """
        if not self.clean:
            raise AssertionError("\n".join([self.summary, *self.lines()]))

    def lines(self) -> list[str]:
        """Each kind of fault, and the first offenders."""
        lines = []
        for fault, count in self.counts.items():
            lines.append(f"{count} {fault}: {EXPLAINED[fault]}")
            lines += [f"  {offender}" for offender in self.examples[fault]]
        return lines
