"""`scheduler export` and `scheduler import`: the schedules in force as a file, and back, here or on another Kafka."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Any

import click

from scheduler.broker.reader import read
from scheduler.client import SchedulerClient
from scheduler.clock import SystemClock, rfc3339
from scheduler.commands.options import BROKER
from scheduler.engine.targets import TargetPolicy
from scheduler.errors import ExitCode, InputError
from scheduler.exported import Exported, line_of, read_line
from scheduler.importing import Decision, Destination, Partitioner, Verdict, astray, decide
from scheduler.runtime.cli import echo_json_line, echo_table, environment_help, examples, exit_codes
from scheduler.runtime.progress import Shown, progress
from scheduler.runtime.settings import Settings
from scheduler.schedule import display

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from scheduler.records import Receipt, Stored

CHUNK = 10_000
"""Records that are under way at once."""
MOST_FAULTS = 20
"""Faults of a file that are told."""
STANDARD = "-"


@click.command(
    "export",
    short_help="Write the schedules in force to a file.",
    epilog=examples(
        "scheduler export schedules.jsonl",
        "scheduler export | gzip > schedules.jsonl.gz",
        "scheduler export --prefix invoice- --target billing",
    )
    + "\n\n"
    + environment_help(*BROKER)
    + "\n\n"
    + exit_codes(),
)
@click.argument("file", type=click.Path(dir_okay=False), default=STANDARD)
@click.option("--topic", help="Only this schedules topic; all of SCHEDULES_TOPICS without it.")
@click.option("--prefix", default="", help="Only those whose id begins so.")
@click.option("--target", help="Only schedules for this target topic.")
def export_command(file: str, *, topic: str | None, prefix: str, target: str | None) -> int:
    """Write every schedule in force to FILE, or to standard output, as one line of JSON each, for `scheduler import`.

    A line holds the key, the payload and the headers, byte for byte, where the schedule stood and when it was written;
    `due` is absolute, however it was stated. FILE is there whole or not at all, for its owner only.
    """
    settings = Settings.load()
    with SchedulerClient(settings, client_id="scheduler-export") as client, _writing(file) as out:
        count, held = 0, 0
        for each in [topic] if topic else settings.schedules_topics:
            partitions = len(client.ends(each))
            with progress() as shown:
                found = client.schedules(each, prefix=prefix, progress=shown.reading)
            with progress() if file != STANDARD else nullcontext(Shown(None)) as shown:
                for number, stored in enumerate(found):
                    if target is None or stored.schedule.target_topic == target:
                        out.write(line_of(stored, partitions).encode() + b"\n")
                        count += 1
                        held += stored.partition_paused
                    if number % CHUNK == 0:
                        shown.count(f"writing {file}", number, len(found))
    click.echo(f"{count} schedules exported", err=True)
    if held:
        click.echo(f"{held} of them are held by `scheduler pause --all`; the file does not say so", err=True)
    return ExitCode.OK


@click.command(
    "import",
    short_help="Bring schedules back from a file.",
    epilog=examples(
        "scheduler import --dry-run schedules.jsonl",
        "scheduler import schedules.jsonl",
        "BOOTSTRAP_SERVERS=new:9092 scheduler import --topic moved schedules.jsonl",
        "gunzip < schedules.jsonl.gz | scheduler import -",
    )
    + "\n\n"
    + environment_help(*BROKER, "allowed_targets")
    + "\n\n"
    + exit_codes("if a schedule changed while it was written"),
)
@click.argument("file", type=click.Path(dir_okay=False, exists=True, allow_dash=True))
@click.option("--topic", help="Write all to this schedules topic; to the one that each line names without it.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@click.option("--revive", is_flag=True, help="Also what was cancelled or has fired since: it may fire a second time.")
@click.option(
    "--partitioner",
    type=click.Choice([each.value for each in Partitioner]),
    default=Partitioner.JAVA.value,
    show_default=True,
    help="Whose hash places keys on a topic with another number of partitions. With as many, each keeps its own.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each line of FILE.")
def import_command(
    file: str, *, topic: str | None, dry_run: bool, revive: bool, partitioner: str, as_json: bool
) -> int:
    """Write the schedules of an export to the schedules topics; `-` is standard input.

    The newer version stays: what is in force there, was cancelled or has fired since the line was written is left as
    it is. So a second import writes nothing. What is due already fires at once, a recurring schedule by its misfire
    policy. A file with an error changes nothing.
    """
    settings = Settings.load()
    with progress() as shown:
        shown.at(f"reading {_called(file)}")
        by_topic = _sorted_by_topic(_lines(file, settings), topic, settings)
    overdue_ms = SystemClock().now_ms()
    counts: Counter[Verdict] = Counter()
    late, overtaken = 0, list[str]()
    with SchedulerClient(settings, client_id="scheduler-import") as client:
        for name, lines in by_topic.items():
            begin = client.ends(name)
            destination = _destination(client, name, len(begin), lines)
            decisions = list(decide(lines, destination, partitioner=Partitioner(partitioner), revive=revive))
            _warn(astray(lines, destination.partitions, Partitioner(partitioner)), name, partitioner)
            if not dry_run:
                overtaken += _overtaken(settings, name, begin, _write(client, decisions))
            for decision in decisions:
                counts[decision.verdict] += 1
                late += decision.write is not None and decision.line.schedule.due_ms <= overdue_ms
                if as_json:
                    echo_json_line(_as_json(decision, dry_run=dry_run))
    if not as_json:
        _show(counts, late, dry_run=dry_run)
    for key in overtaken:
        click.echo(
            f"scheduler: {key}: it changed while this was written, and the older version stands behind that: look at "
            f"scheduler get {shlex.quote(key)}",
            err=True,
        )
    return ExitCode.FAILED if overtaken else ExitCode.OK


@contextmanager
def _writing(file: str) -> Iterator[IO[bytes]]:
    """Standard output, or a file that takes the place of an older one when it is complete."""
    if file == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(file)
    try:
        # readable for its owner only: payloads may be secret
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as out:
            part = Path(out.name)
            try:
                yield out
                out.flush()
                os.fsync(out.fileno())
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{file}: cannot be written: {error.strerror}") from error


def _lines(file: str, settings: Settings) -> list[tuple[str, Exported]]:
    """Every line of the file, with its place.

    Raises:
        InputError: lines are wrong; the message names each, up to `MOST_FAULTS`.
    """
    policy = TargetPolicy(
        frozenset(settings.schedules_topics), settings.history_topic, frozenset(settings.allowed_targets)
    )
    name = _called(file)
    found: list[tuple[str, Exported]] = []
    faults: list[str] = []
    for number, raw in enumerate(_raw_lines(file), 1):
        place = f"{name}:{number}"
        if not raw.strip():
            continue
        try:
            line = read_line(raw.decode())
            refusal = policy.refusal(line.schedule.target_topic)
            if refusal is not None:
                raise InputError(refusal)
        except UnicodeDecodeError:
            faults.append(f"{place}: is not UTF-8")
        except InputError as error:
            faults.append(f"{place}: {error}")
        else:
            found.append((place, line))
        if len(faults) == MOST_FAULTS:
            faults.append("and perhaps more")
            break
    if faults:
        raise InputError("\n".join(("nothing was written:", *faults)))
    return found


def _called(file: str) -> str:
    return "standard input" if file == STANDARD else file


def _raw_lines(file: str) -> Iterator[bytes]:
    if file == STANDARD:
        yield from sys.stdin.buffer
        return
    try:
        with Path(file).open("rb") as source:
            yield from source
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error


def _sorted_by_topic(
    lines: Iterable[tuple[str, Exported]], topic: str | None, settings: Settings
) -> Mapping[str, list[Exported]]:
    known = settings.schedules_topics
    if topic is not None and topic not in known:
        raise InputError(f"--topic: {topic} is not one of SCHEDULES_TOPICS ({', '.join(known)})")
    found: dict[str, list[Exported]] = {}
    for place, line in lines:
        if topic is None and line.topic not in known:
            raise InputError(
                f"{place}: the topic {line.topic} is not one of SCHEDULES_TOPICS ({', '.join(known)}); nothing was "
                "written. Choose where to: --topic"
            )
        found.setdefault(topic or line.topic, []).append(line)
    return found


def _destination(client: SchedulerClient, topic: str, partitions: int, lines: Iterable[Exported]) -> Destination:
    keys = frozenset(line.schedule.key for line in lines)
    with progress() as shown:
        found, ended = client.endings(keys, topic, progress=shown.reading)
    standing: dict[bytes, list[Stored]] = {}
    for stored in found:
        standing.setdefault(stored.schedule.key, []).append(stored)
    return Destination(topic, partitions, standing, ended)


def _write(client: SchedulerClient, decisions: Iterable[Decision]) -> list[tuple[Exported, Receipt]]:
    """Write what is to be written, and say where it stands."""
    chosen = [(decision.line, decision.write) for decision in decisions if decision.write is not None]
    written: list[tuple[Exported, Receipt]] = []
    with progress() as shown:
        for start in range(0, len(chosen), CHUNK):
            shown.count("writing", start, len(chosen))
            chunk = chosen[start : start + CHUNK]
            receipts = client.write([write for _, write in chunk])
            written += [(line, receipt) for (line, _), receipt in zip(chunk, receipts, strict=True)]
    return written


def _overtaken(
    settings: Settings, topic: str, begin: Mapping[int, int], written: Iterable[tuple[Exported, Receipt]]
) -> Iterator[str]:
    """The ids of those that got a newer version between the reading, which began there, and the writing."""
    ours = {(receipt.partition, receipt.key): (line.written_ms, receipt.offset) for line, receipt in written}
    ends: dict[int, int] = {}
    for (partition, _), (_, offset) in ours.items():
        ends[partition] = max(offset, ends.get(partition, 0))
    if not ends:
        return
    start = {partition: begin[partition] for partition in ends}
    with progress() as shown:
        for message in read(settings, topic, SystemClock(), start=start, ends=ends, progress=shown.reading):
            written_ms, offset = ours.get((message.partition(), message.key()), (0, -1))
            if message.offset() < offset and message.timestamp()[1] > written_ms:
                yield display(message.key())


def _warn(count: int, topic: str, partitioner: str) -> None:
    if count:
        click.echo(
            f"{count} schedules for {topic} come from a topic with another number of partitions, and stood where "
            f"{partitioner}'s hash does not put them: the clients that wrote them may not find them. Choose another "
            "--partitioner, or create the topic with as many partitions",
            err=True,
        )


def _show(counts: Counter[Verdict], late: int, *, dry_run: bool) -> None:
    words = {Verdict.WRITTEN: "would be written" if dry_run else "written"}
    rows = [(words.get(verdict, verdict.value), str(counts[verdict])) for verdict in Verdict if counts[verdict]]
    echo_table(("", "schedules"), rows or [("the file holds none", "0")])
    if late:
        click.echo(f"{late} of those {words[Verdict.WRITTEN]} are due already", err=True)


def _as_json(decision: Decision, *, dry_run: bool) -> dict[str, Any]:
    schedule = decision.line.schedule
    return {
        "schedule_id": schedule.schedule_id,
        "verdict": decision.verdict.name.lower(),
        "dry_run": dry_run,
        "due": rfc3339(schedule.due_ms),
        "topic": decision.topic,
        "partition": decision.partition,
    }
