"""The `scheduler` command."""

from __future__ import annotations

import threading
from typing import Any

import click
from confluent_kafka import KafkaError, KafkaException

from scheduler import __version__
from scheduler.broker.cluster import Cluster
from scheduler.broker.reader import read
from scheduler.clock import SystemClock, rfc3339
from scheduler.durations import parse_duration
from scheduler.errors import ExitCode
from scheduler.history import Filter, HistoryEvent, read_event
from scheduler.instants import parse_instant
from scheduler.runtime import logs
from scheduler.runtime.cli import CONTEXT, echo_json, echo_json_line, echo_table, environment_help, examples, run
from scheduler.runtime.kafka import unavailable
from scheduler.runtime.lifecycle import StopSignals
from scheduler.runtime.settings import Settings
from scheduler.schedule import Outcome
from scheduler.service import Scheduler
from scheduler.topics import all_topics

BROKER = ("bootstrap_servers", "schedules_topics", "history_topic", "configuration_file")


@click.group(
    context_settings=CONTEXT,
    epilog=examples("scheduler topics --create", "scheduler run", "scheduler history --follow"),
)
@click.version_option(__version__, prog_name="scheduler")
def cli() -> None:
    """Fire messages on Kafka at their time, exactly once."""


@cli.command(
    "run",
    short_help="Run a replica until SIGTERM or Ctrl-C.",
    epilog=examples(
        "scheduler run",
        "BOOTSTRAP_SERVERS=kafka:9092 SCHEDULES_TOPICS=schedules,retries scheduler run",
        "METRICS_HTTP_ADDR=127.0.0.1:0 SERVER_ADDR=off scheduler run   # a second one on the same machine",
    )
    + "\n\n"
    + environment_help(
        *BROKER,
        "dead_letter_topic",
        "target_bootstrap_servers",
        "group_id",
        "metrics_http_addr",
        "server_addr",
        "advertised_addr",
        "api_token",
        "since_delta",
        "target_grace",
        "allowed_targets",
        "session_timeout",
        "transaction_timeout",
        "log_level",
        "log_format",
        "otel_traces_exporter",
    ),
)
def run_command() -> int:
    """Run a replica until SIGTERM or Ctrl-C; run as many as there are partitions."""
    settings = Settings.load()
    logs.configure(settings.log_level, settings.log_format)
    signals = StopSignals()
    replica = Scheduler(settings)
    try:
        replica.start()
        while not signals.stop.is_set() and not replica.ended.is_set():
            signals.stop.wait(0.2)
    finally:
        replica.close()
    if replica.failure is not None:
        raise replica.failure
    return ExitCode.OK


@cli.command(
    short_help="Show the topics that an installation needs, or create them.",
    epilog=examples("scheduler topics", "scheduler topics --create", "PARTITIONS=32 scheduler topics --create")
    + "\n\n"
    + environment_help(*BROKER, "dead_letter_topic", "results_topic", "clusters", "partitions", "replication_factor"),
)
@click.option("--create", is_flag=True, help="Create those that are missing, with the settings they need.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def topics(*, create: bool, as_json: bool) -> int:
    """Show the topics that an installation needs; exit code 1 while one is missing."""
    settings = Settings.load()
    specs = all_topics(
        schedules=settings.schedules_topics,
        history=settings.history_topic,
        dead_letters=settings.dead_letter_topic,
        results=settings.results_topic,
        clusters=settings.clusters,
        replication_factor=settings.replication_factor,
    )
    cluster = Cluster(settings, "scheduler-topics")
    try:
        there = cluster.topics()
        missing = [spec for spec in specs if spec.name not in there]
        refused: dict[str, KafkaError] = {}
        if create and missing:
            made = cluster.create(missing, settings.partitions, settings.replication_factor)
            refused = {
                name: error
                for name, error in made.items()
                if error is not None and error.code() != KafkaError.TOPIC_ALREADY_EXISTS
            }
    except KafkaException as error:
        raise unavailable(settings, error) from error
    created = {spec.name for spec in missing} - refused.keys() if create else set()
    rows = []
    for spec in specs:
        state = "there" if spec.name in there else "created" if spec.name in created else "missing"
        partitions = there.get(spec.name, settings.partitions if spec.name in created else 0)
        rows.append({"topic": spec.name, "state": state, "partitions": partitions, "settings": spec.config})
    if as_json:
        echo_json(rows)
    else:
        echo_table(
            ("topic", "state", "partitions", "settings"),
            [
                (
                    str(row["topic"]),
                    str(row["state"]),
                    str(row["partitions"] or ""),
                    " ".join(f"{name}={value}" for name, value in row["settings"].items()),  # type: ignore[attr-defined]
                )
                for row in rows
            ],
        )
    for name, refusal in refused.items():
        click.echo(f"scheduler: {name}: {refusal.str()} ({refusal.name()})", err=True)
    return ExitCode.FAILED if any(row["state"] == "missing" for row in rows) else ExitCode.OK


class _Since(click.ParamType[int]):
    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        instant_ms = parse_instant(value)
        if instant_ms is not None:
            return instant_ms
        try:
            return SystemClock().now_ms() - parse_duration(value)
        except ValueError:
            self.fail(
                f"{value!r} is neither an instant such as 2030-01-01T00:00:00Z nor a duration such as 2h", param, ctx
            )


@cli.command(
    epilog=examples(
        "scheduler history --since 1h",
        "scheduler history --key invoice-17 --json",
        "scheduler history --outcome undeliverable --target cluster-a --follow",
    )
    + "\n\n"
    + environment_help(*BROKER)
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("--key", help="Only the schedule with this id.")
@click.option("--outcome", type=click.Choice([outcome.value for outcome in Outcome]), help="Only this outcome.")
@click.option("--target", help="Only schedules for this target topic.")
@click.option("--since", type=_Since(), help="From this instant (RFC 3339), or so long ago (15m, 2h, 1d).")
@click.option("--limit", type=click.IntRange(min=1), help="The last so many; with --follow the first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def history(
    *,
    follow: bool,
    key: str | None,
    outcome: str | None,
    target: str | None,
    since: int | None,
    limit: int | None,
    as_json: bool,
) -> int:
    """Read what became of schedules from the history topic."""
    settings = Settings.load()
    wanted = Filter(key, None if outcome is None else Outcome(outcome), target)
    stop = StopSignals().stop if follow else None
    messages = read(settings, settings.history_topic, SystemClock(), since_ms=since, follow=stop)
    events = (event for event in map(read_event, messages) if wanted.wants(event))
    if follow:
        _follow(events, limit, stop or threading.Event(), as_json=as_json)
        return ExitCode.OK
    found = sorted(events, key=lambda event: (event.at_ms, event.partition, event.offset))[-(limit or 0) :]
    if as_json:
        for event in found:
            echo_json_line(event.as_json())
    elif found:
        echo_table(_COLUMNS, map(_row, found))
    else:
        click.echo("nothing in the history fits", err=True)
    return ExitCode.OK


_COLUMNS = ("time", "schedule", "outcome", "due", "late", "target", "reason")


def _row(event: HistoryEvent) -> tuple[str, ...]:
    return (
        rfc3339(event.at_ms),
        event.schedule_id,
        event.outcome,
        "" if event.due_ms is None else rfc3339(event.due_ms),
        "" if event.lateness_ms is None else f"{event.lateness_ms} ms",
        event.target or "",
        " ".join(part for part in (event.reason, event.detail) if part),
    )


def _follow(events: Any, limit: int | None, stop: threading.Event, *, as_json: bool) -> None:
    for shown, event in enumerate(events, 1):
        if as_json:
            echo_json_line(event.as_json())
        else:
            click.echo("  ".join(part for part in _row(event) if part))
        if shown == limit:
            stop.set()
            return


def main() -> None:
    """The console script."""
    run(cli, "scheduler")
