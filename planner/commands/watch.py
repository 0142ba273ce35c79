"""`planner watch`: keeps Kafka at what a crontab states."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import click
from prometheus_client import CollectorRegistry

from planner.commands.options import crontab_argument, system_option
from planner.commands.sync_options import horizon_option, source_option, yes_option
from planner.files import STDIN
from planner.reconcile import Reconciler
from planner.sources import source_name
from planner.watch_metrics import WatchMetrics
from planner.watching import Event, Watch, Watched
from scheduler.client import SchedulerClient
from scheduler.clock import SystemClock
from scheduler.errors import ExitCode
from scheduler.runtime import logs
from scheduler.runtime.cli import environment_help, examples, exit_codes
from scheduler.runtime.metrics import MetricsServer
from scheduler.runtime.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType


@click.command(
    short_help="Sync a crontab whenever it changes.",
    epilog=examples(
        "planner watch /etc/planner/crontab.txt",
        "planner watch --source billing --horizon 24h /etc/jobs",
        "kill -HUP PID   # sync now",
    )
    + "\n\n"
    + environment_help(
        "bootstrap_servers",
        "schedules_topics",
        "clusters",
        "metrics_http_addr",
        "configuration_file",
        "log_level",
        "log_format",
    )
    + "\n\n"
    + exit_codes(endless=True)
    + "\n\nAt METRICS_HTTP_ADDR there are /metrics, /readiness (503 until a good crontab was synced) and /liveness.",
)
@crontab_argument
@source_option
@horizon_option
@yes_option
@system_option
def watch(path: Path, source: str | None, horizon_ms: int | None, *, certain: bool, system: bool) -> int:
    """Sync a crontab, or a directory of them, whenever it changes, and on SIGHUP, until SIGTERM or Ctrl-C.

    A version with errors changes nothing: the last good one stays in force, and /metrics and the log say so. The same
    goes for one that would cancel more than half of what is in force, unless --yes is given. A Kafka that does
    not answer is tried again.
    """
    if path == STDIN:
        raise click.BadParameter("standard input cannot be watched", param_hint="FILE|DIR")
    settings = Settings.load()
    logs.configure(settings.log_level, settings.log_format)
    clock = SystemClock()
    registry = CollectorRegistry()
    watched = Watched(path, source_name(source, path), system, horizon_ms, certain)
    client = SchedulerClient(settings, client_id="planner")
    running = Watch(watched, Reconciler(client, settings, clock), settings, clock, WatchMetrics(registry))

    def signalled(number: int, _frame: FrameType | None) -> None:
        running.tell(Event.ASKED if number == signal.SIGHUP else Event.STOP)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signalled)
    address = settings.metrics_address
    server = None if address is None else MetricsServer(registry, address, unready=lambda: running.unready)
    try:
        running.run()
    finally:
        if server is not None:
            server.close()
    return ExitCode.OK
