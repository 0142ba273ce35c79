"""`planner check`: what is read, shown; what is wrong, told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scheduler.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.planner.conftest import Ended

    Planner = Callable[..., Ended]

CRONTAB = """\
MAX_ATTEMPTS=3
TOKEN=secret
NAME=nightly
CRON_TZ=Europe/Riga
30 2 * * *  cluster-b  report%one%two
TIMEOUT=5m
MAX_ATTEMPTS=5
0 12 * * *  [ -f x ] && tidy
"""


def words(line: str) -> list[str]:
    return line.split()


def test_each_entry_is_shown_with_its_next_occurrence_and_what_it_inherits(planner_at_noon: Planner) -> None:
    Path("jobs").write_text(CRONTAB)

    code, out, err = planner_at_noon("check", "jobs")

    assert (code, err) == (ExitCode.OK, "")
    lines = [words(line) for line in out.splitlines()]
    assert lines[0] == ["line", "job", "cluster", "when", "zone", "next", "settings", "command"]
    assert lines[1] == words(
        "5 nightly cluster-b 30 2 * * * Europe/Riga 2030-01-02T02:30:00+02:00 MAX_ATTEMPTS=3 (line 1) "
        "report (input: 2 lines)"
    )
    assert lines[2:4] == [words("TOKEN (line 2)"), words("CRON_TZ=Europe/Riga (line 4)")]
    assert lines[4][0] == "8"
    assert "2030-01-02T12:00:00+02:00" in lines[4]  # 12:00 has passed in Riga, where it is 14:00
    assert lines[4][-9:] == words("MAX_ATTEMPTS=5 (line 7) [ -f x ] && tidy")
    assert lines[-1] == words("2 entries, no errors")
    assert "secret" not in out


def test_a_user_column_is_shown(planner_at_noon: Planner) -> None:
    Path("jobs").write_text("@daily\troot\trun\n")

    code, out, err = planner_at_noon("check", "--system", "jobs")

    assert code == ExitCode.OK
    assert words(out.splitlines()[0])[2] == "user"
    assert words(out.splitlines()[1])[2] == "root"
    assert err == "jobs:1:8: note: a user is carried in the job; workers run commands as their own user\n"


def test_json_has_all_that_was_read(planner_at_noon: Planner) -> None:
    Path("jobs").write_text(CRONTAB + "MAILTO=me\n")

    code, out, err = planner_at_noon("check", "--json", "jobs")
    document = json.loads(out)

    assert (code, err) == (ExitCode.OK, "")
    assert document["errors"] == []
    assert document["notes"] == ["jobs:9:1: note: MAILTO is not used: a run's output goes to the worker's log"]
    assert document["entries"][0] == {
        "file": None,
        "line": 5,
        "id": "nightly",
        "name": "nightly",
        "job": "nightly",
        "user": None,
        "cluster": "cluster-b",
        "cron": "30 2 * * *",
        "timezone": "Europe/Riga",
        "shift": "0s",
        "next": "2030-01-02T02:30:00+02:00",
        "command": "report",
        "stdin": "one\ntwo\n",
        "environment": {"TOKEN": "secret"},
        "settings": {"MAX_ATTEMPTS": "3", "CRON_TZ": "Europe/Riga"},
        "lines": {"MAX_ATTEMPTS": 1, "TOKEN": 2, "CRON_TZ": 4},
    }


def test_every_error_is_told_at_once(planner_at_noon: Planner) -> None:
    Path("jobs").write_text("61 * * * * a\n@daily b\nTIMEOUT=soon\n@reboot c\n")

    code, out, err = planner_at_noon("check", "jobs")

    assert (code, out) == (ExitCode.BAD_INPUT, "")
    assert [line.split(" ")[0] for line in err.splitlines()] == ["jobs:1:1:", "jobs:3:9:", "jobs:4:1:", "planner:"]
    assert err.endswith("planner: jobs has 3 errors\n")


def test_json_has_the_errors_and_what_could_be_read(planner_at_noon: Planner) -> None:
    Path("jobs").write_text("@daily b\n0 24 * * * a\n")

    code, out, err = planner_at_noon("check", "--json", "jobs")
    document = json.loads(out)

    assert (code, err) == (ExitCode.BAD_INPUT, "")
    assert document["errors"] == [
        {"file": "jobs", "line": 2, "column": 3, "message": "hour: 24 is out of range, 0 to 23"}
    ]
    assert [entry["command"] for entry in document["entries"]] == ["b"]


def test_a_crontab_comes_from_standard_input(planner_at_noon: Planner) -> None:
    assert planner_at_noon("check", "-", stdin=b"@daily run").out.endswith("1 entry, no errors\n")
    assert planner_at_noon("check", "-", stdin=b"\n@dayly run").err.startswith("<stdin>:2:1: unknown rule '@dayly'")


def test_an_empty_crontab_is_one(planner_at_noon: Planner) -> None:
    Path("jobs").write_text("# nothing\n")

    assert planner_at_noon("check", "jobs").out.endswith("0 entries, no errors\n")


def test_a_directory_is_its_crontabs(planner_at_noon: Planner) -> None:
    Path("jobs").mkdir()
    Path("jobs/billing").write_text("MAX_ATTEMPTS=3\n@daily bill\n")
    Path("jobs/web.crontab").write_text("\n@daily serve\n")
    Path("jobs/web.crontab~").write_text("61 * * * * old")
    Path("jobs/.hidden").write_text("61 * * * * hidden")
    Path("jobs/more").mkdir()

    code, out, err = planner_at_noon("check", "--json", "jobs")

    assert (code, err) == (ExitCode.OK, "")
    document = json.loads(out)
    assert document["notes"] == ["jobs/web.crontab~: note: not read: its name is not that of a crontab"]
    assert [(entry["file"], entry["line"], entry["settings"]) for entry in document["entries"]] == [
        ("billing", 2, {"MAX_ATTEMPTS": "3"}),
        ("web.crontab", 2, {}),
    ]


def test_the_errors_of_all_files_of_a_directory_are_told_by_file(planner_at_noon: Planner) -> None:
    Path("jobs").mkdir()
    Path("jobs/a").write_text("@daily same\n61 * * * * wrong\n")
    Path("jobs/b").write_text("\n  @daily same\n")

    code, _, err = planner_at_noon("check", "jobs")

    assert code == ExitCode.BAD_INPUT
    assert err == (
        "jobs/a:2:1: minute: 61 is out of range, 0 to 59\n"
        "jobs/b:2:3: time, zone, cluster and command as in line 1 of a: it would be the same schedule; "
        "give one of them a NAME, or remove it\n"
        "planner: jobs has 2 errors\n"
    )


def test_a_directory_without_a_crontab_is_refused(planner_at_noon: Planner) -> None:
    """A volume that is not mounted would otherwise state that nothing is to run."""
    Path("jobs").mkdir()
    Path("jobs/README.md").write_text("")

    code, out, err = planner_at_noon("check", "jobs")

    assert (code, out) == (ExitCode.BAD_INPUT, "")
    assert err.startswith("planner: jobs holds no crontab: ")


def test_a_file_that_cannot_be_read_is_named(planner_at_noon: Planner) -> None:
    assert planner_at_noon("check", "missing") == (
        ExitCode.BAD_INPUT,
        "",
        "planner: missing: cannot be read: No such file or directory\n",
    )


@pytest.mark.parametrize("command", ["check", "next", "export"])
def test_help_has_examples_and_exit_codes(planner_at_noon: Planner, command: str) -> None:
    code, out, _ = planner_at_noon(command, "--help")

    assert code == ExitCode.OK
    assert f"planner {command}" in out
    assert "Exit code: 0" in out
