"""Logs: one line an event, as text for people or JSON for programs."""

import io
import json
import logging
import sys
import threading

import pytest

from scheduler.runtime import logs
from scheduler.runtime.logs import JsonFormatter, OncePer, TextFormatter, fields, tell, together

AT = 1_893_456_000.25


def event(message="restored", level=logging.INFO, created=AT, name="scheduler", exc_info=None, **values):
    record = logging.LogRecord(name, level, __file__, 1, message, None, exc_info)
    record.created = created
    vars(record).update(fields(**values))
    return record


@pytest.fixture
def root():
    """The root logger, put back afterwards as it was."""
    names = ("", "kafka", "uvicorn", "uvicorn.access", "uvicorn.error", "asyncio")
    loggers = [logging.getLogger(name) for name in names]
    before = [(each, each.level, each.handlers[:], each.filters[:], each.disabled) for each in loggers]
    yield loggers[0]
    for each, level, handlers, filters, disabled in before:
        each.setLevel(level)
        each.handlers[:], each.filters[:], each.disabled = handlers, filters, disabled


def test_a_line_for_people():
    assert TextFormatter().format(event(topic="schedules", partition=3, seconds=1.25)) == (
        "2030-01-01T00:00:00.250Z INFO scheduler restored topic=schedules partition=3 seconds=1.250"
    )


def test_an_event_without_fields():
    assert TextFormatter().format(event("started")) == "2030-01-01T00:00:00.250Z INFO scheduler started"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a b", '"a b"'),
        ("", '""'),
        ('a"b', '"a\\"b"'),
        ("naïve", "naïve"),
        ("naïve id", '"naïve id"'),
        (None, "None"),
        ("a\nb", '"a\\nb"'),
        ("a\x1b[31mb", '"a\\u001b[31mb"'),
        ("a\N{LINE SEPARATOR}b", '"a\\u2028b"'),
        ("a\N{RIGHT-TO-LEFT OVERRIDE}b", '"a\\u202eb"'),
    ],
)
def test_a_value_neither_breaks_the_line_nor_steers_the_terminal(value, shown):
    """A schedule's id is a customer's text."""
    assert TextFormatter().format(event(key=value)).endswith(f" key={shown}")


def test_a_line_for_programs():
    line = JsonFormatter().format(event("fired", logging.WARNING, key="naïve\nid", count=3))

    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2030-01-01T00:00:00.250Z",
        "level": "warning",
        "logger": "scheduler",
        "event": "fired",
        "key": "naïve\nid",
        "count": 3,
    }


def test_what_json_does_not_know_is_written_as_text():
    assert json.loads(JsonFormatter().format(event(error=ValueError("no"))))["error"] == "no"


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_defect_shows_where_it_happened(formatter):
    try:
        raise ValueError("broken")
    except ValueError:
        text = formatter.format(event("failed", exc_info=sys.exc_info()))

    assert "failed" in text
    assert "ValueError: broken" in text
    assert __name__.rpartition(".")[2] in text


def test_the_same_complaint_comes_through_once_in_a_while():
    """An unreachable broker is one event, not thirty a minute."""
    once = OncePer(30)
    at = [event("FAIL [thrd:a] refused", created=AT + seconds) for seconds in (0, 1, 29.9, 30, 31, 60)]

    assert [once.filter(each) for each in at] == [True, False, False, True, False, True]


def test_another_complaint_comes_through_at_once():
    once = OncePer(30)

    assert once.filter(event("FAIL refused"))
    assert once.filter(event("ERROR all brokers down", created=AT + 1))


@pytest.mark.parametrize(("form", "begins"), [("text", "20"), ("json", '{"time": "20')])
def test_events_go_to_standard_error_in_the_form_asked_for(root, monkeypatch, form, begins):  # noqa: ARG001 - restores
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    logs.configure("info", form)
    logging.getLogger("scheduler.partition").info("restored", extra=fields(partition=3))
    logging.getLogger("scheduler.partition").debug("not asked for")

    assert said.getvalue().startswith(begins)
    assert said.getvalue().count("\n") == 1
    assert "restored" in said.getvalue()


LOG = logging.getLogger("worker")
WHAT = {"job": "nightly backup", "attempt": 1, "seconds": 1.25, "then": None}


@pytest.fixture
def said(root, monkeypatch):  # noqa: ARG001 - restores
    """What is written to standard error."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure("info", "text")
    return stream


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_is_told_is_the_line_that_would_be_logged(said, monkeypatch, form):
    monkeypatch.setattr(sys, "stderr", said)
    logs.configure("info", form)
    tell(LOG, "run finished", WHAT)
    LOG.info("run finished", extra=fields(**WHAT))
    told, logged = said.getvalue().splitlines()
    same = (
        slice(len("2030-01-01T00:00:00.000Z")) if form == "text" else slice(len('{"time": "2030-01-01T00:00:00.000Z"'))
    )

    assert told.replace(told[same], "") == logged.replace(logged[same], "")
    assert "nightly backup" in told


def test_what_is_told_heeds_the_level(said):
    logging.root.setLevel("WARNING")
    tell(LOG, "run finished", WHAT)

    assert said.getvalue() == ""


def test_another_handler_gets_what_is_told(said, caplog):
    """A program that uses us logs as it likes."""
    logging.root.addHandler(caplog.handler)
    with together():
        tell(LOG, "run finished", WHAT)

    assert [record.event_fields for record in caplog.records] == [WHAT]
    assert said.getvalue().count("run finished") == 1


class Calls(io.StringIO):
    """Counts what is written in one go."""

    count = 0

    def write(self, text):
        self.count += 1
        return super().write(text)


def test_what_is_told_together_is_written_together(root, monkeypatch):  # noqa: ARG001 - restores
    calls = Calls()
    monkeypatch.setattr(sys, "stderr", calls)
    logs.configure("info", "text")
    with together():
        for number in range(3):
            tell(LOG, "job output", {"line": number})
        assert calls.count == 0
    with together():
        pass

    assert calls.count == 1
    assert [line[-1] for line in calls.getvalue().splitlines()] == ["0", "1", "2"]


def test_what_is_logged_meanwhile_comes_in_its_turn(said):
    """By this thread and by others: neither waits for the end, nor overtakes."""
    others = [
        lambda: tell(LOG, "told", {"number": 2}),
        lambda: LOG.info("logged", extra=fields(number=3)),
    ]
    with together():
        tell(LOG, "told", {"number": 1})
        for other in others:
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
        assert said.getvalue().count("\n") == 3
        tell(LOG, "told", {"number": 4})
        LOG.warning("logged", extra=fields(number=5))
        assert said.getvalue().count("\n") == 5
        tell(LOG, "told", {"number": 6})

    assert [line.rpartition("=")[2] for line in said.getvalue().splitlines()] == ["1", "2", "3", "4", "5", "6"]


def test_lines_are_written_where_what_tells_them_fails(said):
    def fail():
        with together():
            tell(LOG, "told", {"number": 1})
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()

    assert said.getvalue().endswith("number=1\n")


def test_a_log_that_cannot_be_written_stops_nobody(said):
    said.close()
    with together():
        tell(LOG, "told", {"number": 1})
    LOG.info("logged")


def test_the_kafka_client_repeats_itself_only_when_debugging(root, monkeypatch):  # noqa: ARG001 - restores
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    for level, expected in (("warning", 1), ("debug", 3)):
        said.truncate(0)
        logs.configure(level, "text")
        for _ in range(3):
            logging.getLogger("kafka").warning("FAIL refused")

        assert said.getvalue().count("FAIL") == expected


def test_configuring_twice_does_not_double_the_lines(root, monkeypatch):  # noqa: ARG001 - restores
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    logs.configure("info", "text")
    logs.configure("info", "text")
    logging.getLogger("scheduler").info("started")

    assert said.getvalue().count("started") == 1


def test_a_command_that_ends_keeps_the_client_quiet_and_a_replica_does_not(root, monkeypatch):  # noqa: ARG001 - restores
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    logs.silence_client()
    logging.getLogger("kafka").error("FAIL refused")
    quiet = said.getvalue()
    logs.configure("info", "text")
    logging.getLogger("kafka").error("FAIL refused")

    assert quiet == ""
    assert "FAIL refused" in said.getvalue()
