"""Journals and recordings: what is written is read back, and a line that is none is named."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError
from hypothesis import given, settings
from hypothesis import strategies as some

from scheduler.audit import journal, recording
from scheduler.audit.entries import ACKNOWLEDGED, REFUSED, UNKNOWN, Entry
from scheduler.audit.journal import Journal
from scheduler.audit.records import Record
from scheduler.errors import InputError
from tests.support.cases import OLD_ENTRY_LINE, entry, schedule

if TYPE_CHECKING:
    from pathlib import Path

HEADERS = some.lists(some.tuples(some.text(), some.none() | some.binary())).map(tuple)
NUMBERS = some.integers(0, 2**62)
DIGESTS = some.binary(min_size=32, max_size=32)
RECORDS = some.builds(
    Record,
    some.text(),
    NUMBERS,
    NUMBERS,
    NUMBERS,
    some.none() | some.binary(),
    some.none() | DIGESTS,
    NUMBERS,
    some.none() | HEADERS,
    some.none() | NUMBERS,
)
ENTRIES = some.builds(
    Entry,
    some.text(),
    some.binary(),
    some.sampled_from([ACKNOWLEDGED, UNKNOWN, REFUSED]),
    some.none() | NUMBERS,
    some.none() | NUMBERS,
    some.none() | NUMBERS,
    some.none() | DIGESTS.map(bytes.hex),
    NUMBERS,
    HEADERS,
)


@settings(deadline=None, max_examples=30)  # a busy disk takes its time
@given(entries=some.lists(ENTRIES))
def test_a_journal_is_read_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "writes.jsonl"
    with Journal(path) as written:
        for each in entries:
            written.append(each)
    assert journal.read(path) == entries


@settings(deadline=None, max_examples=30)
@given(records=some.lists(RECORDS, unique_by=lambda record: record.place))
def test_a_recording_is_read_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, records: list[Record]
) -> None:
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "records.jsonl").write_text("".join(map(recording.as_line, records)), encoding="utf-8")
    found = recording.read(folder)
    assert list(found.records.values()) == records
    for each in records:
        assert found.reached[each.topic, each.partition] > each.offset


class Report:
    """A delivery report."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_900_000_000_000


@pytest.mark.parametrize(
    ("code", "offset", "outcome", "place"),
    [
        (None, 17, ACKNOWLEDGED, (3, 17, 1_900_000_000_000)),
        (None, -1001, ACKNOWLEDGED, (3, None, None)),  # it stands, a client that repeated itself is not told where
        (KafkaError._MSG_TIMED_OUT, -1001, UNKNOWN, (None, None, None)),
        (KafkaError._TRANSPORT, -1001, UNKNOWN, (None, None, None)),
        (KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND, -1001, UNKNOWN, (None, None, None)),
        (KafkaError._PURGE_INFLIGHT, -1001, UNKNOWN, (None, None, None)),
        (KafkaError._PURGE_QUEUE, -1001, REFUSED, (None, None, None)),
        (KafkaError.MSG_SIZE_TOO_LARGE, -1001, REFUSED, (None, None, None)),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, -1001, REFUSED, (None, None, None)),
    ],
)
def test_what_a_delivery_report_says_of_a_record(
    tmp_path: Path, code: int | None, offset: int, outcome: str, place: tuple[int | None, ...]
) -> None:
    with Journal(tmp_path / "writes.jsonl") as written:
        report = written.report("schedules", b"a", b"payload", [("h", None)])
        report(None if code is None else KafkaError(code), Report(offset))
    (found,) = journal.read(tmp_path / "writes.jsonl")
    assert (found.outcome, found[3:6]) == (outcome, place)
    assert (found.topic, found.key, found.value_size, found.headers) == ("schedules", b"a", 7, (("h", None),))


def test_a_cancel_has_no_payload_and_nobody_may_have_been_told(tmp_path: Path) -> None:
    with Journal(tmp_path / "writes.jsonl") as written:
        written.delivered("schedules", b"a", None, [], None, None)
    assert journal.read(tmp_path / "writes.jsonl") == [Entry("schedules", b"a", UNKNOWN, None, None, None, None, 0, ())]


def test_threads_write_whole_lines_and_a_journal_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "writes.jsonl"
    entries = [entry(schedule(number)) for number in range(500)]

    def write(written: Journal) -> None:
        for each in entries:
            written.append(each)

    for _ in range(2):
        with Journal(path) as written:
            threads = [threading.Thread(target=write, args=(written,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert len(journal.read(path)) == 4000


GOOD = json.loads(OLD_ENTRY_LINE)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("not JSON", "no line of JSON"),
        ("[]", "an entry is a JSON object"),
        (json.dumps({**GOOD, "outcome": "perhaps"}), "outcome is 'perhaps', and not one of acknowledged"),
        (json.dumps({**GOOD, "offset": "17"}), "offset is '17', and not a number or null"),
        (json.dumps({**GOOD, "value_sha256": "abc"}), "value_sha256"),
        (json.dumps({**GOOD, "key": "no base64!"}), "key is not base64"),
        (json.dumps({**GOOD, "headers": [["only a name"]]}), "a header is a name and a value"),
        (json.dumps({**GOOD, "headers": [["name", "no base64!"]]}), "a header's value is not base64"),
        (json.dumps({name: value for name, value in GOOD.items() if name != "topic"}), "the field 'topic' is missing"),
    ],
)
def test_a_line_of_a_journal_that_is_none_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "writes.jsonl"
    path.write_text(f"{OLD_ENTRY_LINE}\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError) as raised:
        journal.read(path)
    assert str(raised.value).startswith(f"{path}:2: ")
    assert said in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        journal.read(tmp_path / "nowhere.jsonl")
    with pytest.raises(InputError, match="scheduler audit record --out"):
        recording.read(tmp_path)


def test_a_recording_that_was_cut_off_ends_there_and_one_that_is_broken_is_named(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    whole, cut = recording.as_line(schedule(0)), recording.as_line(schedule(1))
    path.write_text(whole + cut[:30], encoding="utf-8")
    assert len(recording.read(tmp_path).records) == 1
    path.write_text(whole + cut[:30] + "\n" + cut, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        recording.read(tmp_path)
    assert str(raised.value).startswith(f"{path}:2: ")
