"""A crontab's text, and what is read from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.crontab import Crontab, read_crontab
from planner.job_settings import JobSettings
from scheduler.schedule import Misfire

CLUSTERS = ["cluster-a", "cluster-b"]
NOON = 1_893_499_200_000
"""2030-01-01T12:00:00Z"""
DAYS = "sun, mon, tue, wed, thu, fri, sat"
SIX = (
    "1:{}: 6 fields where there are 5; a rule has five fields: minute, hour, day of month, month, day of week; "
    "there are none for seconds or years, `@every 10s` is finer than a minute"
)
ANACRON = "a line of an anacrontab: days, minutes of delay, name, command; give it a time, such as 5 3 * * *"
EXAMPLE = Path(__file__).parents[3] / "examples" / "crontab.txt"


def read(text: str | bytes) -> Crontab:
    return read_crontab(text if isinstance(text, bytes) else text.encode(), clusters=CLUSTERS)


def read_well(text: str | bytes) -> Crontab:
    crontab = read(text)
    assert crontab.errors == ()
    return crontab


def errors(text: str | bytes) -> list[str]:
    return [str(error) for error in read(text).errors]


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("", []),
        ("\n \t\n# comment\n\t # another: ünïcödé\n", []),
        ("* * * * * echo hello", [(1, "* * * * *", "echo hello")]),
        ("\n5 0 * * * a\n# b\n@daily c\n", [(2, "5 0 * * *", "a"), (4, "@daily", "c")]),
        ("  */5\t1-3  *  jan\tmon  run  two words", [(1, "*/5 1-3 * jan mon", "run  two words")]),
        ("@hourly\trun", [(1, "@hourly", "run")]),
        ("@every   90s   run it", [(1, "@every 90s", "run it")]),
        ("* * * * * run # not a comment", [(1, "* * * * *", "run # not a comment")]),
        ("* * * * * run  \t ", [(1, "* * * * *", "run")]),
        ("* * * * * run a\\ ", [(1, "* * * * *", "run a\\ ")]),
        ("* * * * * one\r\n@daily two\r\n", [(1, "* * * * *", "one"), (2, "@daily", "two")]),
        (b"\xef\xbb\xbf* * * * * marked", [(1, "* * * * *", "marked")]),
        (b"# caf\xe9 in Latin-1\n@daily run", [(2, "@daily", "run")]),
        ("* * * * * FOO=bar run", [(1, "* * * * *", "FOO=bar run")]),
        ("@daily FOO=bar run", [(1, "@daily", "FOO=bar run")]),
        ("* * * * * grüße", [(1, "* * * * *", "grüße")]),
        ("* * * * * a\u2028b", [(1, "* * * * *", "a\u2028b")]),
        ("* * * * * 7z x", [(1, "* * * * *", "7z x")]),
    ],
)
def test_entries(text: str | bytes, parsed: list[tuple[int, str, str]]) -> None:
    assert [(entry.line, entry.rule.text, entry.command) for entry in read_well(text).entries] == parsed


@pytest.mark.parametrize(
    ("command", "cluster", "rest"),
    [
        ("run", "cluster-a", "run"),
        ("cluster-a run", "cluster-a", "run"),
        ("cluster-b   run it", "cluster-b", "run it"),
        ("cluster-c run", "cluster-a", "cluster-c run"),
        ("cluster-b-backup run", "cluster-a", "cluster-b-backup run"),
        ("run cluster-b", "cluster-a", "run cluster-b"),
    ],
)
@pytest.mark.parametrize("time", ["* * * * * ", "@daily\t", "@every 5s  "])
def test_an_entry_runs_on_the_cluster_that_it_names_else_on_the_first(
    time: str, command: str, cluster: str, rest: str
) -> None:
    entry = read_well(time + command).entries[0]

    assert (entry.cluster, entry.command) == (cluster, rest)


def test_a_cluster_setting_is_the_default_below_it_and_a_word_wins_over_it() -> None:
    crontab = read_well('@daily a\nCLUSTER=cluster-b\n@daily b\n@daily cluster-a c\nCLUSTER=""\n@daily d\n')

    assert [entry.cluster for entry in crontab.entries] == ["cluster-a", "cluster-b", "cluster-a", "cluster-a"]


@pytest.mark.parametrize(
    ("written", "command", "stdin"),
    [
        ("run", "run", None),
        ("run%", "run", None),
        ("run%one", "run", "one\n"),
        ("run  %one%two", "run", "one\ntwo\n"),
        ("run%one%", "run", "one\n"),
        ("run%%", "run", "\n"),
        ("run% kept ", "run", " kept \n"),
        (r"date +\%F", "date +%F", None),
        (r"date +\%F%a\%b%c", "date +%F", "a%b\nc\n"),
        (r"grep a\.b", r"grep a\.b", None),
        (r"grep a\\b", r"grep a\b", None),
        (r"run \\%in", "run \\", "in\n"),
        (r"run%a\b\\%c", "run", "a\\b\\%c\n"),
        ("run\\", "run\\", None),
    ],
)
def test_percent_signs_divide_a_command_from_its_input_as_in_debian_cron(
    written: str, command: str, stdin: str | None
) -> None:
    entry = read_well("@daily " + written).entries[0]

    assert (entry.command, entry.stdin) == (command, stdin)


@pytest.mark.parametrize(
    ("line", "environment"),
    [
        ("A=b", {"A": "b"}),
        ("  A =  b c \t", {"A": "b c"}),
        ('A="  b "', {"A": "  b "}),
        ("A='b\"c'", {"A": 'b"c'}),
        ("A=b'c'", {"A": "b'c'"}),
        ('A=""', {"A": ""}),
        ("'A'=b", {"A": "b"}),
        ('"A b" = c', {"A b": "c"}),
        ("A=b=c", {"A": "b=c"}),
        ("A=b # c", {"A": "b # c"}),
        ("A=$HOME", {"A": "$HOME"}),
        ("max_attempts=3", {"max_attempts": "3"}),
        ("SHELL=/bin/bash\nPATH=/bin\nSHELL=/bin/sh", {"SHELL": "/bin/sh", "PATH": "/bin"}),
    ],
)
def test_other_variables_are_the_commands_own(line: str, environment: dict[str, str]) -> None:
    assert read_well(f"{line}\n@daily run").entries[0].environment == environment


def test_variables_hold_for_the_lines_below_them_only() -> None:
    crontab = read_well("@daily a\nX=1\n@daily b\nX=2\nY=3\n@daily c\n")

    assert [dict(entry.environment) for entry in crontab.entries] == [{}, {"X": "1"}, {"X": "2", "Y": "3"}]


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        ("CRON_TZ=Europe/Riga", JobSettings(timezone="Europe/Riga")),
        ("MAX_ATTEMPTS=3", JobSettings(max_attempts=3)),
        ("TIMEOUT = 1m30s", JobSettings(timeout_ms=90_000)),
        ("RETRY_DELAY='250ms'", JobSettings(retry_delay_ms=250)),
        ("RETRY_DELAY=0s", JobSettings(retry_delay_ms=0)),
        ("RETRY_FACTOR=1.5", JobSettings(retry_factor=1.5)),
        ("RETRY_MAX_DELAY=PT1H", JobSettings(retry_max_delay_ms=3_600_000)),
        ("MISFIRE=skip", JobSettings(misfire=Misfire.SKIP)),
        ("MISFIRE_GRACE=600s", JobSettings(misfire_grace="10m")),
        ("CLUSTER=cluster-b", JobSettings(cluster="cluster-b")),
        ("OVERLAP=replace", JobSettings(overlap="replace")),
        ('OVERLAP=forbid\nOVERLAP=""', JobSettings()),
        ("JITTER=0s", JobSettings()),
        ('TIMEOUT=30s\nTIMEOUT=""', JobSettings()),
        ("CRON_TZ=Asia/Tokyo\nCRON_TZ=''", JobSettings()),
    ],
)
def test_settings_hold_below_their_line_until_an_empty_one(line: str, settings: JobSettings) -> None:
    above, below = read_well(f"@hourly above\n{line}\n@hourly below").entries

    assert (above.settings, below.settings, below.environment) == (JobSettings(), settings, {})


def test_a_zone_is_that_of_the_entries_below_it() -> None:
    crontab = read_well("0 3 * * * a\nCRON_TZ=Europe/Riga\n0 3 * * * a\nCRON_TZ=UTC\n0 4 * * * a\n")

    assert [entry.rule.timezone for entry in crontab.entries] == ["UTC", "Europe/Riga", "UTC"]


def test_a_name_is_the_next_entry_s_id_and_no_other_s() -> None:
    named, other = read_well("NAME=nightly\n# about it\nX=1\n@daily run\n@hourly run\n").entries

    assert (named.id, named.job_name) == ("nightly", "nightly")
    assert other.name is None


@pytest.mark.parametrize(
    ("command", "job"),
    [
        ("/usr/bin/backup.sh --all", "backup.sh"),
        ("LANG=C X=1 sort", "sort"),
        ("[ -f x ] && y", "job"),
        ("./run;", "run"),
        ("A=1", "job"),
        ("x" * 60, "x" * 40),
    ],
)
def test_an_entry_without_a_name_is_called_by_its_program_and_the_start_of_its_id(command: str, job: str) -> None:
    entry = read_well("@daily " + command).entries[0]

    assert entry.job_name == f"{job}-{entry.id[:4]}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 30 * * * run", ["1:3: hour: 30 is out of range, 0 to 23"]),
        (
            " \t0  9-5 * * * run",
            ["1:6: hour: the range '9-5' is reversed; write 9-23,0-5"],
        ),
        (
            "oops",
            ["1:5: 1 field where there are 5; a rule has five fields: minute, hour, day of month, month, day of week"],
        ),
        (
            "@reboot run",
            ["1:1: unknown rule '@reboot'; a schedule knows no start of a machine; give it a time, or `@every 1h`"],
        ),
        ("  @Daily run", ["1:3: unknown rule '@Daily'; write @daily"]),
        ("@every 10ms run", ["1:8: a period of 10ms is too short; the shortest is 100ms"]),
        (
            "0 0 12 * * * run",
            [
                (
                    "1:12: 6 fields where there are 5; a rule has five fields: minute, hour, day of month, month, "
                    "day of week; there are none for seconds or years, `@every 10s` is finer than a minute"
                )
            ],
        ),
        (
            "0 0 9 * * MON-FRI run",
            [
                (
                    "1:11: 6 fields where there are 5; a rule has five fields: minute, hour, day of month, month, "
                    "day of week; there are none for seconds or years, `@every 10s` is finer than a minute"
                )
            ],
        ),
        ("@monthly 15", ["1:10: nothing may follow @monthly"]),
        ("0 0 9 * * MON run", [SIX.format(11)]),
        ("0 0 9 * * Friday run", [SIX.format(11)]),
        ("0 0 9 * * mon-wed run", [SIX.format(11)]),
        ("0 0 9 * * * 2030 run", [SIX.format(11).replace("6 fields", "7 fields")]),
        ("0 0 9 ? * 2 run", [SIX.format(11)]),
        ("0 9 * * monday run", [f"1:9: day of week: 'monday' is not one of {DAYS}; write mon"]),
        (
            "5x * * * * run",
            [
                (
                    "1:2: minute: cannot read '5x'; write *, a value, a range a-b, either of the two with a step /n, "
                    "or a list of them"
                )
            ],
        ),
        ("1, 2 * * * * run", ["1:1: a list that ends at '1,'; write lists without blanks, such as 1,2,3"]),
        ("@monthly\t15\tcron.monthly\trun", [f"1:1: {ANACRON}"]),
        (" 7 10 weekly  run-parts x", [f"1:2: {ANACRON}"]),
        ("UNSET=X", ["1:7: UNSET: 'X' is no variable that a line above sets"]),
        ("X=1\nUNSET=X\nUNSET=X", ["3:7: UNSET: 'X' is no variable that a line above sets"]),
        (
            "0 0 30 2 * run",
            [
                (
                    "1:5: day of month '30' never comes in month '2': the rule would never occur; "
                    "choose a day that the month has"
                )
            ],
        ),
        ("* * * * *", ["1:10: the command is missing"]),
        ("* * * * *  ", ["1:12: the command is missing"]),
        ("@daily cluster-b ", ["1:18: the command is missing"]),
        ("@daily %in", ["1:8: the command is missing"]),
        ("A=", ['1:3: A has no value; write A="" for an empty one']),
        ('A="b', ['1:3: the quote " is not closed']),
        ("A='b'c", ["1:6: something follows the closing quote; quote all of the value or nothing"]),
        ('""=b', ["1:1: a variable without a name"]),
        ("MAX_ATTEMPTS=0", ["1:14: MAX_ATTEMPTS: '0' is not a number of attempts, 1 to 10000; the first one counts"]),
        (
            "MAX_ATTEMPTS = many",
            ["1:16: MAX_ATTEMPTS: 'many' is not a number of attempts, 1 to 10000; the first one counts"],
        ),
        ("TIMEOUT=0s", ["1:9: TIMEOUT: '0s' leaves no time to run; TIMEOUT=\"\" sets no limit"]),
        ("RETRY_DELAY=366d", ["1:13: RETRY_DELAY: '366d' is over 365 days"]),
        ("RETRY_FACTOR=0.5", ["1:14: RETRY_FACTOR: '0.5' is not a factor, 1 to 100, such as 2 or 1.5"]),
        ("MISFIRE=fire", ["1:9: MISFIRE: 'fire' is not one of once, all, skip"]),
        ("CLUSTER=mars", ["1:9: CLUSTER: 'mars' is not a cluster; there are cluster-a, cluster-b"]),
        ("CRON_TZ=Europe/Rigga", ["1:9: CRON_TZ: unknown time zone 'Europe/Rigga'; did you mean Europe/Riga?"]),
        ("NAME=a b", ["1:6: NAME: 'a b' is not a name; use letters, digits, '.', '_' and '-', at most 100"]),
        ("@daily a\nNAME=x", ["2:1: NAME=x is followed by no entry that it could name"]),
        ("NAME=x\nNAME=y\n@daily a", ["1:1: NAME=x is followed by no entry that it could name"]),
        ("OVERLAP=wait", ["1:9: OVERLAP: 'wait' is not one of allow, forbid, replace"]),
        ("JITTER=366d", ["1:8: JITTER: '366d' is over 365 days"]),
        (
            "JITTER=5",
            [
                (
                    "1:8: JITTER: '5' is not a duration: write it like 250ms, 90s, 15m, 2h, 1d, 1h30m (largest unit "
                    "first), or in ISO 8601 like PT15M, P1DT2H"
                )
            ],
        ),
        (b"@daily caf\xe9", ["1:11: byte 0xe9 is not UTF-8; save the file as UTF-8"]),
        ("@daily über".encode() + b" \xff", ["1:13: byte 0xff is not UTF-8; save the file as UTF-8"]),
        ("@daily a\r@daily b", ["1:9: a carriage return inside the line; remove it"]),
        ("@daily a\0b", ["1:9: control character U+0000; remove it"]),
        ("\ufeff@daily a".encode("utf-16-le"), ["1:1: the file is UTF-16; save it as UTF-8"]),
        (
            "@daily a\n\n @daily  a",
            [
                (
                    "3:2: time, zone, cluster and command as in line 1: it would be the same schedule; "
                    "give one of them a NAME, or remove it"
                )
            ],
        ),
        (
            "NAME=x\n@daily a\nNAME=x\n@hourly b",
            ["4:1: the name x as in line 2: it would be the same schedule"],
        ),
    ],
)
def test_errors_name_the_place_and_what_to_do(text: str | bytes, expected: list[str]) -> None:
    assert errors(text) == expected


def test_every_error_of_a_file_is_told_in_its_order() -> None:
    text = "61 * * * * a\nNAME=lost\nTIMEOUT=soon\n@daily good\n* * * * *\nCRON_TZ=Mars\n0 3 * * * b\nNAME=unused\n"

    assert [error.split(":", 1)[0] for error in errors(text)] == ["1", "3", "5", "6", "8"]


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("MAILTO=root", "1:1: MAILTO is not used: a run's output goes to the worker's log"),
        ('MAILTO=""', "1:1: MAILTO is not used: a run's output goes to the worker's log"),
        ("TZ=Europe/Riga", "1:1: TZ is a variable for the commands; times are in CRON_TZ"),
        (
            "RANDOM_DELAY=30",
            "1:1: RANDOM_DELAY is a variable for the commands; JITTER=5m spreads entries over five minutes",
        ),
        (
            "@daily root run\n@hourly root run",
            "1:8: 'root' is taken for the command; a file with a user column is --system",
        ),
        (
            "MAX_ATEMPTS=3",
            "1:1: MAX_ATEMPTS is a variable for the commands; if you meant MAX_ATTEMPTS, write that",
        ),
    ],
)
def test_what_has_no_effect_or_perhaps_another_is_noted(line: str, note: str) -> None:
    assert [str(remark) for remark in read_well(line).notes] == [note]


@pytest.mark.parametrize("line", ["OVERLAP=allow", "SHELL=/bin/bash", "HOME=/root", "TIME=1", "@daily root"])
def test_what_means_what_it_says_is_not_noted(line: str) -> None:
    assert read_well(line).notes == ()


def test_mailto_is_no_variable_of_the_commands() -> None:
    assert read_well("MAILTO=root\n@daily run").entries[0].environment == {}


# ---------------------------------------------------------------- the user column


def read_system(text: str) -> Crontab:
    return read_crontab(text.encode(), clusters=CLUSTERS, system=True)


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        ("17 * * * *\troot  cd / && run", ("root", "cluster-a", "cd / && run")),
        ("@daily www-data cluster-b run", ("www-data", "cluster-b", "run")),
        ("@every 5s _apt\trun", ("_apt", "cluster-a", "run")),
        ("* * * * * cluster-b run", ("cluster-b", "cluster-a", "run")),
        ("* * * * * machine$ run", ("machine$", "cluster-a", "run")),
    ],
)
def test_a_user_stands_between_time_and_command(line: str, parsed: tuple[str, str, str]) -> None:
    (entry,) = read_system(line).entries

    assert (entry.user, entry.cluster, entry.command) == parsed


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("* * * * * root", "1:15: the command is missing"),
        ("* * * * *", "1:10: the user and the command are missing"),
        (
            "* * * * * /bin/run it",
            "1:11: '/bin/run' is not the name of a user; a file without a user column is read without --system",
        ),
        ("0 0 12 * * * root run", SIX.format(12)),
        (
            "@reboot root run",
            "1:1: unknown rule '@reboot'; a schedule knows no start of a machine; give it a time, or `@every 1h`",
        ),
    ],
)
def test_a_line_without_the_user_is_refused(line: str, error: str) -> None:
    assert [str(one) for one in read_system(line).errors] == [error]


def test_that_workers_do_not_change_the_user_is_said_once() -> None:
    notes = read_system("@daily root a\n@daily mail b\n").notes

    assert [str(note) for note in notes] == [
        "1:8: a user is carried in the job; workers run commands as their own user"
    ]


def test_two_users_same_command_is_two_schedules() -> None:
    one, other = read_system("@daily root a\n@daily mail a\n").entries

    assert one.id != other.id


# ---------------------------------------------------------------- where settings are from


def test_an_entry_knows_the_lines_of_what_is_in_force() -> None:
    text = 'TIMEOUT=5m\nX=1\n@daily a\nTIMEOUT=""\nX=2\nJITTER=1m\n@daily b\nUNSET=X\n@daily c\n'
    a, b, c = read_well(text).entries

    assert a.given == {"TIMEOUT": (1, "5m"), "X": (2, "1")}
    assert b.given == {"X": (5, "2"), "JITTER": (6, "1m")}
    assert c.given == {"JITTER": (6, "1m")}


def test_a_variable_that_is_unset_is_gone_below_only() -> None:
    a, b = read_well('X=1\n"Y y"=2\n@daily a\nUNSET=Y y\n@daily b').entries

    assert (a.environment, b.environment) == ({"X": "1", "Y y": "2"}, {"X": "1"})


# ---------------------------------------------------------------- jitter


def test_jitter_spreads_a_crowd_over_all_of_it() -> None:
    lines = "\n".join(f"0 3 * * * run {number}" for number in range(1000))
    shifts = sorted(entry.rule.shift_ms for entry in read_well(f"JITTER=10m\n{lines}").entries)

    assert 0 <= shifts[0] < shifts[-1] < 600_000
    for tenth in range(10):  # 100 are expected in each
        assert 60 < sum(tenth * 60_000 <= shift < (tenth + 1) * 60_000 for shift in shifts) < 140


def test_an_entry_has_its_own_part_of_the_jitter_for_ever() -> None:
    """A changed shift would move every job that was planned before."""

    def shift(text: str) -> int:
        return read_well(text).entries[-1].rule.shift_ms

    assert shift("JITTER=1h\nNAME=nightly\n0 3 * * * run") == 831_873
    assert shift("JITTER=1h\nX=1\n@hourly other\nNAME=nightly\n0 4 * * * something else") == 831_873
    assert shift("JITTER=1m\nNAME=nightly\n0 3 * * * run") == 831_873 // 60


def test_jitter_leaves_text_and_id_as_they_are() -> None:
    plain, spread = (read_well(text).entries[0] for text in ("0 3 * * * run", "JITTER=1h\n0 3 * * * run"))

    assert (plain.id, plain.rule.text, plain.rule.timezone) == (spread.id, spread.rule.text, spread.rule.timezone)
    assert (plain.rule.shift_ms, spread.rule.shift_ms > 0) == (0, True)


def test_a_period_is_spread_by_its_first_occurrence() -> None:
    lines = "\n".join(f"@every 1m run {number}" for number in range(50))
    firsts = [entry.first_after(NOON) for entry in read_well(f"JITTER=5m\n{lines}").entries]

    assert len(set(firsts)) > 45
    assert all(NOON + 60_000 <= first < NOON + 120_000 for first in firsts if first)


TIMES = st.sampled_from(["* * * * *", "0 3 * * mon", "@daily", "@every 90s"])
COMMANDS = st.sampled_from(["run", "run  twice", "cluster-b run", r"date +\%F", "cat%one%two", "grüße"])
BLANKS = st.text(" \t", min_size=1, max_size=3)
BETWEEN = st.lists(st.sampled_from(["", "  ", "# note", "\t# ünï"]), max_size=2)


@given(
    lines=st.lists(st.tuples(TIMES, COMMANDS), unique=True, max_size=8),
    data=st.data(),
)
def test_order_comments_and_blanks_leave_every_id_as_it_is(lines: list[tuple[str, str]], data: st.DataObject) -> None:
    def ids(rows: list[str]) -> dict[str, tuple[str, str]]:
        return {entry.id: (entry.rule.text, entry.command) for entry in read_well("\n".join(rows)).entries}

    plain = ids([f"{time} {command}" for time, command in lines])
    moved = []
    for time, command in data.draw(st.permutations(lines)):
        moved += data.draw(BETWEEN)
        fields = "".join(word + data.draw(BLANKS) for word in time.split(" "))
        moved.append(data.draw(st.sampled_from(["", " ", "\t"])) + fields + command)

    assert len(plain) == len(lines)
    assert ids(moved) == plain


@given(
    setting=st.sampled_from(["MAX_ATTEMPTS=3", "TIMEOUT=30s", "RETRY_DELAY=1s", "MISFIRE=all", "X=1", "MAILTO=a"]),
)
def test_settings_and_variables_leave_every_id_as_it_is(setting: str) -> None:
    def ids(text: str) -> list[str]:
        return [entry.id for entry in read_well(text).entries]

    assert ids(f"{setting}\n@daily a\n@hourly b") == ids("@daily a\n@hourly b")


@pytest.mark.parametrize(
    "other", ["@hourly a", "@daily b", "@daily cluster-b a", "CRON_TZ=Asia/Tokyo\n@daily a", "@daily a%in"]
)
def test_time_command_cluster_zone_and_input_make_another_entry(other: str) -> None:
    assert read_well("@daily a").entries[0].id != read_well(other).entries[0].id


def test_naming_the_default_cluster_keeps_the_id() -> None:
    assert read_well("@daily a").entries[0].id == read_well("@daily cluster-a a").entries[0].id


def test_ids_are_the_same_for_ever() -> None:
    """A changed digest would cancel and create every schedule that was planned before."""
    assert read_well("0 3 * * * cluster-b run%in").entries[0].id == "15e470febc78"


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_without_an_exception(content: bytes) -> None:
    for error in read(content).errors:
        assert error.line >= 1
        assert error.column >= 1


def test_the_example_reads_well() -> None:
    crontab = read_well(EXAMPLE.read_bytes())

    assert len(crontab.entries) == 7
    assert {entry.cluster for entry in crontab.entries} == set(CLUSTERS)
    assert crontab.notes == ()
