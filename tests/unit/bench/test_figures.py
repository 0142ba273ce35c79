"""Figures as they are kept, and the page that they make."""

from __future__ import annotations

import pytest

from bench import report
from bench.amounts import count, number, seconds, size, spread
from bench.bars import BARS, Bar
from bench.figures import Figure, Measured, Table, keep, kept, median, now

BAR = Bar("drained", "burst", "100 at once", "ratio", least=0.7, aim=0.85)


def run(scenario: str, *, when: str = "2030-01-01T00:00:00Z", ratio: float = 0.8, others: float = 0.0) -> Measured:
    return Measured(
        scenario, when, "2 cores", 12.3, 3, others, {"100 at once": {"ratio": [ratio, ratio - 0.1, ratio + 0.1]}}
    )


def test_the_newest_of_each_scenario_is_kept_and_the_others_stay(tmp_path):
    path = tmp_path / "performance.jsonl"

    for each in (run("burst"), run("restore"), run("burst", when="2030-01-02T00:00:00Z", ratio=0.9)):
        keep(each, path)

    assert kept(path) == {"restore": run("restore"), "burst": run("burst", when="2030-01-02T00:00:00Z", ratio=0.9)}
    assert len(path.read_text().splitlines()) == 2


def test_a_line_that_is_none_is_named(tmp_path):
    path = tmp_path / "performance.jsonl"
    path.write_text(run("burst").to_json() + '\n{"scenario": "restore"}\n')

    with pytest.raises(SystemExit, match=r"performance.jsonl:2: not a line of measured figures"):
        kept(path)


def test_rounds_of_a_group_stand_together():
    table = Table()
    for value in (1.0, 2.0, 30.0):
        table.add([Figure("burst", "per second", value * 1000), Figure("idle", "cores", value / 1000)])

    assert table.rows() == [
        ("burst", ""),
        ("  per second", "2,000  (1,000 to 30,000)"),
        ("idle", ""),
        ("  cores", "0.0020  (0.0010 to 0.0300)"),
    ]


def test_what_was_measured_is_told_with_its_verdict():
    assert BAR.row({"burst": run("burst")}) == ("drained", "at least 0.70 (aim: 0.85)", "0.80  (0.70 to 0.90)", "met")
    assert BAR.row({"burst": run("burst", ratio=0.6)})[3] == "**missed**"


def test_what_was_not_measured_is_not_told():
    assert BAR.row({"restore": run("restore")})[2:] == ("not measured", "")
    with pytest.raises(SystemExit, match='"100 at once: ratio" is not in'):
        median({}, "burst", "100 at once", "ratio")


def test_the_page_holds_bounds_machines_and_figures():
    before = "".join(
        f"<!-- {mark} -->\nas it was\n<!-- end of {mark} -->\n" for mark in ("bars", "machines", "figures")
    )

    page = report.page(before, {"burst": run("burst")})

    assert "as it was" not in page
    assert "| ratio | 0.80  (0.70 to 0.90) |" in page
    assert "- burst: 2 cores" in page
    assert page.count("not measured") == len(BARS)
    assert report.page(page, {"burst": run("burst")}) == page


def test_what_was_measured_on_a_busy_machine_is_marked():
    assert BAR.row({"burst": run("burst", others=0.5)})[3] == "to be measured again"
    assert "to be measured again: burst" in report.bars({"burst": run("burst", others=0.5), "restore": run("restore")})
    assert "0.50 cores meanwhile" in report.everything({"burst": run("burst", others=0.5)})
    assert "to be measured again" not in report.bars({"burst": run("burst", others=0.05)})


def test_a_page_without_its_marks_is_named():
    with pytest.raises(SystemExit, match="<!-- bars -->"):
        report.page("no marks", {})


def test_figures_of_another_bench_are_taken_as_lists_or_as_text():
    found = report.added(
        "workers", {"figures": {"  ratio": "0.55  (0.31 to 0.57)", "jobs": [1, 2, 3], "calls": "9,000"}}
    )

    assert found.figures == {"workers": {"ratio": [0.55, 0.31, 0.57], "jobs": [1, 2, 3], "calls": [9000]}}
    with pytest.raises(SystemExit, match="ratio: neither"):
        report.added("workers", {"ratio": "much"})


def test_amounts_as_people_write_them():
    assert [number(value) for value in (0, 0.00213, 0.5, 3.14159, 42.0, 61_234.5)] == [
        "0",
        "0.0021",
        "0.50",
        "3.14",
        "42.0",
        "61,234",
    ]
    assert [count(value) for value in (3, 12_345, 1e6, 2.5e10)] == ["3.00", "12,345", "1 million", "25 billion"]
    assert [seconds(value) for value in (0.003, 7.5, 600, 10_000, 200_000)] == [
        "3 ms",
        "7.5 s",
        "10 min",
        "2.78 h",
        "2.31 d",
    ]
    assert [size(value) for value in (512, 3e6, 16e9, 7e12, 2e15)] == ["512 B", "3 MB", "16 GB", "7 TB", "2 PB"]
    assert spread([5]) == "5.00"


def test_what_is_kept_is_short():
    assert now("burst", 1.0, 1, 0.0, {"a": {"b": [1.23456789]}}).figures == {"a": {"b": [1.235]}}
