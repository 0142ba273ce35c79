"""Far versions for an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.engine.far import Versions

if TYPE_CHECKING:
    from collections.abc import Iterable


def versions(given: Iterable[tuple[bytes, int, int]], target: bytes = b"") -> Versions:
    """Of each its key, due time and offset; the target of all."""
    keys, dues, offsets = zip(*given, strict=True)
    return Versions(list(keys), list(dues), list(offsets), [target] * len(keys))
