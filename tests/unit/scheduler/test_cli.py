"""The `scheduler` command as its users meet it: help, exit codes, and errors in one sentence."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from confluent_kafka import KafkaError, KafkaException

from scheduler import __version__
from scheduler.broker.cluster import Cluster
from scheduler.cli import cli, main
from scheduler.errors import BrokerUnavailableError, ConfigurationError, ExitCode, InputError, SchedulerError
from scheduler.runtime.cli import echo_table, run
from scheduler.runtime.settings import Settings

COMMANDS = sorted(cli.commands)
ON_A_KAFKA = tuple(command for command in COMMANDS if command != "mini")
"""Those that read where one is from the environment."""
KEYED = ("cancel", "fire", "get", "pause", "resume")


def line_of(command):
    """The command with what it needs to get as far as its settings."""
    if command == "import":
        return (command, str(Path(__file__).with_name("one_schedule.jsonl")))
    return (command, "key") if command in KEYED else (command,)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """None of our variables is set; the client's log is put back as it was."""
    for name in (*Settings.model_fields, "metrics_addr"):
        monkeypatch.delenv(name.upper(), raising=False)
    before = logging.getLogger("kafka").disabled
    yield
    logging.getLogger("kafka").disabled = before


@pytest.fixture
def call(monkeypatch, capsys):
    """Run `scheduler ARGUMENTS` and return its exit code, output and errors."""

    def called(*arguments, entry=main):
        monkeypatch.setattr(sys, "argv", ["scheduler", *arguments])
        with pytest.raises(SystemExit) as ended:
            entry()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return ended.value.code, said.out, said.err

    return called


def raising(error):
    """An entry point whose command raises."""

    @click.command()
    def command():
        raise error

    return lambda: run(command, "scheduler")


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_the_commands(call, option):
    code, out, _ = call(option)

    assert code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in out


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_ends_with_examples_and_its_variables(call, command):
    code, out, _ = call(command, "--help")
    examples = out.partition("Examples:")[2].partition("Environment:")[0]
    variables = out.partition("Environment:")[2]

    assert code == 0
    assert examples.count(f"scheduler {command}") >= 2
    assert ("BOOTSTRAP_SERVERS " in variables) == (command in ON_A_KAFKA)
    assert ("[localhost:9092]" in variables) == (command in ON_A_KAFKA)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_readable_in_a_terminal(call, command):
    assert max(map(len, call(command, "--help")[1].splitlines())) <= 110


def test_the_version(call):
    assert call("--version")[:2] == (0, f"scheduler, version {__version__}\n")


# ---------------------------------------------------------------- wrong use


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["topics", "--bogus"], "No such option"),
        (["topics", "schedules"], "unexpected extra argument"),
        (["history", "--outcome", "lost"], "'lost' is not one of 'fired', 'misfired'"),
        (["history", "--limit", "0"], "'--limit'"),
        (
            ["history", "--since", "yesterday"],
            "'yesterday' is neither an instant such as 2030-01-01T00:00:00Z nor",
        ),
        (["history", "--since", "-1h"], "'-1h' is neither an instant"),
        (["get"], "Missing argument 'KEY'"),
        (["cancel"], "Missing argument 'KEY...'"),
        (["cancel", "a", "--timeout", "soon"], "'--timeout'"),
        (["list", "--due-before", "tomorrow"], "'tomorrow' is neither an instant"),
        (["pause"], "give a KEY, or --all"),
        (["resume", "a", "--all"], "give a KEY, or --all"),
        (["pause", "--all", "--partition", "1"], "leave --partition out"),
        (["mini", "--port", "70000"], "'--port'"),
        (["mini", "--api", "nowhere"], "'nowhere' is not host:port"),
        (["mini", "--now", "tomorrow"], "'tomorrow' is not an instant"),
        (["mini", "--topics", "a b"], "'a b' is not a topic name"),
        (["mini", "--advertise", ":9092"], "--advertise"),
        (["mini", "--advertise", "mini:0"], "--advertise"),
    ],
)
def test_a_wrong_argument_is_named_with_exit_code_64(call, arguments, said):
    code, out, err = call(*arguments)

    assert (code, out) == (ExitCode.USAGE, "")
    assert said in err


# ---------------------------------------------------------------- errors and their exit codes


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (SchedulerError("no"), 1, "scheduler: no\n"),
        (InputError("crontab:3: no"), 65, "scheduler: crontab:3: no\n"),
        (BrokerUnavailableError("Kafka at a:1: no"), 69, "scheduler: Kafka at a:1: no\n"),
        (ConfigurationError("GROUP_ID: no"), 78, "scheduler: GROUP_ID: no\n"),
        (click.UsageError("no"), 64, "Usage: scheduler [OPTIONS]\nTry 'scheduler --help' for help.\n\nError: no\n"),
        (click.ClickException("no"), 1, "Error: no\n"),
        (KeyboardInterrupt(), 130, "\n"),  # so that the prompt does not follow ^C
        (click.Abort(), 130, ""),
        (
            KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "not you")),
            69,
            "scheduler: Kafka: not you (TOPIC_AUTHORIZATION_FAILED)\n",
        ),
        (
            KafkaException(KafkaError(KafkaError._INVALID_ARG, 'No such configuration property: "a"')),
            78,
            'scheduler: CONFIGURATION_FILE: the Kafka client refuses it: No such configuration property: "a"\n',
        ),
    ],
)
def test_an_error_is_a_sentence_and_an_exit_code(call, error, code, said):
    assert call(entry=raising(error)) == (code, "", said)


def test_a_defect_is_not_hidden(monkeypatch):
    """What nobody foresaw keeps its traceback: it is to be reported."""
    monkeypatch.setattr(sys, "argv", ["scheduler"])
    with pytest.raises(ZeroDivisionError):
        raising(ZeroDivisionError())()


@pytest.mark.parametrize("command", ON_A_KAFKA)
def test_every_wrong_setting_is_named_with_exit_code_78(call, monkeypatch, command):
    monkeypatch.setenv("SESSION_TIMEOUT", "soon")
    monkeypatch.setenv("SCHEDULES_TOPICS", "a b")
    code, out, err = call(*line_of(command))

    assert (code, out) == (ExitCode.CONFIGURATION, "")
    assert err.startswith("scheduler: ")
    assert "SESSION_TIMEOUT: " in err
    assert "SCHEDULES_TOPICS: " in err


@pytest.mark.parametrize("command", ON_A_KAFKA)
def test_a_wrong_configuration_file_is_named_and_its_password_is_not_shown(call, monkeypatch, tmp_path, command):
    path = tmp_path / "kafka.config"
    path.write_text("security.protocol=PLAINTEXT\nsasl.password hunter2\n")
    monkeypatch.setenv("CONFIGURATION_FILE", str(path))
    code, out, err = call(*line_of(command))

    assert (code, out, err) == (78, "", f"scheduler: CONFIGURATION_FILE: {path}:2: expected name=value\n")


@pytest.mark.parametrize("command", ON_A_KAFKA)
def test_a_property_that_the_client_does_not_know_is_named(call, monkeypatch, tmp_path, command):
    path = tmp_path / "kafka.config"
    path.write_text("sasl.pasword=hunter2\n")
    monkeypatch.setenv("CONFIGURATION_FILE", str(path))
    code, _, err = call(*line_of(command))

    assert code == ExitCode.CONFIGURATION
    assert 'No such configuration property: "sasl.pasword"' in err
    assert "hunter2" not in err


def test_a_broker_that_does_not_answer_is_named_with_exit_code_69(call, monkeypatch):
    # a user waits for some seconds, as a broker may be restarting; a test need not
    monkeypatch.setattr(Cluster.topics, "__defaults__", (0.2,))
    monkeypatch.setenv("BOOTSTRAP_SERVERS", "127.0.0.1:1")
    code, out, err = call("topics")

    assert (code, out) == (ExitCode.UNAVAILABLE, "")
    assert err.startswith("scheduler: Kafka at 127.0.0.1:1: ")
    assert err.endswith("; check BOOTSTRAP_SERVERS and the broker\n")
    assert err.count("\n") == 1


def test_the_client_s_own_complaints_are_not_shown_beside_the_error(call, caplog):
    @click.command()
    def command():
        logging.getLogger("kafka").error("FAIL [thrd:a:1]: connection refused")
        raise BrokerUnavailableError("Kafka at a:1: no")

    assert call(entry=lambda: run(command, "scheduler"))[2] == "scheduler: Kafka at a:1: no\n"
    assert caplog.records == []


# ---------------------------------------------------------------- the process


@pytest.mark.parametrize("command", [["-m", "scheduler"], ["-c", "from scheduler.cli import main; main()"]])
def test_the_module_and_the_console_script_are_the_same_program(command):
    ended = subprocess.run(
        [sys.executable, *command, "topics"],
        env={**os.environ, "SINCE_DELTA": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ended.returncode == ExitCode.CONFIGURATION
    assert ended.stdout == ""
    assert ended.stderr == "scheduler: SINCE_DELTA: Input should be less than or equal to 0 (it is '1')\n"


ENDLESS = """
import click
from scheduler.runtime.cli import echo_json_line, echo_table, run

@click.command()
def endless():
    while True:
        {line}

run(endless, "scheduler")
"""


def test_a_table_shows_what_a_cell_holds(capsys):
    """Keys and reasons come from anybody: neither markup nor what a terminal obeys has any effect."""
    echo_table(("[b]id", "reason"), [("[red]a[/red]", ":smile: \x1b[2J [/x]"), ("x" * 300, "")])
    lines = capsys.readouterr().out.splitlines()

    assert lines[0].split() == ["[b]id", "reason"]
    assert lines[1].split() == ["[red]a[/red]", ":smile:", r"\x1b[2J", "[/x]"]
    assert "".join(lines[2:]).count("x") == 300


@pytest.mark.parametrize("line", ["echo_json_line('x' * 1000)", "echo_table(['a'], [['x' * 100]] * 100)"])
def test_a_reader_that_has_seen_enough_is_no_error(line):
    """`scheduler ... | head -1` ends quietly."""
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS.format(line=line)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()

        assert (process.wait(60), errors) == (0, "")
