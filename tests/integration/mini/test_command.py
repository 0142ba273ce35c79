"""`scheduler mini` as a process, and the fixture as the documents show it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import httpx
from confluent_kafka import Consumer, Producer

ROOT = Path(__file__).parents[3]
SECONDS = 60
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def command(*options, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "scheduler", "mini", *options],
        env=ENVIRONMENT | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(*options, **environment):
    process = command(*options, **environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_program_starts_it_uses_it_and_stops_it():
    # what is set for a real Kafka leads nobody there
    production = {"BOOTSTRAP_SERVERS": "kafka.invalid:9092", "SCHEDULES_TOPICS": "theirs", "API_TOKEN": "theirs"}
    options = ("--port", "0", "--api", "127.0.0.1:0", "--json", "--virtual-clock", "--now", "2030-01-01T00:00:00Z")
    with running(*options, "--topics", "orders, invoices", **production) as process:
        told = json.loads(process.stdout.readline())

        assert (told["now"], told["running"]) == ("2030-01-01T00:00:00Z", False)
        assert told["topics"] == ["schedules", "history", "dead-letters", "orders", "invoices"]
        assert "fences" in told["not_promised"]
        servers = told["bootstrap_servers"]
        producer = Producer({"bootstrap.servers": servers})
        producer.produce(
            "schedules", key="a", value="x", headers={"scheduler-delay": "1d", "scheduler-target-topic": "orders"}
        )
        producer.flush()
        moved = httpx.post(f"{told['api']}/clock", json={"advance": "1d"}, timeout=SECONDS)
        assert moved.json()["fired"] == 1
        consumer = Consumer({"bootstrap.servers": servers, "group.id": "any", "auto.offset.reset": "earliest"})
        consumer.subscribe(["orders"])
        assert consumer.poll(SECONDS).value() == b"x"
        consumer.close()

        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=SECONDS)
        assert (process.returncode, rest, errors) == (0, "", "")


def test_a_person_is_told_where_it_is_what_it_does_not_promise_and_how_to_stop_it():
    with running("--port", "0", "--api", "127.0.0.1:0") as process:
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, said + process.stderr.read()
            said += line
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)

    for words in (r"Kafka +127\.0\.0\.1:[1-9]", r"http://127\.0\.0\.1:[1-9]\d+/docs", "it runs", "neither fences"):
        assert re.search(words, said), said
    assert process.returncode == 0


def test_an_address_that_is_taken_is_named_with_its_option():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for options in (("--port", port, "--api", "127.0.0.1:0"), ("--port", "0", "--api", f"127.0.0.1:{port}")):
            process = command(*options)
            _, errors = process.communicate(timeout=SECONDS)

            assert process.returncode == 78
            option = "--port" if port == options[1] else "--api"
            assert errors.startswith(f"scheduler: {option}: cannot listen on 127.0.0.1:{port}"), errors
            assert errors.count("\n") == 1


# -- the fixture -------------------------------------------------------------------------------------


def pytest_run(directory, *options):
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", "-W", "error", "-v", *options],
        cwd=directory,
        env=ENVIRONMENT | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=4 * SECONDS,
        check=False,
    )


PLUGIN = "scheduler.mini.plugin"


def test_the_examples_of_the_documents_pass(tmp_path):
    pages = [(ROOT / name).read_text(encoding="utf-8") for name in ("docs/mini.md", "README.md")]
    blocks = [block for page in pages for block in re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)]
    examples = [block for block in blocks if "scheduler_mini" in block]
    assert len(examples) == 2
    for number, example in enumerate(examples):
        (tmp_path / f"test_example_{number}.py").write_text(example, encoding="utf-8")
    # and none sees what another has left
    (tmp_path / "test_last.py").write_text(
        "def test_nothing_is_left(scheduler_mini):\n"
        "    assert scheduler_mini.advance('10d').fired == 0\n"
        "    assert scheduler_mini.fired('reports') == scheduler_mini.history() == []\n",
        encoding="utf-8",
    )

    run = pytest_run(tmp_path)

    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count(" PASSED") == "".join(examples).count("def test_") + 1


def test_who_does_not_ask_for_the_fixture_pays_nothing(tmp_path):
    (tmp_path / "test_without.py").write_text(
        "import sys\n\ndef test_nothing_is_loaded():\n"
        "    assert not {'confluent_kafka', 'fastapi', 'pydantic', 'scheduler.mini.harness'} & set(sys.modules)\n",
        encoding="utf-8",
    )

    run = pytest_run(tmp_path)

    assert run.returncode == 0, run.stdout + run.stderr


def test_the_package_brings_the_fixture_to_pytest():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["entry-points"]["pytest11"] == {"scheduler_mini": PLUGIN}
    assert import_module(PLUGIN).scheduler_mini
