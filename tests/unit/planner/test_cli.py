"""What the command line says before it asks Kafka for anything."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from planner.cli import main
from scheduler.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable

    Planner = Callable[..., tuple[str | int | None, str, str]]


@pytest.fixture
def planner(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Planner:
    """Run `planner ...` where no broker listens; return its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOOTSTRAP_SERVERS", "127.0.0.1:1")
    for name in ("CLUSTERS", "SCHEDULES_TOPICS", "CONFIGURATION_FILE"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> tuple[str | int | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["planner", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return ended.value.code, out, err

    return run


def test_a_broken_file_is_refused_with_all_of_its_errors(planner: Planner) -> None:
    Path("jobs").write_text("MAILTO=root\n61 * * * * a\n@daily b\nTIMEOUT=soon\n")

    assert planner("sync", "jobs") == (
        ExitCode.BAD_INPUT,
        "",
        (
            "jobs:1:1: note: MAILTO is not used: a run's output goes to the worker's log\n"
            "jobs:2:1: minute: 61 is out of range, 0 to 59\n"
            "jobs:4:9: TIMEOUT: 'soon' is not a duration: write it like 250ms, 90s, 15m, 2h, 1d, 1h30m (largest unit "
            "first), or in ISO 8601 like PT15M, P1DT2H\n"
            "planner: jobs has 2 errors; nothing was changed\n"
        ),
    )


def test_the_clusters_are_those_of_the_environment(planner: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERS", "europe,america")
    Path("jobs").write_text("CLUSTER=cluster-a\n@daily a")

    code, _, err = planner("sync", "jobs")

    assert code == ExitCode.BAD_INPUT
    assert err.startswith("jobs:1:9: CLUSTER: 'cluster-a' is not a cluster; there are europe, america\n")


@pytest.mark.parametrize(
    ("name", "what"),
    [("missing", "missing: cannot be read: No such file or directory"), (".", ". holds no crontab: ")],
)
@pytest.mark.parametrize("command", ["plan", "sync"])
def test_a_file_that_cannot_be_read_is_named(planner: Planner, command: str, name: str, what: str) -> None:
    code, out, err = planner(command, name, "--source", "x")

    assert (code, out) == (ExitCode.BAD_INPUT, "")
    assert err.startswith(f"planner: {what}")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["a b.txt"], "'a b.txt' is not a name; use letters, digits, '.', '_' and '-', at most 100; name the source"),
        (["jobs", "--source", "a/b"], "Invalid value for --source: 'a/b' is not a name"),
        (["jobs", "--source", ""], "Invalid value for --source: '' is not a name"),
        (["-"], "standard input has no name; name the source with --source"),
        (["jobs", "--horizon", "soon"], "Invalid value for '--horizon': 'soon' is not a duration"),
        (["jobs", "--horizon", "1s"], "Invalid value for '--horizon': '1s' is not from 1m to 366d"),
        ([], "Missing argument 'FILE|DIR|-'"),
    ],
)
def test_a_source_that_no_id_can_carry_is_refused(planner: Planner, arguments: list[str], what: str) -> None:
    code, _, err = planner("sync", *arguments)

    assert code == ExitCode.USAGE
    assert what in err


def test_a_setting_of_the_environment_that_does_not_parse_is_named(
    planner: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCHEDULES_TOPICS", "a b")

    code, _, err = planner("sync", "jobs")

    assert code == ExitCode.CONFIGURATION
    assert err.startswith("planner: SCHEDULES_TOPICS: ")


def test_standard_input_cannot_be_watched(planner: Planner) -> None:
    code, _, err = planner("watch", "-")

    assert code == ExitCode.USAGE
    assert "standard input cannot be watched" in err


def test_the_shell_completes_commands_and_options(planner: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_PLANNER_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_CWORD", "2")
    monkeypatch.setenv("COMP_WORDS", "planner sync --")

    code, out, _ = planner()

    assert code == ExitCode.OK
    assert {"plain,--source", "plain,--dry-run", "plain,--horizon", "plain,--yes"} <= set(out.splitlines())


@pytest.mark.parametrize("command", ["check", "export", "list", "next", "plan", "sync", "watch"])
def test_every_command_has_help_with_examples(planner: Planner, command: str) -> None:
    code, out, _ = planner(command, "--help")

    assert code == ExitCode.OK
    assert f"planner {command}" in out.partition("Examples:")[2]


def test_help_ends_with_examples_and_the_environment(planner: Planner) -> None:
    code, out, _ = planner("sync", "--help")

    assert code == ExitCode.OK
    assert "planner sync --dry-run crontab.txt" in out
    assert "BOOTSTRAP_SERVERS" in out
