"""`scheduler mini`: everything in one process, without a Kafka."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import click

from scheduler.broker.embedded import NOT_PROMISED
from scheduler.clock import rfc3339
from scheduler.errors import ExitCode
from scheduler.instants import parse_instant
from scheduler.mini.clock import VirtualClock
from scheduler.mini.service import EVERYWHERE, Mini
from scheduler.runtime import interpreter, logs
from scheduler.runtime.cli import echo_json_line, examples, exit_codes
from scheduler.runtime.lifecycle import StopSignals
from scheduler.runtime.settings import Address, check_topic, parse_address

if TYPE_CHECKING:
    from collections.abc import Sequence

POLL_SECONDS = 0.2


class _Address(click.ParamType[Address]):
    """`host:port`."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        """Read it."""
        address = value if isinstance(value, Address) else parse_address(value)
        if address is None:
            self.fail(f"{value!r} is not host:port, such as 127.0.0.1:8000", param, ctx)
        return address


class _Instant(click.ParamType[int]):
    """RFC 3339, as Unix ms."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        instant_ms = value if isinstance(value, int) else parse_instant(value)
        if instant_ms is None:
            self.fail(f"{value!r} is not an instant such as 2030-01-01T00:00:00Z", param, ctx)
        return instant_ms


class _Names(click.ParamType[tuple[str, ...]]):
    """Topics, comma between them."""

    name = "topic,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Read them."""
        names = value if isinstance(value, tuple) else tuple(filter(None, map(str.strip, value.split(","))))
        try:
            return tuple(map(check_topic, names))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(
    "mini",
    short_help="A scheduler with a broker of its own, for tests and a first look.",
    epilog=examples(
        "scheduler mini",
        "scheduler mini --port 0 --api 127.0.0.1:0 --json             # on free ports",
        "scheduler mini --virtual-clock --now 2030-01-01T00:00:00Z --topics orders",
        """curl --json '{"advance": "1d"}' http://127.0.0.1:8000/clock  # tomorrow""",
        "scheduler mini --host 0.0.0.0 --advertise mini:9092 --api :8000",
    )
    + "\n\n"
    + exit_codes(endless=True),
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where Kafka clients are listened to.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=9092, show_default=True, help="The same; 0 for a free one."
)
@click.option(
    "--advertise",
    type=_Address(),
    help="Where Kafka clients are told to connect to, if they find it elsewhere. [default: where it listens; "
    "localhost if that is everywhere]",
)
@click.option(
    "--api",
    type=_Address(),
    default="127.0.0.1:8000",
    show_default=True,
    help="Where the HTTP API listens; port 0 for a free one. Elsewhere than on 127.0.0.1, everybody may use it.",
)
@click.option("--topics", type=_Names(), default=(), help="Made at the start; others are when they are asked for.")
@click.option("--virtual-clock", is_flag=True, help="The clock stands still until POST /clock moves it.")
@click.option("--now", "now_ms", type=_Instant(), help="What the clock shows first. [default: the machine's time]")
@click.option("--json", "as_json", is_flag=True, help="Say where it is as one line of JSON, once it fires.")
def mini(
    host: str,
    port: int,
    advertise: Address | None,
    api: Address,
    topics: Sequence[str],
    now_ms: int | None,
    *,
    virtual_clock: bool,
    as_json: bool,
) -> int:
    """Run a broker, a scheduler and its HTTP API in this process, until SIGTERM or Ctrl-C.

    Any Kafka client can use the broker. The clock, by which schedules are due, is moved by POST /clock. Nothing is
    read from the environment, and nothing is kept.
    """
    if advertise is not None and (advertise.host == EVERYWHERE or not advertise.port):
        raise click.BadParameter("it is a host and a port that clients can connect to", param_hint="--advertise")
    logs.configure("warning", "json" if as_json else "text")
    interpreter.tune()
    signals = StopSignals()
    if advertise is None and host == EVERYWHERE and port:
        advertise = Address("localhost", port)
    running = Mini(
        listen=Address(host, port),
        advertised=advertise,
        api=api,
        topics=topics,
        clock=VirtualClock(now_ms, running=not virtual_clock),
        anybody=not _is_loopback(api.host),
    )
    try:
        if not as_json:
            click.echo("It takes some seconds to start.")
        running.start(signals.stop)
        if not signals.stop.is_set():
            _tell(running, as_json=as_json)
        while not signals.stop.is_set() and not running.replica.ended.is_set():
            signals.stop.wait(POLL_SECONDS)
    finally:
        running.close()
    if running.replica.failure is not None:
        raise running.replica.failure
    return ExitCode.OK


def _tell(running: Mini, *, as_json: bool) -> None:
    now, runs = rfc3339(running.clock.now_ms()), running.clock.running
    if as_json:
        echo_json_line(
            {
                "bootstrap_servers": running.bootstrap_servers,
                "api": running.api,
                "now": now,
                "running": runs,
                "topics": running.topics,
                "not_promised": NOT_PROMISED,
            }
        )
        return
    click.echo(f"Kafka   {running.bootstrap_servers}   for any client")
    click.echo(f"API     {running.api}/docs")
    click.echo(f"Clock   {now}, it {'runs' if runs else 'stands still'}; to move it:")
    click.echo(f'        curl --json \'{{"advance": "1d"}}\' {running.api}/clock')
    click.echo(f"Topics  {', '.join(running.topics)}; others are made when they are asked for")
    click.echo(f"\nNo Kafka stands behind this. {NOT_PROMISED}\n")
    click.echo("Ctrl-C ends it, and nothing is kept.")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
