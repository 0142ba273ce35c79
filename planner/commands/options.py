"""Arguments and options that several commands take, and values that click does not know."""

from __future__ import annotations

from pathlib import Path

import click

from scheduler.instants import parse_instant

CRONTAB = "FILE|DIR|-"
crontab_path = click.Path(path_type=Path, allow_dash=True)
crontab_argument = click.argument("path", metavar=CRONTAB, type=crontab_path)
system_option = click.option(
    "--system", is_flag=True, help="A user stands between time and command, as in /etc/crontab and /etc/cron.d."
)
json_option = click.option("--json", "as_document", is_flag=True, help="One JSON document instead of text.")


class Instant(click.ParamType[int]):
    """An RFC 3339 instant, as Unix milliseconds."""

    name = "instant"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See `click.ParamType`."""
        instant_ms = value if isinstance(value, int) else parse_instant(value)
        if instant_ms is None:
            self.fail(f"{value!r} is not an RFC 3339 instant with offset, such as 2030-01-01T00:00:00Z", param, ctx)
        return instant_ms
