"""Records of one partition that are to be read again, and the keys that have to wait until they were.

Of a far version that is due, or of which something is to be told, the body is missing. And what a restore found
cancelled or refused is in doubt until its record is read again. The cleaner may have passed while the log was read, and
have taken the tombstone that told of it, or that the version had fired: a newer record hides that. It cleans in the
order of the log, so it took this one before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Wants:
    """A record is wanted, then asked for, and then it is there, or gone from the log."""

    def __init__(self) -> None:
        self.starving: set[bytes] = set()
        """Keys about which nothing can be said before a record is there, or gone."""
        self.doubtful: dict[int, bytes] = {}
        """Offsets of records that are in doubt, each with its key."""
        self._wanted: set[int] = set()
        self._asked_for: set[int] = set()

    def want(self, offset: int) -> None:
        """Without the record there a version cannot be delivered or changed."""
        self._wanted.add(offset)

    def starve(self, key: bytes, offsets: Iterable[int]) -> None:
        """Without the records there nothing can be said about the key."""
        if key not in self.starving:
            self.starving.add(key)
            self._wanted.update(offsets)

    def take(self) -> list[int]:
        """The offsets of those that are to be asked for now; each is told once, until it has come."""
        wanted = [*(self._wanted - self._asked_for)]
        self._asked_for |= self._wanted
        self._wanted.clear()
        return wanted

    def asked_for(self, offsets: Iterable[int]) -> None:
        """These are asked for without having been wanted."""
        self._asked_for.update(offsets)

    def came(self, offset: int) -> None:
        """The record there was read again, or is gone: all is known of it, also by who has wanted it meanwhile."""
        self._asked_for.discard(offset)
        self._wanted.discard(offset)

    # -- doubt ---------------------------------------------------------------------------------------

    def doubt(self, offsets: dict[int, bytes]) -> None:
        """What is told of the records there, of these keys, is in doubt from now on."""
        self.doubtful = offsets

    def confirm(self, offset: int) -> bytes | None:
        """The record there was read again: the key, where it was in doubt. What was not asked for proves nothing."""
        return self.doubtful.pop(offset, None) if offset in self._asked_for else None

    def refute(self, offset: int) -> bytes | None:
        """The record there is gone: the key, where it was in doubt."""
        return self.doubtful.pop(offset, None)

    def clear(self) -> None:
        """Nothing is wanted any more, whatever is on its way."""
        self.starving.clear()
        self._wanted.clear()
        self._asked_for.clear()
        self.doubtful.clear()
