"""`scheduler topics`: those that an installation needs."""

from __future__ import annotations

import click
from confluent_kafka import KafkaError, KafkaException

from scheduler.broker.cluster import Cluster
from scheduler.commands.options import BROKER
from scheduler.errors import ExitCode
from scheduler.needs import needed_topics
from scheduler.runtime.cli import echo_json, echo_table, environment_help, examples, exit_codes
from scheduler.runtime.kafka import unavailable
from scheduler.runtime.settings import Settings


@click.command(
    short_help="Show the topics that an installation needs, or create them.",
    epilog=examples("scheduler topics", "scheduler topics --create", "PARTITIONS=32 scheduler topics --create")
    + "\n\n"
    + environment_help(*BROKER, "dead_letter_topic", "results_topic", "clusters", "partitions", "replication_factor")
    + "\n\n"
    + exit_codes("while a topic is missing"),
)
@click.option("--create", is_flag=True, help="Create those that are missing, with the settings they need.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def topics(*, create: bool, as_json: bool) -> int:
    """Show the topics that an installation needs."""
    settings = Settings.load()
    specs = needed_topics(settings)
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
