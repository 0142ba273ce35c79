"""An embedded store in memory, with a cap: the newest records of each kind, by their time.

It is SQLite without a file: payloads lie on no disk, a read-only file system will do, and it is gone with its process.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PAGE_BYTES = 4096
SPARE = 0.1
"""This part of a kind goes at a time when there is no room; and of the memory, this part is left for the next batch."""


class Kind(StrEnum):
    """What is kept; the value is its table."""

    EVENT = "events"
    RUN = "runs"
    LETTER = "letters"


COLUMNS = {
    Kind.EVENT: [
        "at_ms",
        "place",
        "schedule_id",
        "outcome",
        "due_ms",
        "lateness_ms",
        "target",
        "fire_id",
        "reason",
        "detail",
        "headers",
        "payload",
        "payload_bytes",
    ],
    Kind.RUN: ["at_ms", "place", "run_id", "job_id", "job", "cluster", "outcome", "told", "output", "output_bytes"],
    Kind.LETTER: ["at_ms", "place", "kind", "name", "cluster", "told"],
}
LATER = {Kind.LETTER: ["settled", "settled_at_ms"]}
"""Columns that are filled in afterwards."""
BRIEF = {
    kind: [each for each in ("seq", *columns, *LATER.get(kind, ())) if each not in ("headers", "payload", "output")]
    for kind, columns in COLUMNS.items()
}
"""What a list shows: all but what may be long."""
MOST = {Kind.EVENT: 100_000, Kind.RUN: 50_000, Kind.LETTER: 20_000}
"""Rows of each kind, whatever room there is."""
_INDEXES = (
    "CREATE INDEX events_time ON events(at_ms, seq)",
    "CREATE INDEX events_id ON events(schedule_id, at_ms)",
    "CREATE INDEX runs_time ON runs(at_ms, seq)",
    "CREATE INDEX runs_job ON runs(job_id, at_ms)",
    "CREATE INDEX letters_time ON letters(at_ms, seq)",
    "CREATE INDEX letters_place ON letters(place)",
)

Row = dict[str, Any]


class Spot(NamedTuple):
    """A place in the order of time."""

    at_ms: int
    seq: int


@dataclass(frozen=True)
class Wanted:
    """Which rows of a kind, newest first."""

    equal: dict[str, Any] = field(default_factory=dict)
    """Columns and what they must be; a list is any of them, None is no value."""
    prefix: tuple[str, str] | None = None
    """A column, and how it begins."""
    part: tuple[str, str] | None = None
    """A column, and what is in it."""
    since_ms: int | None = None
    until_ms: int | None = None
    before: Spot | None = None
    """Only what is older, for the next page."""
    after: int | None = None
    """Only what came later than the row of this number."""
    limit: int = 100

    def where(self) -> tuple[str, list[Any]]:
        """As SQL, and its parameters; column names are the program's, never a request's."""
        said: list[str] = []
        given: list[Any] = []
        for column, value in self.equal.items():
            values = value if isinstance(value, list) else [value]
            said.append(f"{column} IS NULL" if value is None else f"{column} IN ({', '.join('?' * len(values))})")
            given += [] if value is None else values
        if self.prefix is not None:
            column, start = self.prefix
            said.append(f"substr({column}, 1, ?) = ?")
            given += [len(start), start]
        if self.part is not None:
            column, text = self.part
            said.append(f"instr({column}, ?) > 0")
            given.append(text)
        for clause, bound in (("at_ms >= ?", self.since_ms), ("at_ms < ?", self.until_ms), ("seq > ?", self.after)):
            if bound is not None:
                said.append(clause)
                given.append(bound)
        if self.before is not None:
            said.append("(at_ms, seq) < (?, ?)")
            given += self.before
        return f"WHERE {' AND '.join(said)}" if said else "", given


class Store:
    """Any thread may use it; each call holds it for itself."""

    def __init__(self, megabytes: int) -> None:
        self._most_bytes = megabytes * 1_000_000
        self._lock = threading.Lock()
        self._seq = 0
        self._base = self._open()

    def _open(self) -> sqlite3.Connection:
        base = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        base.row_factory = sqlite3.Row
        base.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        for kind, columns in COLUMNS.items():
            named = ", ".join((*columns, *LATER.get(kind, ())))
            base.execute(f"CREATE TABLE {kind}(seq INTEGER PRIMARY KEY, {named})")
        for index in _INDEXES:
            base.execute(index)
        self._counts = dict.fromkeys(Kind, 0)
        self._dropped = dict.fromkeys(Kind, False)
        return base

    def clear(self) -> None:
        """Forget everything; rows that come later go on counting."""
        with self._lock:
            self._base.close()
            self._base = self._open()

    # -- in ------------------------------------------------------------------------------------------

    def add(self, kind: Kind, rows: Sequence[Row]) -> None:
        """Keep rows; the oldest go where there is no room."""
        if not rows:
            return
        columns = COLUMNS[kind]
        with self._lock:
            marks = ", ".join("?" * (len(columns) + 1))
            named = ", ".join(("seq", *columns))
            first = self._seq + 1
            self._seq += len(rows)
            self._base.execute("BEGIN")
            self._base.executemany(
                f"INSERT INTO {kind}({named}) VALUES ({marks})",  # noqa: S608 - names of our own
                ((seq, *(row[column] for column in columns)) for seq, row in enumerate(rows, first)),
            )
            self._base.execute("COMMIT")
            self._counts[kind] += len(rows)
            self._make_room(kind)

    def settle(self, marks: Iterable[tuple[str, str, int]]) -> None:
        """Note that letters were dealt with: their place, how, and when."""
        with self._lock:
            self._base.executemany(
                "UPDATE letters SET settled = ?, settled_at_ms = ? WHERE place = ?",
                [(action, at_ms, place) for place, action, at_ms in marks],
            )

    def _make_room(self, kind: Kind) -> None:
        if self._counts[kind] > MOST[kind]:
            self._drop(kind, self._counts[kind] - int(MOST[kind] * (1 - SPARE)))
        while self._bytes() > self._most_bytes * (1 - SPARE):
            # by their number, so that a flood of one kind does not wash away another
            fullest = max(Kind, key=lambda each: self._counts[each] / MOST[each])
            if not self._counts[fullest]:
                return
            self._drop(fullest, max(1, int(self._counts[fullest] * SPARE)))

    def _drop(self, kind: Kind, count: int) -> None:
        oldest = f"SELECT seq FROM {kind} ORDER BY at_ms, seq LIMIT ?"  # noqa: S608 - names of our own
        gone = self._base.execute(f"DELETE FROM {kind} WHERE seq IN ({oldest})", (count,)).rowcount  # noqa: S608
        self._counts[kind] -= gone
        self._dropped[kind] = True

    def _bytes(self) -> int:
        pages, free = (self._base.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
        return int(pages - free) * PAGE_BYTES

    # -- out -----------------------------------------------------------------------------------------

    def rows(self, kind: Kind, wanted: Wanted, *, brief: bool = False) -> list[Row]:
        """Rows of a kind, newest first, each with its number `seq`; whole, or as a list shows them."""
        where, given = wanted.where()
        named = ", ".join(BRIEF[kind]) if brief else "*"
        query = f"SELECT {named} FROM {kind} {where} ORDER BY at_ms DESC, seq DESC LIMIT ?"  # noqa: S608
        with self._lock:
            return [dict(row) for row in self._base.execute(query, [*given, wanted.limit])]

    def newest(self) -> int:
        """The number of the row that came last, of any kind."""
        with self._lock:
            return self._seq

    def jobs(self, recent: int, most: int) -> list[Row]:
        """The last so many attempts of each job, job by job, the one that ran last first."""
        query = """
            SELECT * FROM (
                SELECT seq, at_ms, place, run_id, job_id, job, cluster, outcome, told,
                    row_number() OVER (PARTITION BY job_id ORDER BY at_ms DESC, seq DESC) AS nth,
                    count() OVER (PARTITION BY job_id) AS kept,
                    max(at_ms) OVER (PARTITION BY job_id) AS last_ms
                FROM runs WHERE outcome <> 'started'
            ) WHERE nth <= ? ORDER BY last_ms DESC, job_id, nth LIMIT ?
        """
        with self._lock:
            return [dict(row) for row in self._base.execute(query, (recent, recent * most))]

    def outcomes(self, since_ms: int) -> dict[str, int]:
        """How many events of each outcome there were."""
        query = "SELECT outcome, count() FROM events WHERE at_ms >= ? GROUP BY outcome"
        with self._lock:
            return {str(outcome): int(count) for outcome, count in self._base.execute(query, (since_ms,))}

    def open_letters(self) -> int:
        """How many letters nobody has dealt with."""
        with self._lock:
            return int(self._base.execute("SELECT count() FROM letters WHERE settled IS NULL").fetchone()[0])

    def extent(self, kind: Kind) -> tuple[int, int | None, bool]:
        """How many rows there are, the time of the oldest, and whether older ones were dropped for want of room."""
        with self._lock:
            oldest = self._base.execute(f"SELECT min(at_ms) FROM {kind}").fetchone()[0]  # noqa: S608
            return self._counts[kind], oldest, self._dropped[kind]
