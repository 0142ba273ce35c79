"""`scheduler export` and `import` on a real broker: what was in force is in force again, and nothing newer is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from click.testing import CliRunner

from scheduler import partitioners
from scheduler.cli import cli
from scheduler.commands import transfer
from scheduler.errors import ExitCode, SchedulerError
from tests.support.schedules import JAVA, clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.records import Record
    from tests.support.schedules import Installation

FAR_MS = 1_893_456_000_250
HOUR_MS = 3_600_000


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def scheduler(installation: Installation, *arguments: object) -> Ended:
    """Run the command in this process: starting one takes a second."""
    arguments = tuple(map(str, arguments))
    done = CliRunner().invoke(cli, arguments, env=installation.environment(), standalone_mode=False)
    if isinstance(done.exception, SchedulerError):
        return Ended(done.exception.exit_code, done.stdout, str(done.exception))
    assert done.exception is None, done.exception
    return Ended(int(done.return_value), done.stdout, done.stderr)


def verdicts(installation: Installation, file: Path, *arguments: str) -> dict[str, str]:
    lines = scheduler(installation, "import", "--json", *arguments, "--topic", installation.schedules, file).out
    return {each["schedule_id"]: each["verdict"] for each in map(json.loads, lines.split("\n")[:-1])}


def listed(installation: Installation) -> list[dict[str, Any]]:
    """What `list --json` says, but for where a record stands; a payload may hold what Python takes for a line's end."""
    found = [json.loads(line) for line in scheduler(installation, "list", "--json").out.split("\n")[:-1]]
    return [{name: value for name, value in each.items() if name not in ("offset", "topic")} for each in found]


def records(installation: Installation) -> list[Record]:
    """The schedules topic, partition by partition: a reader of several sees them in any order."""
    return sorted(installation.read(installation.schedules), key=lambda each: (each.partition, each.offset))


@pytest.fixture
def here(install: Callable[..., Installation]) -> Installation:
    return install(partitions=3)


@pytest.fixture
def there(install: Callable[..., Installation]) -> Installation:
    return install(partitions=3)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "schedules.jsonl"


def test_what_was_in_force_is_in_force_again_to_the_byte(here: Installation, there: Installation, file: Path) -> None:
    here.write(
        here.schedule(b"plain", b"payload", due_ms=FAR_MS, headers=[("b", b"2"), ("a", b"1"), ("b", None)]),
        here.schedule(b"bytes \xff", b"\x00\xfe", due_ms=FAR_MS, headers=[("c", b"\xff")], target_key=b"\xfd"),
        here.schedule("кириллица \u2028".encode(), b"", delay="30d", target_partition=0),
        here.schedule(b"at", at="2031-01-01T00:00:00+02:00", misfire="skip", misfire_grace="5s"),
        here.schedule(b"tombstone", due_ms=FAR_MS, target_tombstone="true"),
        here.schedule(b"cron", cron="30 2 * * mon-fri", timezone="Europe/Riga", shift="90s", misfire="all"),
        here.schedule(b"waits", due_ms=FAR_MS, paused="true"),
        here.schedule(b"elsewhere", due_ms=FAR_MS, partition=(partitioners.java(b"elsewhere", 3) + 1) % 3),
        here.schedule(b"replaced", b"old", due_ms=FAR_MS),
        here.schedule(b"replaced", b"new", due_ms=FAR_MS + 1),
        here.schedule(b"cancelled", due_ms=FAR_MS),
        here.cancel(b"cancelled"),
    )  # fmt: skip
    assert scheduler(here, "export", file).err == "9 schedules exported\n"
    assert file.stat().st_mode & 0o077 == 0

    assert set(verdicts(there, file).values()) == {"written"}

    assert listed(there) == listed(here)
    written = records(there)
    # again: every line is known, and not a record is written
    assert set(verdicts(there, file).values()) == {"unchanged"}
    assert records(there) == written
    assert scheduler(there, "export").out.replace(there.schedules, here.schedules) == file.read_text()


def test_a_dry_run_tells_the_same_and_writes_nothing(here: Installation, there: Installation, file: Path) -> None:
    here.write(here.schedule(b"late", due_ms=1000, paused="true"), here.schedule(b"far", due_ms=FAR_MS))
    scheduler(here, "export", file)

    told = scheduler(there, "import", "--dry-run", "--topic", there.schedules, file)

    assert [line.split() for line in told.out.splitlines()] == [["schedules"], ["would", "be", "written", "2"]]
    assert told.err == "1 of those would be written are due already\n"
    assert verdicts(there, file, "--dry-run") == {"late": "written", "far": "written"}
    assert there.read(there.schedules) == []


def test_the_newer_version_stays_and_what_ended_is_not_revived_unasked(here: Installation, file: Path) -> None:
    soon_ms = clock.now_ms() + HOUR_MS
    here.write(*(here.schedule(key, b"old", due_ms=soon_ms) for key in (b"kept", b"changed", b"cancelled", b"fired")))
    scheduler(here, "export", file)
    here.write(here.schedule(b"changed", b"new", due_ms=soon_ms), here.cancel(b"cancelled"))
    with here.replica():
        scheduler(here, "fire", "fired", "--wait")

    expected = {"kept": "unchanged", "changed": "newer", "cancelled": "ended", "fired": "ended"}
    assert verdicts(here, file) == expected

    assert {each["schedule_id"]: each["payload"] for each in listed(here)} == {"kept": "old", "changed": "new"}
    assert verdicts(here, file, "--revive") == {**expected, "cancelled": "written", "fired": "written"}
    assert {each["schedule_id"]: each["payload"] for each in listed(here)} == {
        "kept": "old", "changed": "new", "cancelled": "old", "fired": "old",
    }  # fmt: skip


def test_an_older_version_there_is_replaced_where_it_stands(
    here: Installation, there: Installation, file: Path
) -> None:
    """Though its client had put it elsewhere: two versions in two partitions would be two schedules."""
    there.write(there.schedule(b"a", b"older", due_ms=FAR_MS, partition=2))
    here.write(here.schedule(b"a", b"newer", due_ms=FAR_MS, partition=1))
    scheduler(here, "export", file)

    assert verdicts(there, file) == {"a": "written"}

    assert [(each["payload"], each["partition"]) for each in listed(there)] == [("newer", 2)]


def test_with_another_number_of_partitions_the_hash_decides(
    here: Installation, install: Callable[..., Installation], file: Path
) -> None:
    there = install(partitions=5)
    keys = [b"key %d" % number for number in range(20)]
    here.write(*(here.schedule(key, due_ms=FAR_MS) for key in keys), partitioner=JAVA)
    scheduler(here, "export", file)

    warned = scheduler(there, "import", "--dry-run", "--partitioner", "librdkafka", "--topic", there.schedules, file)
    assert "librdkafka's hash does not put them" in warned.err
    done = scheduler(there, "import", "--topic", there.schedules, file)

    assert (done.code, done.err) == (0, "")
    places = {record.key: record.partition for record in there.read(there.schedules)}
    assert places == {key: partitioners.java(key, 5) for key in keys}


def test_what_comes_back_fires_as_it_would_have(here: Installation, there: Installation, file: Path) -> None:
    """A delay still counts from the first writing, which the message still names; a recurring schedule goes on."""
    first, _ = here.write(
        here.schedule(b"relative", delay="100ms", headers=[("h", b"v")]),
        here.schedule(b"recurring", due_ms=clock.now_ms() - HOUR_MS, cron="@every 30m"),
    )
    text = scheduler(here, "export").out.replace(here.target, there.target)
    file.write_text(text)
    with there.replica():
        verdicts(there, file)
        fired = {record["scheduler-key"]: record for record in there.fired(b"relative", b"recurring")}

    relative = fired[b"relative"]
    assert relative["scheduler-fire-id"] == b"relative@%d" % (first.timestamp_ms + 100)
    assert relative["scheduler-timestamp"] == b"%d" % (first.timestamp_ms // 1000)
    assert [each["schedule_id"] for each in listed(there)] == ["recurring"]
    assert verdicts(there, file) == {"relative": "ended", "recurring": "newer"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"due": "tomorrow"}, "due: 'tomorrow' is not an instant such as 2030-01-01T00:00:00Z"),
        ({"value": None}, "value: "),
        ({"value": {"base64": "?"}}, "value: '?' is not base64"),
        ({"headers": []}, "scheduler-target-topic is missing"),
        ({"headers": [["scheduler-delay", "1h"]]}, "scheduler-delay is there; `due` says when"),
        ({"headers": [["scheduler-target-topic", "__consumer_offsets"]]}, "is internal to Kafka"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"topic": "other"}, "the topic other is not one of SCHEDULES_TOPICS"),
    ],
)
def test_a_file_with_an_error_changes_nothing(
    installation: Installation, file: Path, change: dict[str, Any], told: str
) -> None:
    good = {
        "topic": installation.schedules, "partition": 0, "partitions": 1, "key": "a", "value": "", "written": None,
        "headers": [["scheduler-target-topic", "target"]], "due": "2030-01-01T00:00:00Z",
    }  # fmt: skip
    file.write_text("".join(json.dumps(line) + "\n" for line in (good, {**good, "key": "b", **change})))

    refused = scheduler(installation, "import", file)

    assert refused.code == ExitCode.BAD_INPUT
    assert told in refused.err
    assert f"{file}:2: " in refused.err
    assert f"{file}:1: " not in refused.err
    assert installation.read(installation.schedules) == []


def test_every_line_that_cannot_be_read_is_named(installation: Installation, file: Path) -> None:
    file.write_bytes(b'{"topic": "s\n\xff\n')

    refused = scheduler(installation, "import", file)

    assert refused.code == ExitCode.BAD_INPUT
    assert f"{file}:1: Invalid JSON" in refused.err
    assert f"{file}:2: is not UTF-8" in refused.err


def test_a_version_that_comes_between_is_told(here: Installation, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here.write(here.schedule(b"a", b"exported", due_ms=FAR_MS), here.schedule(b"b", b"exported", due_ms=FAR_MS))
    scheduler(here, "export", file)
    here.write(here.cancel(b"a"), here.cancel(b"b"))
    whole = transfer.decide

    def crossed(*arguments: Any, **options: Any) -> Any:
        here.write(here.schedule(b"a", b"newest", due_ms=FAR_MS))
        return whole(*arguments, **options)

    monkeypatch.setattr(transfer, "decide", crossed)
    done = scheduler(here, "import", "--revive", file)

    assert done.code == ExitCode.FAILED
    assert done.err == (
        "scheduler: a: it changed while this was written, and the older version stands behind that: look at "
        "scheduler get a\n"
    )
