"""`scheduler cancel`, `fire`, `pause` and `resume`: changes to schedules, as records of a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scheduler import drafts
from scheduler.client import SchedulerClient
from scheduler.clock import SystemClock
from scheduler.commands.options import BROKER
from scheduler.commands.outcomes import answers_cancel, answers_fire, events
from scheduler.errors import ExitCode
from scheduler.reading import not_found, only
from scheduler.runtime.cli import echo_json_line, environment_help, examples, exit_codes
from scheduler.runtime.option_types import Seconds
from scheduler.runtime.progress import progress
from scheduler.runtime.settings import Settings
from scheduler.schedule import Outcome

if TYPE_CHECKING:
    from scheduler.history import HistoryEvent
    from scheduler.records import Receipt, Stored

WAIT_SECONDS = 30.0
WAITING = "waiting for what the history tells"

_topic = click.option("--topic", help="Look on this schedules topic only; on all of SCHEDULES_TOPICS without it.")
_partition = click.option(
    "--partition", type=click.IntRange(min=0), help="Where it stands, if it stands in several partitions."
)
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
_wait = click.option("--wait", is_flag=True, help="Return when the history tells what became of it.")
_timeout = click.option(
    "--timeout", type=Seconds(), default=WAIT_SECONDS, show_default="30s", help="How long --wait waits."
)


def _epilog(*lines: str, failed: str, also: tuple[str, ...] = ()) -> str:
    return "\n\n".join((examples(*lines), environment_help(*BROKER, *also), exit_codes(failed)))


_NOT_THERE = "if no such schedule is in force"
_CROSSED = f"{_NOT_THERE}, or it changed or fired meanwhile"


@click.command(
    short_help="End schedules.",
    epilog=_epilog(
        "scheduler cancel invoice-17",
        "scheduler cancel invoice-17 invoice-18 --wait --timeout 1m",
        failed=f"{_NOT_THERE}, or with --wait, it fired",
    ),
)
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@_topic
@_partition
@_wait
@_timeout
@_json
def cancel(
    keys: tuple[str, ...], *, topic: str | None, partition: int | None, wait: bool, timeout: float, as_json: bool
) -> int:
    """End the schedules with the ids KEY. One that is being fired at this moment may still fire."""
    settings = Settings.load()
    with SchedulerClient(settings, client_id="scheduler-cancel") as client:
        found = _find(client, keys, topic, partition)
        chosen = {
            key: only(key.encode(), found[key], [topic] if topic else settings.schedules_topics)
            for key in keys
            if found[key]
        }
        begin = client.history_ends() if wait and chosen else {}
        receipts = {key: client.cancel(stored) for key, stored in chosen.items()}
        told: dict[str, HistoryEvent] = {}
        if wait and chosen:
            with progress() as shown:
                shown.at(WAITING)
                for event in events(client, begin, SystemClock(), timeout):
                    told |= {key: event for key, stored in chosen.items() if answers_cancel(stored, event)}
                    if len(told) == len(chosen):
                        break
    for key, receipt in receipts.items():
        _say(key, "cancelled" if wait else "cancel written", receipt, told.get(key), Outcome.CANCELLED, as_json=as_json)
    missing = [key for key in keys if key not in chosen]
    for key in missing:
        click.echo(f"scheduler: {not_found(key, [topic] if topic else settings.schedules_topics)}", err=True)
    late = any(event.outcome != Outcome.CANCELLED for event in told.values())
    return ExitCode.FAILED if missing or late else ExitCode.OK


@click.command(
    short_help="Let a schedule fire now.",
    epilog=_epilog(
        "scheduler fire invoice-17",
        "scheduler fire nightly-report --wait",
        failed=f"{_CROSSED}, or with --wait, it did not fire",
    ),
)
@click.argument("key")
@_topic
@_partition
@_wait
@_timeout
@_json
def fire(key: str, *, topic: str | None, partition: int | None, wait: bool, timeout: float, as_json: bool) -> int:
    """Let the schedule with the id KEY fire now. A recurring one goes on from there."""
    settings = Settings.load()
    clock = SystemClock()
    with SchedulerClient(settings, client_id="scheduler-fire") as client:
        stored = _one(client, settings, key, topic, partition)
        begin = client.history_ends() if wait else {}
        now_ms = clock.now_ms()
        receipt = client.fire(stored)
        client.check_overtaken(stored, receipt)
        told = None
        if wait:
            with progress() as shown:
                shown.at(WAITING)
                heard = events(client, begin, clock, timeout)
                told = next(event for event in heard if answers_fire(stored, now_ms, event))
    _say(key, "fired" if wait else "made due", receipt, told, Outcome.FIRED, as_json=as_json)
    return ExitCode.OK if told is None or told.outcome == Outcome.FIRED else ExitCode.FAILED


@click.command(
    short_help="Let a schedule, or all of them, wait.",
    epilog=_epilog(
        "scheduler pause invoice-17",
        "scheduler pause --all",
        "scheduler pause --all --topic retries",
        failed=_CROSSED,
        also=("group_id",),
    ),
)
@click.argument("key", required=False)
@click.option("--all", "everything", is_flag=True, help="Every partition of the schedules topics, in one transaction.")
@_topic
@_partition
@_json
def pause(key: str | None, *, everything: bool, topic: str | None, partition: int | None, as_json: bool) -> int:
    """Let the schedule with the id KEY, or all of them, wait until resumed."""
    return _hold("pause", key, topic, partition, everything=everything, as_json=as_json)


@click.command(
    short_help="Let a schedule, or all of them, go on.",
    epilog=_epilog("scheduler resume invoice-17", "scheduler resume --all", failed=_CROSSED, also=("group_id",)),
)
@click.argument("key", required=False)
@click.option("--all", "everything", is_flag=True, help="Take `pause --all` back; what was paused by its id stays so.")
@_topic
@_partition
@_json
def resume(key: str | None, *, everything: bool, topic: str | None, partition: int | None, as_json: bool) -> int:
    """Let the schedule with the id KEY, or all of them, go on.

    A one-shot schedule whose time has passed fires at once; a recurring one goes on with its next occurrence.
    After --all, what was missed meanwhile follows each schedule's misfire policy.
    """
    return _hold("resume", key, topic, partition, everything=everything, as_json=as_json)


def _hold(
    verb: str, key: str | None, topic: str | None, partition: int | None, *, everything: bool, as_json: bool
) -> int:
    if everything == (key is not None):
        raise click.UsageError("give a KEY, or --all")
    if everything and partition is not None:
        raise click.UsageError("--all is for every partition; leave --partition out")
    settings = Settings.load()
    with SchedulerClient(settings, client_id=f"scheduler-{verb}") as client:
        if key is None:
            (client.pause_all if verb == "pause" else client.resume_all)(topic)
            topics = [topic] if topic else settings.schedules_topics
            if as_json:
                echo_json_line({"topics": topics, "done": f"{verb}d"})
            else:
                click.echo(f"{', '.join(topics)}: {verb}d")
            return ExitCode.OK
        stored = _one(client, settings, key, topic, partition)
        receipt = (client.pause if verb == "pause" else client.resume)(stored)
        if receipt is not None:
            client.check_overtaken(stored, receipt)
            _say(key, f"{verb}d", receipt, None, None, as_json=as_json)
        elif as_json:
            echo_json_line({"schedule_id": key, "done": None, "reason": f"{_already(verb)}"})
        else:
            click.echo(f"{key}: {_already(verb)}; nothing was written")
    if stored.partition_paused and verb == "resume":
        click.echo(f"{key}: its partition is paused too; let it go on with: scheduler resume --all", err=True)
    return ExitCode.OK


def _already(verb: str) -> str:
    return "is paused already" if verb == "pause" else "is not paused"


def _find(
    client: SchedulerClient, keys: tuple[str, ...], topic: str | None, partition: int | None
) -> dict[str, list[Stored]]:
    """What stands under each key, in one reading for all of them."""
    names = {raw: key for key in keys for raw in drafts.keys_shown_as(key)}
    found: dict[str, list[Stored]] = {key: [] for key in keys}
    with progress() as shown:
        for stored in client.find(*names, topic=topic, progress=shown.reading):
            if partition is None or stored.partition == partition:
                found[names[stored.schedule.key]].append(stored)
    return found


def _one(client: SchedulerClient, settings: Settings, key: str, topic: str | None, partition: int | None) -> Stored:
    found = _find(client, (key,), topic, partition)[key]
    return only(key.encode(), found, [topic] if topic else settings.schedules_topics)


def _say(
    key: str, done: str, receipt: Receipt, told: HistoryEvent | None, expected: Outcome | None, *, as_json: bool
) -> None:
    if as_json:
        place = {"topic": receipt.topic, "partition": receipt.partition, "offset": receipt.offset}
        outcome = {} if told is None else {"outcome": told.as_json()}
        echo_json_line({"schedule_id": key, "done": done, **place, **outcome})
        return
    where = f"{receipt.topic}, partition {receipt.partition}, offset {receipt.offset}"
    if told is None:
        click.echo(f"{key}: {done} ({where})")
    elif told.outcome == expected:
        late = "" if expected is Outcome.CANCELLED or told.lateness_ms is None else f", {told.lateness_ms} ms late"
        click.echo(f"{key}: {told.outcome}{late}")
    else:
        why = " ".join(part for part in (told.reason, told.detail) if part)
        click.echo(f"{key}: {told.outcome}{f': {why}' if why else ''}")
