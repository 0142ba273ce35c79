"""What the log of a schedules partition means, by docs/contract.md: written anew, it shares no code with the engine."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.simulation.broker import Entry, Header

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
PAUSE_KEY = b"||scheduler-paused||"
NONSENSE = b"bad"
"""How the payload of what is no schedule begins, in these worlds."""
APART = frozenset(
    f"scheduler-{name}" for name in ("epoch", "delay", "replaces", "continues", "paused", "cron", "timezone")
)
"""Headers of which a `Standing` has a field of its own, or which are of one record only."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A version in force."""

    offset: int
    key: bytes
    payload: bytes
    due_ms: int
    target: str
    customer: tuple[Header, ...]
    lasting: tuple[Header, ...]
    timestamp_ms: int
    rule: str | None
    misfire: str
    grace_ms: int | None
    paused: bool
    continues: bool
    acted_ms: int | None
    """When an owner last wrote of it, or of the version that it continues: what was due by then has had its turn."""

    @property
    def content(self) -> tuple[object, ...]:
        """What has to be the same in whatever is written of it."""
        return self.key, self.payload, self.due_ms, self.paused, self.rule, self.customer, self.lasting


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What a client's null record has ended."""

    at: int
    version: Standing


class Reference:
    """The versions in force after each record, and what clients have cancelled."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._offsets: dict[bytes, list[int]] = {}
        self._standings: dict[bytes, list[Standing | None]] = {}
        self._newest: dict[bytes, int] = {}
        """The newest record of a key that took effect."""
        self.of_owners: dict[bytes, list[int]] = {}
        """Where records of owners stand that took effect."""
        self.of_clients: dict[bytes, list[Entry]] = {}
        """Schedules and cancels, without what is malformed."""
        self._stated: dict[bytes, Standing] = {}
        """What versions that continue another say themselves."""
        self._ends: dict[bytes, list[tuple[int, int]]] = {}
        """Tombstones of owners: where each stands, and what it replaces."""
        self.cancelled: list[Cancelled] = []
        self.malformed: list[Entry] = []
        self.last: dict[bytes, Entry] = {}
        """The last record of each key, whatever it is."""
        self._holds: list[tuple[int, bool]] = []
        for entry in entries:
            if entry.committed and entry.key is not None:
                self._read(entry.key, entry)

    def after(self, key: bytes, offset: int) -> Standing | None:
        """What is in force when everything up to the offset is read."""
        index = bisect_right(self._offsets.get(key, ()), offset)
        return self._standings[key][index - 1] if index else None

    def now(self, key: bytes) -> Standing | None:
        """What is in force in the end."""
        standings = self._standings.get(key)
        return standings[-1] if standings else None

    def held(self, offset: int) -> bool:
        """Whether the whole partition is paused when everything up to the offset is read."""
        return next((on for at, on in reversed(self._holds) if at <= offset), False)

    def was_ended(self, version: Standing, before: int) -> bool:
        """Whether an owner's tombstone before that offset ends this version."""
        ends = self._ends.get(version.key, ())
        return any(version.offset <= replaces and offset < before for offset, replaces in ends)

    @property
    def in_force(self) -> dict[bytes, Standing]:
        return {key: standings[-1] for key, standings in self._standings.items() if standings[-1] is not None}

    def recurring(self) -> set[bytes]:
        """Payloads of versions that had a rule at some time."""
        every = (version for standings in self._standings.values() for version in standings)
        return {version.payload for version in every if version is not None and version.rule is not None}

    def _read(self, key: bytes, entry: Entry) -> None:
        if key == PAUSE_KEY:
            self._holds.append((entry.offset, entry.value is not None))
            return
        self.last[key] = entry
        if entry.value is not None and (not key or entry.value.startswith(NONSENSE)):
            self.malformed.append(entry)
            return
        headers = dict(entry.headers)
        replaces = headers.get("scheduler-replaces")
        now = self.now(key)
        version = None if entry.value is None else _version(key, entry.value, entry)
        if replaces is None:
            self.of_clients.setdefault(key, []).append(entry)
            if version is None:
                if now is not None:
                    self.cancelled.append(Cancelled(entry.offset, now))
            elif version.continues:
                self._stated[key] = version
                version = carried_on(version, now)
            self._stands(key, entry.offset, version)
            return
        if version is None:
            self._ends.setdefault(key, []).append((entry.offset, int(replaces)))
        if int(replaces) >= self._newest.get(key, -1):
            self.of_owners.setdefault(key, []).append(entry.offset)
            self._stands(key, entry.offset, version)
        elif now is not None and now.continues and version is not None:
            # it was written without knowing of the one in force, which goes on where it stands
            self._put(key, entry.offset, carried_on(self._stated[key], version))

    def _stands(self, key: bytes, offset: int, version: Standing | None) -> None:
        self._newest[key] = offset
        self._put(key, offset, version)

    def _put(self, key: bytes, offset: int, version: Standing | None) -> None:
        self._offsets.setdefault(key, []).append(offset)
        self._standings.setdefault(key, []).append(version)


def _version(key: bytes, payload: bytes, entry: Entry) -> Standing:
    headers = dict(entry.headers)
    rule = headers.get("scheduler-cron")
    delay = headers.get("scheduler-delay")
    grace = headers.get("scheduler-misfire-grace")
    due_ms = entry.timestamp_ms + seconds_ms(delay) if delay is not None else instant_ms(headers["scheduler-epoch"])
    return Standing(
        entry.offset,
        key,
        payload,
        due_ms,
        (headers["scheduler-target-topic"] or b"").decode(),
        tuple(each for each in entry.headers if not each[0].startswith("scheduler-")),
        tuple(sorted(each for each in entry.headers if each[0].startswith("scheduler-") and each[0] not in APART)),
        entry.timestamp_ms,
        None if rule is None else rule.decode(),
        (headers.get("scheduler-misfire") or (b"fire" if rule is None else b"once")).decode(),
        seconds_ms(grace) if grace is not None else None if rule is None else 60_000,
        headers.get("scheduler-paused") == b"true",
        headers.get("scheduler-continues") == b"true",
        entry.timestamp_ms if "scheduler-replaces" in headers else None,
    )


def carried_on(version: Standing, base: Standing | None) -> Standing:
    """A version that continues the one that it replaces."""
    if base is None or version.rule is None:
        return version
    due_ms = version.due_ms
    if base.rule == version.rule:
        due_ms = base.due_ms
    elif base.acted_ms is not None and due_ms <= base.acted_ms and due_ms < base.due_ms:
        due_ms = occurrence_after(version.rule, due_ms, base.acted_ms)
    return replace(version, due_ms=due_ms, paused=version.paused or base.paused, acted_ms=base.acted_ms)


# -- times -------------------------------------------------------------------------------------------


def instant_ms(text: bytes | None) -> int:
    """Unix seconds with up to three decimals."""
    seconds, _, fraction = (text or b"").decode().partition(".")
    return int(seconds) * 1000 + int(fraction.ljust(3, "0") or "0")


def seconds_ms(text: bytes) -> int:
    """`90s`, the only kind of duration in these worlds."""
    return int(text.removesuffix(b"s")) * 1000


def occurrence_after(rule: str, due_ms: int, instant: int) -> int:
    """The first occurrence later than the instant, of `@every 7s` counted from `due_ms`, or of `7 * * * *`."""
    if rule.startswith("@every "):
        period_ms = seconds_ms(rule.removeprefix("@every ").encode())
        return due_ms if instant < due_ms else due_ms + ((instant - due_ms) // period_ms + 1) * period_ms
    minute_ms = int(rule.split(" ", 1)[0]) * MINUTE_MS
    return (instant - minute_ms) // HOUR_MS * HOUR_MS + HOUR_MS + minute_ms


def latest_occurrence(rule: str, due_ms: int, instant: int) -> int:
    """The last occurrence at or before the instant; the first one is `due_ms`."""
    if rule.startswith("@every "):
        period_ms = seconds_ms(rule.removeprefix("@every ").encode())
        return instant - (instant - due_ms) % period_ms
    minute_ms = int(rule.split(" ", 1)[0]) * MINUTE_MS
    return max(due_ms, (instant - minute_ms) // HOUR_MS * HOUR_MS + minute_ms)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the contract says of a version that is due: its outcome, which occurrence, and when it is due next."""

    outcome: str
    due_ms: int
    next_ms: int | None


def verdict(version: Standing, now_ms: int, since_delta: int | None) -> Verdict:
    """By its misfire policy, and by how old is too old."""
    due_ms, rule, grace_ms = version.due_ms, version.rule, version.grace_ms
    next_ms = None
    if rule is not None:
        if version.misfire != "all":
            due_ms = latest_occurrence(rule, due_ms, now_ms)
        next_ms = occurrence_after(rule, version.due_ms, due_ms)
    outcome = "fired"
    if version.misfire == "skip" and grace_ms is not None and now_ms - due_ms > grace_ms:
        outcome = "misfired"
    if since_delta is not None and due_ms < now_ms - now_ms % DAY_MS + since_delta * DAY_MS:
        outcome = "misfired"
    return Verdict(outcome, due_ms, next_ms)
