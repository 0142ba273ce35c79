"""Customers' cancels that an owner may not have read when it wrote what comes behind them.

It may write the next version of a key that was cancelled meanwhile: that version is cancelled too. Neither its record
nor what is in force says so, which is why the cancel is remembered until no such record can come any more. Who runs
as the owner expects none but its own, and only of the keys that it is writing.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Cancels:
    """Where they stand, as far as they are remembered."""

    by_key: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    """The first and the last one of each key, since an owner's record of the key was read."""
    acted_on: int = -1
    """The newest record that an owner's has named."""

    def __len__(self) -> int:
        return len(self.by_key)

    def remember(self, key: bytes, offset: int) -> None:
        """A cancel was read."""
        first, _ = self.by_key.get(key, (offset, 0))
        self.by_key[key] = first, offset

    def written_back(self, key: bytes, replaces: int) -> tuple[int, int]:
        """An owner's version was read: the first and the last cancel that it may not know of, -1 for none."""
        self.acted_on = max(self.acted_on, replaces)
        return self.by_key.pop(key, (-1, -1))

    def ended(self, key: bytes, replaces: int) -> None:
        """An owner's tombstone was read."""
        self.acted_on = max(self.acted_on, replaces)
        if key in self.by_key and self.by_key[key][1] <= replaces:
            del self.by_key[key]

    def forget(self) -> None:
        """Forget those that all have read who may still write.

        Whoever follows a log for long would remember every cancel of a key that was not pending. An owner reads in
        order and writes one batch after another, and who comes after it writes behind its fence, having read all that
        it has written. So where a record of an owner names one behind a cancel, that owner had read the cancel when
        it took the batch, and so has everybody who writes behind that record. A record of the key that comes then takes
        the cancel into account, and would have had it forgotten itself.
        """
        acted_on = self.acted_on
        self.by_key = {key: each for key, each in self.by_key.items() if each[1] >= acted_on}

    def clear(self) -> None:
        """Nobody else writes any more."""
        self.by_key.clear()
