"""What the metrics are called is what the page says; and what is counted when."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from scheduler.broker.failures import Kind
from scheduler.broker.standing import Standing
from scheduler.engine.life import State
from scheduler.engine.settlement import Place, Settlement
from scheduler.metrics import PartitionCollector, SchedulerMetrics
from scheduler.schedule import Outcome, Reason, Rejected, Schedule
from worker.metrics import Metrics as WorkerMetrics

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
PLACE = Place("schedules", 3, "history", "dead-letters")
OF_THE_LIBRARY = ("process_", "python_")


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def metrics(registry):
    return SchedulerMetrics(registry)


def settlement(outcome, *, due_ms=10_000, lateness_ms=5):
    if outcome is Outcome.REJECTED:
        subject = Rejected(b"k", b"v", [], 1, 0, Reason.BAD_EPOCH, "no")
    else:
        subject = Schedule(b"k", b"v", due_ms, "target", None, None, [], [], 0, 1)
    return Settlement(subject, outcome, due_ms, lateness_ms, 1, None)


def exposed(registry):
    """Name, type and labels of each metric as it is served, without the `_created` series of the library."""
    text = generate_latest(registry).decode()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    labels = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = re.sub(r"_(bucket|count|sum)$", "", sample.name) if sample.name not in types else sample.name
            labels.setdefault(name, set()).update(set(sample.labels) - {"le"})
    return {(name, kind, frozenset(labels[name])) for name, kind in types.items() if not name.endswith("_created")}


def test_the_page_lists_every_metric_with_its_type_and_labels(registry, metrics):
    metrics.partitions_seen("schedules", 4, 0)
    standing = Standing(State.RUNNING, 1, 0, 10_000, restore_seconds=0.5)
    registry.register(PartitionCollector(lambda: {("schedules", 3): standing}, lambda: {("schedules", 3): 0}))
    of_a_worker = CollectorRegistry()
    WorkerMetrics(of_a_worker, "cluster-a").ended("succeeded")
    served = exposed(registry) | exposed(of_a_worker)
    rows = re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \| (.*?) ?\|", PAGE.read_text(), re.MULTILINE)
    listed = [(name, kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows]

    assert len(listed) == len(set(listed))
    assert set(listed) == {metric for metric in served if not metric[0].startswith(OF_THE_LIBRARY)}
    assert {metric[0].partition("_")[0] + "_" for metric in served} >= set(OF_THE_LIBRARY)


def test_the_page_names_every_value_of_a_label(registry, metrics):
    del metrics
    text = PAGE.read_text()
    values = {
        value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
        for label, value in sample.labels.items()
        if label in ("type", "kind", "event")
    } | {state.value for state in State}

    assert [value for value in values if f"`{value}`" not in text] == []


@pytest.mark.parametrize(
    ("outcome", "due_ms", "expected"),
    [
        (Outcome.FIRED, 10_000, {"triggered": 1}),
        (Outcome.FIRED, 9_999, {"triggered": 1, "missed": 1}),
        (Outcome.MISFIRED, 10_000, {"missed": 1}),
        (Outcome.MISFIRED, 9_999, {"missed": 1}),
        (Outcome.CANCELLED, 9_999, {"deleted": 1}),
        (Outcome.REJECTED, 0, {"invalid": 1}),
        (Outcome.UNDELIVERABLE, 9_999, {"undeliverable": 1}),
        (None, 9_999, {}),
    ],
)
def test_each_outcome_is_counted_under_its_word(registry, metrics, outcome, due_ms, expected):
    metrics.settled(PLACE, [settlement(outcome, due_ms=due_ms)], 0.01, running_since_ms=10_000)

    words = ("planned", "triggered", "missed", "invalid", "deleted", "undeliverable")
    found = {word: registry.get_sample_value("kafka_scheduler_event_total", {"type": word}) for word in words}
    assert found == {**dict.fromkeys(words, 0), **expected}
    fired = registry.get_sample_value("scheduler_fire_lateness_seconds_count")
    assert fired == (outcome is Outcome.FIRED)
    assert registry.get_sample_value("scheduler_transaction_schedules_sum") == 1


def test_failures_are_counted_by_kind(registry, metrics):
    metrics.failed(PLACE, Kind.ABORTABLE)
    metrics.not_fenced(PLACE)
    metrics.fenced(PLACE, 0.5)

    found = {kind: registry.get_sample_value("scheduler_transaction_failures_total", {"kind": kind}) for kind in Kind}
    assert found == {**dict.fromkeys(Kind, 0), Kind.ABORTABLE: 1}
    assert registry.get_sample_value("scheduler_fence_failures_total") == 1
    assert registry.get_sample_value("scheduler_fence_seconds_sum") == 0.5


def test_what_is_not_known_of_a_partition_is_left_out(registry):
    standings = {("schedules", 0): Standing(State.RESTORING, 0, 0, None)}
    registry.register(PartitionCollector(lambda: standings, dict))

    def places(name):
        return [
            sample.labels["partition"]
            for family in registry.collect()
            if family.name == name
            for sample in family.samples
        ]

    assert places("scheduler_pending_schedules") == ["0"]
    for name in ("next_due_timestamp_seconds", "restore_seconds", "consumer_lag_records"):
        assert places(f"scheduler_{name}") == []
    standings.clear()
    assert places("scheduler_pending_schedules") == places("scheduler_partition_state") == []
