r"""Schedule ids as text: what is not UTF-8 is shown as `\xNN`, and found again by that text."""

from __future__ import annotations

import base64
import re
from itertools import product
from typing import Literal

from scheduler.schedule import display

Encoding = Literal["text", "base64"]

_ESCAPE = re.compile(r"\\x([89a-f][0-9a-f])")
_MOST_MIXED = 6
"""Escapes of one id that are tried in every combination; with more, they are all escapes or all text."""


def keys_shown_as(text: str) -> list[bytes]:
    r"""Every key that is shown as the text: itself first, then those of which `\xNN` stands for a byte."""
    parts = _ESCAPE.split(text)
    literal, escapes = parts[::2], parts[1::2]
    mixed = len(escapes) <= _MOST_MIXED
    choices = (
        product((False, True), repeat=len(escapes)) if mixed else ((each,) * len(escapes) for each in (False, True))
    )
    keys = (_key(literal, escapes, choice) for choice in choices)
    return [key for key in keys if display(key) == text]


def _key(literal: list[str], escapes: list[str], as_bytes: tuple[bool, ...]) -> bytes:
    key = literal[0].encode()
    for escape, is_byte, text in zip(escapes, as_bytes, literal[1:], strict=True):
        key += (bytes.fromhex(escape) if is_byte else rf"\x{escape}".encode()) + text.encode()
    return key


def as_text(raw: bytes) -> tuple[str, Encoding]:
    """Bytes for JSON: as text where they are UTF-8, in base64 otherwise."""
    try:
        return raw.decode("utf-8"), "text"
    except UnicodeDecodeError:
        return base64.b64encode(raw).decode("ascii"), "base64"


def as_bytes(text: str, encoding: Encoding) -> bytes:
    """The bytes of a text from JSON.

    Raises:
        ValueError: it is not base64.
    """
    return text.encode() if encoding == "text" else base64.b64decode(text, validate=True)
