"""`planner next`: instants of a crontab, of an entry, of an expression."""

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
NAME=nightly
CRON_TZ=Europe/Riga
30 2 * * *  report
CRON_TZ=America/New_York
NAME=evening
0 19 * * *  sweep
"""


def test_an_expression_has_one_instant_a_line_with_its_offset(planner_at_noon: Planner) -> None:
    """In Riga the clock goes from 03:00 to 04:00 on 28 March 2027."""
    arguments = ["--timezone", "Europe/Riga", "--from", "2027-03-28T02:10:00+02:00", "--count", "3"]

    assert planner_at_noon("next", "--cron", "*/30 * * * *", *arguments) == (
        ExitCode.OK,
        "2027-03-28T02:30:00+02:00\n2027-03-28T04:00:00+03:00\n2027-03-28T04:30:00+03:00\n",
        "",
    )


def test_the_start_is_no_occurrence_of_its_own(planner_at_noon: Planner) -> None:
    out = planner_at_noon("next", "--cron", "0 0 29 2 *", "--from", "2028-02-29T00:00:00Z", "--count", "2").out

    assert out == "2032-02-29T00:00:00+00:00\n2036-02-29T00:00:00+00:00\n"


def test_ten_from_now_in_utc_are_the_default(planner_at_noon: Planner) -> None:
    lines = planner_at_noon("next", "--cron", "@hourly").out.splitlines()

    assert (lines[0], len(lines)) == ("2030-01-01T13:00:00+00:00", 10)


def test_a_period_counts_from_the_start_to_the_millisecond(planner_at_noon: Planner) -> None:
    out = planner_at_noon("next", "--cron", "@every 1500ms", "--count", "2").out

    assert out == "2030-01-01T12:00:01.500+00:00\n2030-01-01T12:00:03+00:00\n"


def test_a_crontab_has_the_occurrences_of_all_in_their_order(planner_at_noon: Planner) -> None:
    Path("jobs").write_text(CRONTAB)

    assert planner_at_noon("next", "jobs", "--count", "3").out == (
        "2030-01-01T19:00:00-05:00  evening\n2030-01-02T02:30:00+02:00  nightly\n2030-01-02T19:00:00-05:00  evening\n"
    )


def test_one_entry_is_found_by_its_name(planner_at_noon: Planner) -> None:
    Path("jobs").write_text(CRONTAB)

    out = planner_at_noon("next", "jobs", "--job", "nightly", "--count", "2").out

    assert out == "2030-01-02T02:30:00+02:00\n2030-01-03T02:30:00+02:00\n"


def test_jitter_is_in_the_instants(planner_at_noon: Planner) -> None:
    out = planner_at_noon(
        "next", "-", "--count", "1", "--job", "nightly", stdin=b"JITTER=1h\nNAME=nightly\n@daily x"
    ).out

    assert out == "2030-01-02T00:13:51.873+00:00\n"


def test_json_says_whose_they_are(planner_at_noon: Planner) -> None:
    Path("jobs").write_text(CRONTAB)

    document = json.loads(planner_at_noon("next", "jobs", "--json", "--count", "1").out)

    assert document == {
        "path": "jobs",
        "occurrences": [
            {
                "at": "2030-01-01T19:00:00-05:00",
                "job": "evening",
                "id": "evening",
                "file": None,
                "line": 6,
                "cron": "0 19 * * *",
                "timezone": "America/New_York",
                "cluster": "cluster-a",
            }
        ],
    }
    assert json.loads(planner_at_noon("next", "--cron", "@daily", "--json", "--count", "1").out) == {
        "cron": "@daily",
        "timezone": "UTC",
        "occurrences": ["2030-01-02T00:00:00+00:00"],
    }


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ([], "give a crontab, or --cron"),
        (["jobs", "--cron", "@daily"], "--cron and --timezone go without a crontab"),
        (["jobs", "--timezone", "UTC"], "--cron and --timezone go without a crontab"),
        (["--cron", "@daily", "--job", "x"], "no --job"),
        (["--cron", "0 61 * * *"], "--cron: column 3: hour: 61 is out of range, 0 to 23"),
        (["--cron", ""], "--cron: column 1: the rule is empty"),
        (
            ["--cron", "@daily", "--timezone", "Europe/Rigga"],
            "--timezone: unknown time zone 'Europe/Rigga'; did you mean",
        ),
        (["--cron", "@daily", "--timezone", ""], "--timezone: unknown time zone ''"),
        (["--cron", "@daily", "--from", "2030-01-01"], "'2030-01-01' is not an RFC 3339 instant with offset, such as"),
        (["--cron", "@daily", "--count", "0"], "--count"),
    ],
)
def test_wrong_arguments_are_named(planner_at_noon: Planner, arguments: list[str], what: str) -> None:
    Path("jobs").write_text(CRONTAB)

    code, out, err = planner_at_noon("next", *arguments)

    assert (code, out) == (ExitCode.USAGE, "")
    assert what in err


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["jobs", "--job", "x"], "planner: jobs has no entry x; `planner check jobs` lists them\n"),
        (["empty"], "planner: empty: nothing comes after 2030-01-01T12:00:00Z\n"),
        (
            ["--cron", "* 3 25-31 3 */7", "--timezone", "Europe/Riga"],
            "planner: * 3 25-31 3 */7 does not occur after 2030-01-01T12:00:00Z\n",
        ),
        (["broken"], "broken:1:1: unknown rule '@x'; there are"),
    ],
)
def test_what_has_no_answer_says_so(planner_at_noon: Planner, arguments: list[str], what: str) -> None:
    Path("jobs").write_text(CRONTAB)
    Path("empty").write_text("")
    Path("broken").write_text("@x y")

    code, out, err = planner_at_noon("next", *arguments)

    assert (code, out) == (ExitCode.BAD_INPUT, "")
    assert err.startswith(what)
