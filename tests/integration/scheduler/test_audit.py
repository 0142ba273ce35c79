"""`scheduler audit` against a broker: a sound run, and faults that are planted by hand."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from scheduler.audit.entries import UNKNOWN
from scheduler.audit.journal import Journal
from scheduler.audit.recorder import Recorder
from scheduler.cli import cli
from tests.support.records import Put
from tests.support.replica_process import product_environment
from tests.support.schedules import SECONDS, clock, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.records import Record
    from tests.support.schedules import Installation

HOUR_MS = 3_600_000
OUTCOMES = ("fired", "cancelled", "rejected", "undeliverable")


def run(installation: Installation, *arguments: str, **environment: str) -> tuple[int, str]:
    """Exit code and standard output of the command, run in this process: starting one takes a second."""
    env = {**installation.environment(), **environment}
    done = CliRunner().invoke(cli, ("audit", *arguments), env=env, standalone_mode=False)
    assert done.exception is None, done.exception
    return int(done.return_value), done.stdout


def verdict(installation: Installation, *arguments: str) -> tuple[int, dict[str, Any]]:
    code, output = run(installation, "--json", *arguments)
    return code, json.loads(output)


def counts(found: dict[str, Any]) -> dict[str, int]:
    return {fault: said["count"] for fault, said in found["faults"].items()}


@pytest.fixture
def journal(tmp_path: Path) -> Callable[[list[Record]], str]:
    """Writes the journal of what was acknowledged; its path."""

    def write(written: list[Record]) -> str:
        path = tmp_path / "writes.jsonl"
        with Journal(path) as journal:
            for each in written:
                journal.append(each.entry)
        return str(path)

    return write


def fire(installation: Installation) -> list[Record]:
    """Every kind of outcome, and what is not due yet; returns what was written."""
    now_ms = clock.now_ms()
    write, schedule = installation.write, installation.schedule
    with installation.replica():
        written = write(
            *(schedule(b"one-%d" % number, b"payload", due_ms=now_ms, headers=[("n", b"1")]) for number in range(20)),
            schedule(b"cancelled", due_ms=now_ms + HOUR_MS),
            installation.cancel(b"cancelled"),
            schedule(b"replaced", b"old", due_ms=now_ms + HOUR_MS),
            schedule(b"replaced", b"new", due_ms=now_ms + HOUR_MS),
            schedule(b"bad", epoch="soon"),
            schedule(b"nowhere", due_ms=now_ms, target_topic="__internal"),
            schedule(b"tick", cron="@every 200ms", due_ms=now_ms),
        )
        installation.wait_for(installation.history, 3, key=b"tick")
        written += write(installation.cancel(b"tick"))
        wait_until(lambda: told(installation, b"tick")[-1] == b"cancelled", "the rule is told to be cancelled")
        wait_until(lambda: told(installation, b"nowhere"), "the undeliverable one is told")
    return written


def told(installation: Installation, key: bytes) -> list[bytes | None]:
    return [each["scheduler-outcome"] for each in installation.read(installation.history) if each.key == key]


def test_a_sound_run_is_clean_with_and_without_a_journal_and_a_recording(
    installation: Installation, journal: Callable[[list[Record]], str], tmp_path: Path
) -> None:
    conf = {"bootstrap.servers": installation.broker}
    topics = (installation.schedules, installation.history)
    with Recorder(conf, topics, clock, tmp_path / "recorded", schedules=[installation.schedules]) as recorder:
        written = fire(installation)
        left = len(installation.read(installation.target))
        assert recorder.wait_until(lambda: recorder.count(installation.target) == left, SECONDS)
    recorded = ("--recorded", str(tmp_path / "recorded"))

    for arguments in ((), recorded, ("--journal", journal(written)), ("--journal", journal(written), *recorded)):
        code, found = verdict(installation, *arguments)
        assert (code, found["faults"], found["cannot_be_judged"]) == (0, {}, {})
        assert found["outcomes"].keys() == set(OUTCOMES)
        assert found["messages"] == found["outcomes"]["fired"] == left
        assert (found["pending"], found["replaced"]) == (1, 1)
    code, table = run(installation)
    assert code == 0
    assert table.splitlines()[-1] == "nothing is wrong"


def again(installation: Installation, message: Record) -> None:
    installation.write(Put(message.topic, message.key, message.value, message.headers, message.partition))


def test_a_message_that_is_there_twice_is_found_and_named(installation: Installation) -> None:
    fire(installation)
    message = next(each for each in installation.read(installation.target) if each["scheduler-key"] == b"one-7")
    again(installation, message)

    code, found = verdict(installation)
    assert (code, counts(found)) == (3, {"doubled": 1})
    assert "b'one-7'" in found["faults"]["doubled"]["examples"][0]
    code, table = run(installation)
    assert code == 3
    assert f"{installation.target} {message.partition}/{message.offset}" in table
    assert run(installation, "--until", "1h")[0] == 0


def test_a_line_of_the_history_that_is_gone_is_found(
    installation: Installation, journal: Callable[[list[Record]], str], tmp_path: Path
) -> None:
    """Taken away by the broker, which a recording shows; without one, nobody can know what stood there."""
    conf = {"bootstrap.servers": installation.broker}
    with Recorder(conf, [installation.history], clock, tmp_path / "recorded") as recorder:
        path = journal(fire(installation))
        lines = len(installation.read(installation.history))
        assert recorder.wait_until(lambda: recorder.count(installation.history) == lines, SECONDS)
    admin = AdminClient({**conf, "log_level": 0})
    place = TopicPartition(installation.history, 0, 3)
    admin.delete_records([place])[place].result(SECONDS)

    code, found = verdict(installation, "--journal", path)
    assert (code, counts(found)) == (0, {})
    assert sum(found["cannot_be_judged"].values()) > 0
    code, found = verdict(installation, "--journal", path, "--recorded", str(tmp_path / "recorded"))
    assert (code, found["cannot_be_judged"]) == (0, {})


def test_what_is_torn_lost_and_foreign_is_found(
    installation: Installation, journal: Callable[[list[Record]], str]
) -> None:
    """Planted by hand: a tombstone without a firing, a message that nobody ordered, a schedule that never ends."""
    now_ms = clock.now_ms()
    ended, overdue = installation.write(
        installation.schedule(b"ended", due_ms=now_ms - 1000), installation.schedule(b"overdue", due_ms=now_ms - 1000)
    )
    headers = [("scheduler-replaces", b"%d" % ended.offset), ("scheduler-outcome", b"fired")]
    installation.write(Put(installation.schedules, b"ended", None, list(headers)))
    alien = [
        ("scheduler-key", b"alien"),
        ("scheduler-topic", installation.schedules.encode()),
        ("scheduler-epoch", b"%d" % (now_ms // 1000 - 1)),
        ("scheduler-fire-id", b"alien@%d" % (now_ms // 1000 * 1000 - 1000)),
    ]
    installation.write(Put(installation.target, None, b"alien", list(alien)))

    code, found = verdict(installation, "--wait", "100ms", "--journal", journal([ended, overdue]))

    assert code == 3
    assert counts(found) == {"lost": 1, "not ended": 1, "foreign": 1}
    assert "b'ended'" in found["faults"]["lost"]["examples"][0]
    assert "b'overdue'" in found["faults"]["not ended"]["examples"][0]


def test_it_waits_for_what_is_due(installation: Installation) -> None:
    """An overdue schedule and no replica; one starts while the command waits."""
    installation.write(installation.schedule(b"late", due_ms=clock.now_ms()))
    assert counts(verdict(installation, "--wait", "100ms")[1]) == {"not ended": 1}
    audit = subprocess.Popen(
        [sys.executable, "-m", "scheduler", "audit", "--wait", "60s", "--json"],
        env=product_environment(installation.environment()),
        stdout=subprocess.PIPE,
    )
    try:
        with installation.replica():
            output, _ = audit.communicate(timeout=2 * SECONDS)
    finally:
        audit.kill()
        audit.wait()
    assert audit.returncode == 0, output
    assert json.loads(output)["messages"] == 1


def test_an_open_transaction_is_named(installation: Installation) -> None:
    fire(installation)
    stuck = installation.transaction("stuck", Put(installation.target, None, b"uncommitted", []))
    try:
        code, found = verdict(installation)
        assert (code, counts(found)) == (3, {"hanging transaction": 1})
        assert installation.target in found["faults"]["hanging transaction"]["examples"][0]
    finally:
        stuck.abort_transaction(SECONDS)


def test_the_journal_of_a_producer_says_what_became_of_each_record(installation: Installation, tmp_path: Path) -> None:
    """Acknowledged, too large (so it surely does not stand), and never answered."""
    path = tmp_path / "writes.jsonl"
    now_ms = clock.now_ms()
    put = installation.schedule(b"a", due_ms=now_ms)
    with Journal(path) as journal:
        producer = Producer(
            {"bootstrap.servers": installation.broker, "log_level": 0, "message.max.bytes": 10_000_000, "acks": "all"}
        )
        for key, value in ((b"a", b"payload"), (b"large", b"." * 5_000_000)):
            report = journal.report(put.topic, key, value, put.headers)
            producer.produce(put.topic, value, key, headers=put.headers, on_delivery=report)
        assert producer.flush(SECONDS) == 0
        silent = Producer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0, "message.timeout.ms": 100})
        silent.produce(
            put.topic, b"x", b"b", headers=put.headers, on_delivery=journal.report(put.topic, b"b", b"x", put.headers)
        )
        assert silent.flush(SECONDS) == 0
    with installation.replica():
        installation.fired(b"a")

    outcomes = [json.loads(line)["outcome"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert outcomes == ["acknowledged", "refused", UNKNOWN]
    code, found = verdict(installation, "--journal", str(path))
    assert (code, found["faults"], found["schedules"]) == (0, {}, 1)


def test_the_recorder_finds_targets_by_itself_and_ends_with_ctrl_c(installation: Installation, tmp_path: Path) -> None:
    recorder = subprocess.Popen(
        [sys.executable, "-m", "scheduler", "audit", "record", "--out", str(tmp_path)],
        env=product_environment(installation.environment()),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        fire(installation)
        kept = tmp_path / "records.jsonl"
        last = installation.read(installation.target)[-1]

        def seen() -> bool:
            text = kept.read_text(encoding="utf-8") if kept.exists() else ""
            return f'["{last.topic}",{last.partition},{last.offset},' in text

        wait_until(seen, "the last message is recorded")
        recorder.send_signal(signal.SIGINT)
        output, errors = recorder.communicate(timeout=SECONDS)
    finally:
        recorder.kill()
        recorder.wait()
    assert recorder.returncode == 0, errors
    assert installation.target in output
    assert verdict(installation, "--recorded", str(tmp_path))[1]["clean"]


def test_a_schedule_that_was_acknowledged_and_is_not_there_is_lost(
    installation: Installation, journal: Callable[[list[Record]], str]
) -> None:
    (stands,) = installation.write(installation.schedule(b"a", due_ms=clock.now_ms() + HOUR_MS))
    vanished = replace(stands, key=b"b", offset=stands.offset + 1)

    code, found = verdict(installation, "--journal", journal([stands, vanished]))

    assert (code, counts(found)) == (3, {"lost": 1})
    assert "b'b'" in found["faults"]["lost"]["examples"][0]


def test_what_cannot_be_read_is_named(installation: Installation, tmp_path: Path) -> None:
    def fails(*arguments: str, **environment: str) -> str:
        env = {**installation.environment(), **environment}
        done = CliRunner().invoke(cli, ("audit", *arguments), env=env, standalone_mode=False)
        assert done.exception is not None
        return str(done.exception)

    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"topic": "schedules"}\n', encoding="utf-8")
    assert f"{broken}:1: the field 'key' is missing" in fails("--journal", str(broken))
    assert "scheduler audit record --out" in fails("--recorded", str(tmp_path / "nowhere"))
    assert "history-that-is-not-there does not exist" in fails(HISTORY_TOPIC="history-that-is-not-there")
