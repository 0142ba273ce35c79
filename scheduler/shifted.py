"""A cron rule whose every occurrence comes later by one fixed time, so that a crowd of schedules spreads out."""

from dataclasses import dataclass
from functools import lru_cache

from scheduler.recurrence import CronRule, RecurrenceError, Rule

__all__ = ["ShiftedRule", "shifted"]


@dataclass(frozen=True, slots=True)
class ShiftedRule:
    """What the base rule says, later by `shift_ms`; days and changes of the clock are those of the base.

    Instants before 1970 are those at 1970 to the base, which occurs no earlier.
    """

    base: CronRule
    shift_ms: int

    @property
    def text(self) -> str:
        """See `Rule`."""
        return self.base.text

    @property
    def timezone(self) -> str:
        """See `Rule`."""
        return self.base.timezone

    def next_after(self, instant_ms: int, anchor_ms: int) -> int | None:
        """See `Rule`."""
        found = self.base.next_after(instant_ms - self.shift_ms, anchor_ms - self.shift_ms)
        return None if found is None else found + self.shift_ms

    def latest_until(self, instant_ms: int, anchor_ms: int) -> int:
        """See `Rule`."""
        return self.base.latest_until(instant_ms - self.shift_ms, anchor_ms - self.shift_ms) + self.shift_ms


def shifted(rule: Rule, shift_ms: int) -> Rule:
    """The rule with every occurrence later by so much; equal arguments share one.

    Raises:
        RecurrenceError: the rule is a period, which counts from its first occurrence: that one is to be moved.
    """
    if not isinstance(rule, CronRule):
        raise RecurrenceError(f"{rule.text} cannot be shifted", hint="give it a later first due time")
    return _shared(rule, shift_ms) if shift_ms else rule


_shared = lru_cache(maxsize=16_384)(ShiftedRule)
