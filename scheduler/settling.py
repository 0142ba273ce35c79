"""Dealing with dead letters through Kafka alone: each is run again, or put away, once, whoever else does the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.client import SchedulerClient
from scheduler.clock import SystemClock
from scheduler.errors import InputError
from scheduler.letters import Action, Wanted, open_letters

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.clock import Clock
    from scheduler.letters import Letter
    from scheduler.records import Write
    from scheduler.runtime.progress import Progress
    from scheduler.runtime.settings import Settings

AT_ONCE = 500
"""Letters that are dealt with in one transaction."""


class NoLetterError(InputError):
    """A letter is not there, or somebody has dealt with it."""


class DeadLetters:
    """Holds no connection between calls; any thread may use it."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None, client_id: str = "scheduler-letters") -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._client = SchedulerClient(settings, clock=self._clock, client_id=client_id)

    def open(self, wanted: Wanted | None = None, *, reading: Progress | None = None) -> list[Letter]:
        """The letters that nobody has dealt with, oldest first: all of them are read.

        Args:
            wanted: which of them; None is all.
            reading: is told how far it is.

        Raises:
            InputError: there is no dead-letter topic.
            BrokerUnavailableError: the brokers do not answer.
        """
        fits = wanted or Wanted()
        letters = open_letters(self._client.records(self._settings.dead_letter_topic, progress=reading))
        return [letter for letter in letters if fits.fits(letter)]

    def settle(
        self,
        action: Action,
        wanted: Wanted,
        ids: frozenset[str] = frozenset(),
        *,
        reading: Progress | None = None,
        settled: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> list[Letter]:
        """Run letters again, or put them away; those of the ids, or else all that are wanted.

        Args:
            action: which of the two.
            wanted: which letters.
            ids: these only; all of the wanted if there are none.
            reading: is told how far the reading is.
            settled: is told how many of how many are dealt with.

        Raises:
            NoLetterError: one of the ids is no letter, or it has been dealt with.
            InputError: one of them cannot be run again, or where it would go to does not exist.
            BrokerUnavailableError: the brokers do not answer, or another who deals with letters takes over.
        """
        now_ms = self._clock.now_ms()
        # one at a time: whoever came before is fenced, and what it has done is read, so that no letter is taken twice
        with self._client.writer(settling_id(self._settings)) as writer:
            letters = self.open(wanted, reading=reading)
            if ids:
                letters = chosen(letters, ids)
            for start in range(0, len(letters), AT_ONCE):
                settled(start, len(letters))
                writer.apply(self._writes(action, letters[start : start + AT_ONCE], now_ms))
        return letters

    def _writes(self, action: Action, letters: list[Letter], now_ms: int) -> list[Write]:
        settings = self._settings
        markers = [letter.marker(settings.dead_letter_topic, action) for letter in letters]
        if action is Action.DISCARDED:
            return markers
        return [
            *(letter.again(now_ms=now_ms, schedules_topics=settings.schedules_topics) for letter in letters),
            *markers,
        ]


def settling_id(settings: Settings) -> str:
    """The transactional id of whoever deals with letters: one for all, so that each fences the others."""
    return f"worker-dead-letters-{settings.dead_letter_topic}"


def chosen(letters: list[Letter], ids: frozenset[str]) -> list[Letter]:
    """Those of the ids.

    Raises:
        NoLetterError: one is not there.
    """
    found = [letter for letter in letters if letter.id in ids]
    missing = sorted(ids - {letter.id for letter in found})
    if missing:
        raise NoLetterError(
            f"{', '.join(missing)}: no such dead letter, or it has been dealt with; see: worker dead list"
        )
    return found
