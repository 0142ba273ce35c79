"""What the documents say of jobs and workers is what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from scheduler.job import FailedAttempt, Job, Retry, json_schema
from worker.cli import command
from worker.guardian import PASSED_ON
from worker.metrics import Metrics
from worker.outcome import Outcome

DOCS = Path(__file__).parents[3] / "docs"


def test_the_schema_document_is_the_models() -> None:
    # python -m worker schema > docs/job.schema.json
    assert json.loads((DOCS / "job.schema.json").read_text()) == json_schema()


def test_the_command_prints_the_schema() -> None:
    printed = CliRunner().invoke(command, ["schema"])

    assert json.loads(printed.output) == json_schema()


def test_every_field_is_described_in_the_schema_and_named_in_the_contract() -> None:
    contract = (DOCS / "contract.md").read_text()
    for model in (Job, Retry, FailedAttempt):
        for name, field in model.model_fields.items():
            assert f"`{name}`" in contract, name
            assert field.description or model is FailedAttempt, name


def test_the_workers_page_names_every_variable_outcome_and_metric() -> None:
    page = (DOCS / "workers.md").read_text()
    registry = CollectorRegistry()
    Metrics(registry, "a")
    metrics = {
        sample.name for family in registry.collect() for sample in family.samples if sample.name.startswith("worker_")
    }
    metrics |= {"worker_runs_total"}
    metrics = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in metrics}

    named = [*PASSED_ON, *Outcome, *(name for name in metrics if not name.endswith("_created"))]
    assert [name for name in named if f"`{name}" not in page] == []
