"""`scheduler run`: a replica in the foreground."""

from __future__ import annotations

import click

from scheduler.commands.options import BROKER
from scheduler.errors import ExitCode
from scheduler.runtime import descriptors, interpreter, logs, processors
from scheduler.runtime.cli import environment_help, examples, exit_codes
from scheduler.runtime.exhaustion import ending_when_exhausted
from scheduler.runtime.lifecycle import StopSignals
from scheduler.runtime.settings import Settings
from scheduler.service import Scheduler


@click.command(
    "run",
    short_help="Run a replica until SIGTERM or Ctrl-C.",
    epilog=examples(
        "scheduler run",
        "BOOTSTRAP_SERVERS=kafka:9092 SCHEDULES_TOPICS=first,second scheduler run",
        "METRICS_HTTP_ADDR=:0 SERVER_ADDR=off scheduler run   # a second one here",
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
    )
    + "\n\n"
    + exit_codes("if the replica had to end by itself", endless=True),
)
def run_command() -> int:
    """Run a replica until SIGTERM or Ctrl-C; run as many as there are partitions."""
    settings = Settings.load()
    logs.configure(settings.log_level, settings.log_format)
    descriptors.raise_limit()
    interpreter.tune()
    processors.take_turns()
    signals = StopSignals()
    with ending_when_exhausted():
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
