"""Which group metadata is checked by the coordinator."""

from __future__ import annotations

import struct

import pytest

from worker.ledger import fences


def metadata(generation: int, member: bytes) -> bytes:
    return b"CGMDv2:" + struct.pack("=i", generation) + b"group\0" + member + b"\0" + b"\x01"


@pytest.mark.parametrize(
    ("given", "checked"),
    [
        (metadata(7, b"consumer-1"), True),
        (metadata(-1, b"consumer-1"), False),
        (metadata(0, b"consumer-1"), False),
        (metadata(7, b""), False),
        (metadata(-1, b""), False),
        (b"", False),
    ],
)
def test_only_a_generation_and_a_member_fence(given: bytes, checked: bool) -> None:
    assert fences(given) is checked
