"""`scheduler audit`: was anything lost, doubled, early or otherwise not as promised; and its recorder."""

from __future__ import annotations

import gc
import threading
from itertools import chain
from pathlib import Path

import click

from scheduler.audit import journal as journals
from scheduler.audit import recording as recordings
from scheduler.audit.installation import Case, Reader, Source
from scheduler.audit.judge import judge
from scheduler.audit.recorder import Recorder
from scheduler.audit.verdict import EXPLAINED, Fault, Verdict
from scheduler.clock import Deadline, SystemClock, rfc3339
from scheduler.commands.options import BROKER
from scheduler.errors import ExitCode
from scheduler.runtime.cli import echo_json, echo_table, environment_help, examples, exit_codes
from scheduler.runtime.kafka import common_conf, target_conf
from scheduler.runtime.lifecycle import StopSignals
from scheduler.runtime.option_types import Seconds, Since
from scheduler.runtime.progress import Shown, progress
from scheduler.runtime.settings import Settings

CLIENT_ID = "scheduler-audit"
TICK_SECONDS = 1.0
VARIABLES = (*BROKER, "dead_letter_topic", "target_bootstrap_servers")
PATH = click.Path(path_type=Path)


@click.group(
    invoke_without_command=True,
    short_help="Prove that nothing was lost, doubled or early.",
    epilog=examples(
        "scheduler audit",
        "scheduler audit --since 1h --json",
        "scheduler audit record --out recorded &",
        "scheduler audit --journal writes.jsonl --recorded recorded --wait 1m",
    )
    + "\n\n"
    + environment_help(*VARIABLES)
    + "\n\n"
    + exit_codes(also={ExitCode.FAULTS: "if something is wrong"}),
)
@click.option("--journal", "journal_files", type=PATH, multiple=True, help="What a producer wrote and was told.")
@click.option("--others", is_flag=True, help="Others write schedules too: what no journal has is no fault.")
@click.option("--recorded", type=PATH, metavar="DIR", help="What `scheduler audit record` has kept.")
@click.option("--since", type=Since(), help="Judge what was due from this instant (RFC 3339) on, or so long ago (2h).")
@click.option("--until", type=Since(), help="Judge what was due until then; now without it.")
@click.option(
    "--wait", type=Seconds(), default="10s", show_default=True, help="At most so long for what is due to end."
)
@click.option("--target", "targets", multiple=True, help="A target topic that no schedule names any more.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of tables.")
@click.pass_context
def audit(
    context: click.Context,
    *,
    journal_files: tuple[Path, ...],
    others: bool,
    recorded: Path | None,
    since: int | None,
    until: int | None,
    wait: float,
    targets: tuple[str, ...],
    as_json: bool,
) -> int:
    """Compare schedules, history and targets: was anything lost, doubled, early or altered?

    Reads the topics to their ends and changes nothing. With the journal of a producer it says whether everything that
    was acknowledged has come out; without one, whether the topics agree.
    """
    if context.invoked_subcommand is not None:
        return ExitCode.OK
    settings, clock = Settings.load(), SystemClock()
    gc.disable()  # a process that ends: see `judge`
    now_ms = clock.now_ms()
    until_ms = now_ms if until is None else min(until, now_ms)
    case = Case(
        list(chain.from_iterable(map(journals.read, journal_files))) if journal_files else None,
        alone=not others,
        recording=None if recorded is None else recordings.read(recorded),
        since_ms=since,
        until_ms=until_ms,
    )
    with progress() as shown:
        verdict = _judged(_source(settings, targets), case, until_ms, wait, shown)
    if as_json:
        echo_json(verdict.as_json())
    else:
        _show(verdict, case)
    return ExitCode.OK if verdict.clean else ExitCode.FAULTS


def _source(settings: Settings, targets: tuple[str, ...]) -> Source:
    elsewhere = target_conf(settings, CLIENT_ID) if settings.target_bootstrap_servers else None
    return Source(
        common_conf(settings, CLIENT_ID),
        settings.schedules_topics,
        settings.history_topic,
        settings.dead_letter_topic,
        targets,
        elsewhere,
    )


def _judged(source: Source, case: Case, now_ms: int, wait: float, shown: Shown) -> Verdict:
    """Read and judge, again and again while something that is due has not ended and there is time left."""
    clock = SystemClock()
    deadline, never = Deadline(clock, wait), threading.Event()
    reader = Reader(source, clock, case, progress=shown.reading)
    try:
        while True:
            evidence = reader.read(now_ms)
            shown.at("comparing")
            verdict = judge(evidence)
            if not verdict.counts[Fault.NOT_ENDED] or deadline.passed:
                return verdict
            clock.wait(never, min(TICK_SECONDS, deadline.remaining()))
    finally:
        reader.close()


def _show(verdict: Verdict, case: Case) -> None:
    echo_table(("", ""), _figures(verdict, case))
    if verdict.clean:
        click.echo("\nnothing is wrong")
        return
    click.echo()
    rows = [
        (str(fault), str(count), "\n".join([EXPLAINED[fault], *verdict.examples[fault]]))
        for fault, count in verdict.counts.items()
    ]
    echo_table(("fault", "count", "what it is, and the first ones"), rows)


def _figures(verdict: Verdict, case: Case) -> list[tuple[str, str]]:
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(verdict.outcomes.items()))
    rows = [
        ("versions of schedules", str(verdict.schedules)),
        ("messages at the targets", str(verdict.messages)),
        ("the history says", outcomes or "nothing"),
        ("not due yet, or paused", str(verdict.pending)),
        ("replaced in time / too late", f"{verdict.replaced} / {verdict.too_late}"),
    ]
    if case.journal is not None:
        rows.append(("of unknown fate, and there", str(verdict.unknown_found)))
    if verdict.requested:
        rows.append(("fired by request", str(verdict.requested)))
    if verdict.copies:
        rows.append(("copies at the other cluster", str(verdict.copies)))
    if verdict.lateness_ms:
        shown = (f"{verdict.lateness(share)} ms" for share in (0.5, 0.99, 1))
        rows.append(("lateness p50, p99, max", ", ".join(shown)))
        rows.append(("longest time without one", f"{verdict.longest_gap_ms()} ms"))
    rows += [(f"cannot be judged: {count}", reason) for reason, count in sorted(verdict.unjudged.items())]
    if case.until_ms is not None:
        since = "" if case.since_ms is None else f"from {rfc3339(case.since_ms)} "
        rows.append(("judged is what was due", f"{since}until {rfc3339(case.until_ms)}"))
    return rows


@audit.command(
    short_help="Record what comes out, until Ctrl-C.",
    epilog=examples("scheduler audit record --out recorded")
    + "\n\n"
    + environment_help(*VARIABLES)
    + "\n\n"
    + exit_codes(endless=True),
)
@click.option("--out", type=PATH, required=True, metavar="DIR", help="Where to write it; a recording there goes on.")
@click.option("--target", "targets", multiple=True, help="A target topic, beside those that schedules name.")
def record(*, out: Path, targets: tuple[str, ...]) -> int:
    """Read schedules, history and targets as they are written, and keep what was seen, and when, until Ctrl-C.

    With it, `scheduler audit` sees what compaction removes afterwards, and whether anything that a reader had was taken
    back. Brokers may go and come meanwhile. Payloads are not kept, but their hashes.
    """
    settings, clock = Settings.load(), SystemClock()
    source = _source(settings, targets)
    topics = [*source.schedules, source.history, settings.dead_letter_topic]
    signals = StopSignals()
    if source.target_conf is None:
        home = Recorder(source.conf, [*topics, *targets], clock, out, keep=False, schedules=source.schedules)
        recorders = [home]
    else:
        away = Recorder(source.target_conf, targets, clock, out / "targets", keep=False)
        recorders = [Recorder(source.conf, topics, clock, out, keep=False), away]
    try:
        for each in recorders:
            each.start()
        click.echo(f"recording to {out}, until Ctrl-C", err=True)
        while not clock.wait(signals.stop, TICK_SECONDS):
            for each in recorders:
                each.check()
    finally:
        for each in recorders:
            each.close()
    counts = [(topic, str(each.count(topic))) for each in recorders for topic in each.topics]
    echo_table(("topic", "records"), counts)
    return ExitCode.OK
