"""What is told and kept of a command's output."""

from __future__ import annotations

import pytest

from scheduler.clock import SystemClock
from worker.output import HEAD_BYTES, LINE_BYTES, LINES_AT_ONCE, TAIL_BYTES, Capture, Output


class StillClock(SystemClock):
    """A clock that moves when it is told to."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def captured(*chunks: bytes) -> tuple[list[str], Output]:
    lines: list[str] = []
    capture = Capture(lines.append, StillClock())
    for chunk in chunks:
        capture.feed(chunk)
    return lines, capture.close()


def test_lines_are_told_whole_however_they_arrive() -> None:
    lines, output = captured(b"on", b"e\ntwo\r\n", b"\nlast")

    assert lines == ["one", "two", "", "last"]
    assert output.text == "one\ntwo\r\n\nlast"
    assert output.last_line == "last"


def test_bytes_that_are_not_utf8_are_shown_and_break_nothing() -> None:
    lines, output = captured(b"caf\xe9 \xff\n")

    assert lines == ["caf\\xe9 \\xff"]
    assert output.last_line == "caf\\xe9 \\xff"


def test_a_line_too_long_is_cut_and_says_so() -> None:
    lines, _ = captured(b"x" * (LINE_BYTES + 100) + b"\nnext\n")

    assert lines == ["x" * LINE_BYTES + " [... 100 bytes cut]", "next"]


def test_of_much_output_head_and_tail_are_kept_around_a_mark() -> None:
    middle = 1_000_000
    _, output = captured(b"a" * HEAD_BYTES, *[b"b" * 1000] * (middle // 1000), b"c" * TAIL_BYTES)

    assert output.text == f"{'a' * HEAD_BYTES}\n[... {middle} bytes left out ...]\n{'c' * TAIL_BYTES}"
    assert output.total_bytes == HEAD_BYTES + middle + TAIL_BYTES


@pytest.mark.parametrize("size", [HEAD_BYTES - 1, HEAD_BYTES + TAIL_BYTES])
def test_output_that_fits_is_kept_whole(size: int) -> None:
    _, output = captured(*[b"x"] * size)

    assert output.text == "x" * size


def test_the_last_line_is_the_last_that_is_not_blank_and_is_cut() -> None:
    _, output = captured(b"said " + b"z" * 300 + b"\n \n\n")

    assert len(output.last_line) == 200
    assert output.last_line.startswith("said zzz")
    assert output.last_line.endswith("…")


def test_a_flood_of_lines_is_counted_instead_of_told() -> None:
    lines, output = captured(*[b"y\n" * 1000] * 20)

    assert len(lines) == LINES_AT_ONCE
    assert output.untold_lines == 20_000 - LINES_AT_ONCE
    assert output.total_bytes == 40_000


def test_after_a_flood_lines_are_told_again() -> None:
    lines: list[str] = []
    clock = StillClock()
    capture = Capture(lines.append, clock)
    capture.feed(b"y\n" * (LINES_AT_ONCE + 1) + b"ha")
    clock.now += 1
    capture.feed(b"lf\nback\n")

    assert lines[-2:] == ["half", "back"]
