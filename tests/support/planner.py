"""The planner's command line in this process, and what it leaves in a schedules topic."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

from planner.cli import main
from scheduler.client import SchedulerClient
from scheduler.errors import ExitCode
from scheduler.runtime.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scheduler.records import Stored, Write


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> str:
        """The last line of its output."""
        return self.out.splitlines()[-1] if self.out else ""


class Planner:
    """Runs commands on one crontab, as a user would; in this process, because starting one takes a second."""

    def __init__(self, environment: Mapping[str, str], crontab: Path) -> None:
        """Prepare.

        Args:
            environment: variables of the product; SCHEDULES_TOPICS and BOOTSTRAP_SERVERS at least.
            crontab: the file that `sync` and the others are given.
        """
        self.environment = dict(environment)
        self.crontab = crontab
        self.settings = Settings.load(
            bootstrap_servers=environment["BOOTSTRAP_SERVERS"],
            schedules_topics=environment["SCHEDULES_TOPICS"].split(","),
        )

    def run(self, *arguments: str, **variables: str) -> Ended:
        """`planner ...`."""
        out, err = io.StringIO(), io.StringIO()
        environment = {**os.environ, **self.environment, **variables}
        code: object = None
        with (
            mock.patch.dict(os.environ, environment, clear=True),
            mock.patch.object(sys, "argv", ["planner", *arguments]),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                main()
            except SystemExit as ended:
                code = ended.code
        assert isinstance(code, int)
        return Ended(code, out.getvalue(), err.getvalue())

    def sync(self, text: str | None = None, *options: str) -> Ended:
        """`planner sync CRONTAB`, with this text in it."""
        if text is not None:
            self.crontab.write_text(text)
        return self.run("sync", str(self.crontab), *options)

    def sync_well(self, text: str | None = None, *options: str) -> str:
        """The same where nothing is to be said on standard error; the line that counts."""
        ended = self.sync(text, *options)
        assert (ended.code, ended.err) == (ExitCode.OK, "")
        return ended.summary

    def in_force(self) -> dict[str, Stored]:
        """What stands in the schedules topics, by id; no id is there twice."""
        with SchedulerClient(self.settings) as client:
            found = [stored for topic in self.settings.schedules_topics for stored in client.schedules(topic)]
        by_id = {stored.schedule.schedule_id: stored for stored in found}
        assert len(by_id) == len(found)
        return by_id

    def write(self, *writes: Write) -> None:
        """Write records in a transaction of another client."""
        with SchedulerClient(self.settings) as client, client.writer("another-client") as writer:
            writer.apply(writes)
