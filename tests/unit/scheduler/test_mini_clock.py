"""The virtual clock, and the settings that go with it."""

from __future__ import annotations

import math

from scheduler.clock import SystemClock
from scheduler.mini.clock import VirtualClock
from scheduler.mini.service import MiniSettings

NEW_YEAR = 1_893_456_000_000


def test_it_shows_what_it_was_set_to_until_it_is_moved():
    clock = VirtualClock(NEW_YEAR, running=False)

    assert (clock.now_ms(), clock.running) == (NEW_YEAR, False)
    assert clock.seconds_until(NEW_YEAR + 1) == math.inf, "nobody is to wake for what does not come"
    assert clock.seconds_until(NEW_YEAR - 1500) == -1.5

    clock.set(NEW_YEAR + 1)
    assert (clock.now_ms(), clock.running) == (NEW_YEAR + 1, False)


def test_running_it_goes_on_from_what_it_shows():
    clock, machine = VirtualClock(NEW_YEAR, running=False), SystemClock()
    before = machine.now_ms()
    clock.run()
    shown = clock.now_ms()
    after = machine.now_ms()

    assert clock.running
    assert 0 <= shown - NEW_YEAR <= after - before
    clock.set(0)
    assert clock.running
    assert 0 <= clock.now_ms() <= machine.now_ms() - after
    assert clock.seconds_until(3_600_000) <= 3600
    clock.stand()
    assert clock.now_ms() == clock.now_ms()
    assert not clock.running


def test_without_an_instant_it_shows_the_machines_time():
    before = SystemClock().now_ms()
    assert before <= VirtualClock().now_ms() <= VirtualClock(running=False).now_ms() <= SystemClock().now_ms()


def test_variables_for_a_real_kafka_lead_no_test_there(monkeypatch, tmp_path):
    for name in ("BOOTSTRAP_SERVERS", "TARGET_BOOTSTRAP_SERVERS", "SCHEDULES_TOPICS", "API_TOKEN"):
        monkeypatch.setenv(name, "production")
    monkeypatch.setenv("CONFIGURATION_FILE", str(tmp_path / "secrets.yaml"))

    settings = MiniSettings.load(bootstrap_servers="127.0.0.1:1")

    assert settings.bootstrap_servers == "127.0.0.1:1"
    assert settings.model_dump() == MiniSettings(bootstrap_servers="127.0.0.1:1").model_dump()
    assert (settings.target_bootstrap_servers, settings.configuration_file) == ("", None)
    assert settings.schedules_topics == ["schedules"]
    assert settings.api_token.get_secret_value() == ""
