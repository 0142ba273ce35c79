"""The worker's command line."""

from __future__ import annotations

import logging
import re
import signal
from typing import TYPE_CHECKING

import click
from prometheus_client import CollectorRegistry

from scheduler import __version__
from scheduler.clock import SystemClock
from scheduler.errors import ConfigurationError
from scheduler.job import json_schema
from scheduler.runtime import cli, logs
from scheduler.runtime.logs import fields
from scheduler.runtime.option_types import Seconds
from scheduler.runtime.settings import Settings
from worker import interpreter
from worker.dead_cli import dead
from worker.loading import load
from worker.metrics import Metrics
from worker.monitoring import serve
from worker.options import Options
from worker.processor import give_way
from worker.service import Worker

if TYPE_CHECKING:
    from types import FrameType

log = logging.getLogger("worker")

_TOPIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,239}", re.ASCII)

EPILOG = "\n\n".join(
    (
        cli.environment_help(
            "bootstrap_servers",
            "schedules_topics",
            "dead_letter_topic",
            "results_topic",
            "session_timeout",
            "transaction_timeout",
            "log_level",
            "log_format",
            "configuration_file",
        ),
        cli.examples(
            "worker --cluster cluster-a",
            "worker --cluster cluster-a --retry --slots 8 --drain 1m",
            "worker --cluster default-job-queue --handlers shop.jobs:jobs --slots 20",
            "worker dead list --since 1d",
        ),
        cli.exit_codes("if it had to end by itself", endless=True),
    )
)


class Cluster(click.ParamType[str]):
    """A cluster's name, which is its topic's; the retry topic's name must fit too."""

    name = "name"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check it, or say what is wrong with it."""
        if _TOPIC.fullmatch(str(value)) is None:
            self.fail(f"{value!r} is not a cluster (letters, digits, '.', '_' and '-', at most 240)", param, ctx)
        return str(value)


@click.group(
    context_settings={**cli.CONTEXT, "auto_envvar_prefix": "WORKER", "show_default": True},
    epilog=EPILOG,
    invoke_without_command=True,
    subcommand_metavar="[COMMAND [ARGS]...]",
)
@click.version_option(__version__, prog_name="worker")
@click.option(
    "--cluster",
    type=Cluster(),
    show_envvar=True,
    help="Whose jobs to run: the topic's name.",
)
@click.option(
    "--retry", is_flag=True, show_envvar=True, help="Run the cluster's retries (topic <cluster>-retry) instead."
)
@click.option(
    "--slots", type=click.IntRange(1, 1000), default=4, show_envvar=True, help="How many jobs may run at once."
)
@click.option("--group-id", show_envvar=True, help="Consumer group.  [default: worker-<topic>]")
@click.option(
    "--drain", type=Seconds(), default="10s", show_envvar=True, help="How long running jobs may go on after SIGTERM."
)
@click.option(
    "--kill-grace",
    type=Seconds(),
    default="5s",
    show_envvar=True,
    help="From TERM to KILL, for a job that is out of time or has to give way.",
)
@click.option(
    "--metrics-addr",
    envvar="METRICS_HTTP_ADDR",
    default="off",
    show_envvar=True,
    help="Where to serve /metrics and /healthz, such as 127.0.0.1:8002; port 0 takes a free one; `off` for nowhere.",
)
@click.option(
    "--handlers",
    metavar="MODULE:NAME",
    show_envvar=True,
    help="Call the Python functions of that registry or job queue, instead of running commands.",
)
@click.pass_context
def command(
    ctx: click.Context,
    *,
    cluster: str | None,
    retry: bool,
    slots: int,
    group_id: str | None,
    drain: float,
    kill_grace: float,
    metrics_addr: str,
    handlers: str | None,
) -> None:
    """Run the jobs of a cluster.

    Commands run as the worker's user, several at a time, those of one job id in order. A failed one goes back
    through the schedules topic, due after a delay that grows, to the workers started with --retry; when no
    attempt is left it goes to the dead-letter topic. Each attempt is recorded on the results topic.

    SIGTERM or Ctrl-C: running jobs are drained, a second one kills them; what did not end is given back.
    """
    if ctx.invoked_subcommand is not None:
        return
    if cluster is None:
        raise click.MissingParameter(ctx=ctx, param_type="option", param_hint="'--cluster'")
    # one address, whatever else this process's environment says of the scheduler's
    settings = Settings.load(metrics_http_addr=metrics_addr)
    logs.configure(settings.log_level, settings.log_format)
    interpreter.tune()
    if handlers is None:
        give_way()
    clock = SystemClock()
    registry = CollectorRegistry()
    options = Options(cluster, retry, slots, group_id, drain, kill_grace)
    metrics = Metrics(registry, cluster)
    registered = None if handlers is None else load(handlers)
    worker = Worker(settings, options, clock=clock, metrics=metrics, registry=registered)
    metrics.poll_age_seconds.set_function(worker.idle_seconds)
    try:
        if settings.metrics_address is not None:
            bound = serve(settings.metrics_address, registry, worker.idle_seconds)
            log.info("metrics served", extra=fields(address=bound))
    except OSError as error:
        worker.close()
        why = f"cannot listen on {metrics_addr}: {error.strerror}; choose another, or `off`"
        raise ConfigurationError(f"METRICS_HTTP_ADDR: {why}") from None

    def stop(_number: int, _frame: FrameType | None) -> None:
        worker.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    worker.run()


@command.command(epilog=cli.examples("worker schema > job.schema.json") + "\n\nExit code: 0.")
def schema() -> None:
    """Print the JSON Schema of the job message."""
    cli.echo_json(json_schema())


command.add_command(dead)


def main() -> None:
    """The console script."""
    cli.run(command, "worker")
