"""The whole product on one screen: `make demo`, or `make demo BROKER=kafka`.

A broker, the topics, `planner sync examples/crontab.txt`, a scheduler, and workers for two clusters and
their retries, each a process as in production; a line for each run until Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

from dev.kafka_distribution import LocalKafkaError
from dev.kafka_node import Guard
from dev.local_kafka import LocalKafka
from dev.stage import Actor, Event, Terminal, end_all
from scheduler.broker.embedded import NOT_PROMISED, EmbeddedBroker
from scheduler.clock import SystemClock
from scheduler.errors import ExitCode
from scheduler.runtime.lifecycle import StopSignals
from scheduler.topics import all_topics

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

CRONTAB = Path(__file__).parent.parent / "examples" / "crontab.txt"
CLUSTERS = ("cluster-a", "cluster-b")
TOPICS = all_topics(
    schedules=["schedules"],
    history="history",
    dead_letters="dead-letters",
    results="results",
    clusters=list(CLUSTERS),
)


class Demo:
    """Shows the events of its actors as lines, and counts them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._counts: Counter[str] = Counter()
        self._actors: list[Actor] = []
        self._guard = Guard()
        self._clock = SystemClock()
        self._started = self._clock.monotonic()

    def start(self, environment: dict[str, str]) -> None:
        """Start a scheduler and the workers, and sync the crontab while they join."""
        addresses = {"METRICS_HTTP_ADDR": "127.0.0.1:0", "SERVER_ADDR": "127.0.0.1:0"}
        self._act("scheduler", ["scheduler", "run"], {**environment, **addresses})
        for cluster in CLUSTERS:
            for retry in ([], ["--retry"]):
                self._act(
                    f"worker {cluster}{' retry' if retry else ''}",
                    ["worker", "--cluster", cluster, *retry, "--drain", "2s"],
                    {**environment, "METRICS_HTTP_ADDR": "off"},
                )

    def _act(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        self._actors.append(Actor(name, command, environment, self._events.put, self._guard.group))

    def run(self, stop: threading.Event) -> int:
        """Show what happens until told to stop; the exit code."""
        while not stop.is_set():
            try:
                self._show(self._events.get(timeout=0.2))
            except Empty:
                dead = next((actor for actor in self._actors if actor.exit_code is not None), None)
                if dead is not None and not stop.is_set():
                    self._console.print(f"{dead.name} has ended with exit code {dead.exit_code}:", style="bold red")
                    for line in dead.last_lines:
                        self._console.print("  " + line, highlight=False, markup=False)
                    return ExitCode.FAILED
        return ExitCode.OK

    def end(self) -> None:
        """End every process, and say what there was."""
        end_all(self._actors, self._clock)
        self._guard.close()
        while True:
            try:
                self._count(self._events.get_nowait())
            except Empty:
                break
        seconds = self._clock.monotonic() - self._started
        counts = self._counts
        self._console.print(
            f"\n{seconds:.0f} s: {counts['runs']} runs, {counts['succeeded']} succeeded, {counts['failed']} failed, "
            f"{counts['retries']} retried, {counts['dead letters']} dead letters. Everything is stopped.",
            style="bold",
            highlight=False,
        )

    def _count(self, event: Event) -> None:
        if event["event"] == "run finished":
            self._counts["runs"] += 1
            self._counts["succeeded" if event["outcome"] == "succeeded" else "failed"] += 1
            then = str(event.get("then") or "")
            self._counts["retries"] += then.startswith("retry")
            self._counts["dead letters"] += then.startswith("dead")

    def _show(self, event: Event) -> None:
        self._count(event)
        match event["event"]:
            case "run finished":
                self._console.print(_line(event), soft_wrap=True)
            case "metrics":
                self._console.print(f"metrics    {event['address']}", style="dim", highlight=False)
            case "api":
                self._console.print(f"admin page {event['address']}/", style="dim", highlight=False)
                self._console.print(f"HTTP API   {event['address']}/docs", style="dim", highlight=False)
            case _ if event["level"] in ("warning", "error"):
                text = f"{event['actor']}: {event['event']} {event.get('detail', '')}"
                self._console.print(text, style="yellow", highlight=False, markup=False)


def _line(event: Event) -> Text:
    outcome = str(event["outcome"])
    line = Text()
    line.append(f"{event['time'][11:23]:<13}", style="dim")
    line.append(f"{event['cluster']:<10} ")
    line.append(f"{event['job']:<16} ", style="bold")
    line.append(f"attempt {event['attempt']}/{event['max_attempts']:<3} ")
    line.append(f"{event['exit']:<8} ", style="green" if outcome == "succeeded" else "red")
    line.append(f"{event['late_ms']:>5} ms late  ", style="dim")
    line.append(str(event.get("last_line") or ""))
    then = str(event.get("then") or "")
    if then:
        line.append(f"  -> {then}", style="bold red" if then.startswith("dead") else "yellow")
    return line


@contextmanager
def _broker(kind: str, console: Console) -> Iterator[dict[str, str]]:
    """A broker with its topics; the environment in which the programs find it."""
    if kind == "kafka":
        console.print("Starting Apache Kafka; the first time, Maven brings it ...", style="dim")
        with LocalKafka() as kafka:
            environment = {"BOOTSTRAP_SERVERS": kafka.bootstrap_servers}
            console.print(
                f"broker     Apache Kafka at {kafka.bootstrap_servers}, in a process of its own; "
                "its data goes with it.",
                highlight=False,
            )
            subprocess.run(
                [sys.executable, "-m", "scheduler", "topics", "--create"],
                env={**os.environ, **environment},
                check=True,
                stdout=subprocess.DEVNULL,
            )
            yield environment
    else:
        with EmbeddedBroker() as embedded:
            console.print(f"broker     embedded in this process, at {embedded.bootstrap_servers}", highlight=False)
            console.print(NOT_PROMISED, style="dim")
            embedded.create([spec.name for spec in TOPICS])
            # it shows what was aborted: a prepared firing that is given up would be seen twice
            yield {"BOOTSTRAP_SERVERS": embedded.bootstrap_servers, "PREPARE_AHEAD": "false"}


@click.command()
@click.option(
    "--broker",
    envvar="BROKER",
    type=click.Choice(["embedded", "kafka"]),
    default="embedded",
    show_default=True,
    help="embedded needs nothing else; kafka is a real one (Java 17 and Maven).",
)
def main(broker: str) -> None:
    """Watch schedules fire, jobs run, fail, recover and be given up, until Ctrl-C."""
    console = Console(highlight=False)
    terminal = Terminal()
    terminal.take()
    try:
        sys.exit(_run(broker, console))
    except LocalKafkaError as error:
        console.print(f"demo: {error}", style="red", markup=False)
        sys.exit(ExitCode.UNAVAILABLE)
    finally:
        terminal.give_back()


def _run(broker: str, console: Console) -> int:
    signals = StopSignals(signal.SIGHUP)  # the terminal's window is closed
    with _broker(broker, console) as environment:
        demo = Demo(console)
        try:
            demo.start(environment)
            console.print(f"crontab    planner sync {os.path.relpath(CRONTAB)}")
            synced = subprocess.run(
                [sys.executable, "-m", "planner", "sync", str(CRONTAB)],
                env={**os.environ, **environment},
                check=False,
                start_new_session=True,
            )
            if synced.returncode != 0:
                return synced.returncode
            console.print("Runs follow, Ctrl-C ends them. The first come within seconds.\n", style="dim")
            return demo.run(signals.stop)
        finally:
            demo.end()


if __name__ == "__main__":
    main()
