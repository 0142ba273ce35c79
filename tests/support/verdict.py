"""What the auditor found: faults, counted, the first offenders of each by name, and the figures of the run."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum

EXAMPLES = 5
"""Offenders that a report names for each fault."""


class Fault(StrEnum):
    """What can be wrong with a run."""

    LOST = "lost"
    DOUBLED = "doubled"
    EARLY = "early"
    ALTERED = "altered (payload, key or headers)"
    FOREIGN = "never submitted"
    HISTORY = "history differs from what fired"
    TOMBSTONE = "tombstone differs from what fired"
    RETRACTED = "seen by the live reader, gone at the end"
    UNSEEN = "there at the end, never seen by the live reader"
    HANGING = "open transaction"


@dataclass
class Report:
    """The verdict. Lateness is from the due time until the live reader had the message, in ms, sorted."""

    submitted: int
    fired: int
    lateness_ms: list[int]
    longest_gap_ms: int
    """Between two firings: no replica has fired anything for so long."""
    longest_silence_ms: int
    """Between two messages at the live reader, which a replica that dies within a transaction keeps waiting."""
    counts: Counter[Fault] = field(default_factory=Counter)
    examples: defaultdict[Fault, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, fault: Fault, offender: str) -> None:
        """Count a fault, and name the offender if it is one of the first."""
        self.counts[fault] += 1
        if len(self.examples[fault]) < EXAMPLES:
            self.examples[fault].append(offender)

    def lateness(self, share: float) -> int | None:
        """The lateness that this share of the messages does not exceed; None where there are none."""
        sorted_ms = self.lateness_ms
        return sorted_ms[min(len(sorted_ms) - 1, int(len(sorted_ms) * share))] if sorted_ms else None

    @property
    def summary(self) -> str:
        """The figures, on one line."""
        faults = ", ".join(f"{self.counts[fault]} {fault}" for fault in (Fault.LOST, Fault.DOUBLED, Fault.EARLY))
        return (
            f"{self.submitted} schedules, {self.fired} fired, {faults}; "
            f"lateness p50 {self.lateness(0.5)} ms, p99 {self.lateness(0.99)} ms, max {self.lateness(1)} ms; "
            f"longest gap in firing {self.longest_gap_ms} ms, at the reader {self.longest_silence_ms} ms"
        )

    def check(self) -> None:
        """Return if nothing is wrong.

        Raises:
            AssertionError: something is; the message names the first offenders of each fault.
        """
        if self.counts:
            lines = [self.summary]
            for fault, count in self.counts.items():
                lines.append(f"{count} {fault}:")
                lines += [f"  {offender}" for offender in self.examples[fault]]
            raise AssertionError("\n".join(lines))
