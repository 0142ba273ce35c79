"""`scheduler doctor`: is everything as it should be, and what to change."""

from __future__ import annotations

import click
from confluent_kafka import KafkaError, KafkaException

from scheduler.broker.cluster import Cluster
from scheduler.clock import SystemClock
from scheduler.commands.options import BROKER
from scheduler.doctor.facts import Facts, Missing
from scheduler.doctor.findings import Finding, Status, commands, failed
from scheduler.doctor.rules import examine, unanswered
from scheduler.doctor.survey import Survey
from scheduler.errors import BrokerUnavailableError, ExitCode
from scheduler.needs import needed_topics
from scheduler.runtime.cli import echo_json, echo_table, environment_help, examples, exit_codes
from scheduler.runtime.kafka import unavailable
from scheduler.runtime.progress import progress
from scheduler.runtime.settings import Settings


@click.command(
    short_help="Examine an installation, and say what to change.",
    epilog=examples("scheduler doctor", "scheduler doctor --fix", "scheduler doctor --json")
    + "\n\n"
    + environment_help(
        *BROKER,
        "dead_letter_topic",
        "results_topic",
        "clusters",
        "group_id",
        "target_bootstrap_servers",
        "session_timeout",
        "transaction_timeout",
        "partitions",
        "replication_factor",
    )
    + "\n\n"
    + exit_codes("if something failed"),
)
@click.option("--fix", is_flag=True, help="Create topics that are missing, and change nothing else.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def doctor(*, fix: bool, as_json: bool) -> int:
    """Examine brokers, topics, rights, clocks and the schedules themselves; say what to change.

    Reads the schedules topics to their ends. Rights are those of the credentials it is run with: run it with those
    of the scheduler.
    """
    settings = Settings.load()
    try:
        facts = _facts(settings)
        if fix and any(isinstance(topic, Missing) for topic in facts.topics.values()):
            _create(settings, facts)
            facts = _facts(settings)
        findings = examine(facts, settings)
    except BrokerUnavailableError as error:
        findings = [unanswered(settings, str(error))]
    if as_json:
        echo_json([finding.as_json(settings.bootstrap_servers) for finding in findings])
    else:
        _show(findings, settings)
    return ExitCode.FAILED if failed(findings) else ExitCode.OK


def _facts(settings: Settings) -> Facts:
    with progress() as shown:
        shown.at("asking Kafka")
        return Survey(settings, SystemClock()).facts(shown.reading)


def _create(settings: Settings, facts: Facts) -> None:
    missing = [spec for spec in needed_topics(settings) if isinstance(facts.topics.get(spec.name), Missing)]
    try:
        made = Cluster(settings, "scheduler-doctor").create(missing, settings.partitions, settings.replication_factor)
    except KafkaException as error:
        raise unavailable(settings, error) from error
    for name, refusal in made.items():
        if refusal is None:
            click.echo(f"{name}: created", err=True)
        elif refusal.code() != KafkaError.TOPIC_ALREADY_EXISTS:
            click.echo(f"scheduler: {name}: {refusal.str()} ({refusal.name()})", err=True)


def _show(findings: list[Finding], settings: Settings) -> None:
    echo_table(
        ("", "check", "what was seen", "what to do"),
        [(finding.status, finding.check, finding.seen, finding.advice) for finding in findings],
    )
    lines = commands(findings, settings.bootstrap_servers)
    if lines:
        click.echo("\nWith Kafka's own tools:")
        for line in lines:
            click.echo(f"  {line}")
    counts = {status: sum(finding.status is status for finding in findings) for status in Status}
    click.echo("\n" + ", ".join(f"{count} {status}" for status, count in counts.items() if count))
