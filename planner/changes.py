"""Tells when a file or the files of a directory may have changed: at once where the system says so."""

from __future__ import annotations

import hashlib
import logging
import threading
from typing import TYPE_CHECKING

from watchfiles import watch

from scheduler.runtime.logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger("planner")

JOIN_SECONDS = 1.0
DEBOUNCE_MS = 100


def fingerprint(path: Path) -> str:
    """The same for the same content, whatever the dates say; a path that cannot be read has one too."""
    digest = hashlib.sha256()
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        for file in files:
            if file == path or (file.is_file() and not file.name.startswith(".")):
                digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    except OSError as error:
        return f"unreadable: {error.strerror}"
    return digest.hexdigest()


class Follower:
    """Calls back, on a thread of its own, when something happens to the path.

    It is the directory that is watched, also for a file: editors and ConfigMaps put another file in its place.
    """

    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        self._folder = path if path.is_dir() else path.parent
        self._changed = changed
        self._stop = threading.Event()
        # it has nothing to say that the planner's own events do not
        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        try:
            for _ in watch(
                self._folder,
                watch_filter=None,
                debounce=DEBOUNCE_MS,
                stop_event=self._stop,
                recursive=False,
                raise_interrupt=False,
            ):
                self._changed()
        except (OSError, RuntimeError) as error:
            # the caller looks by itself, too
            log.warning("changes are not told by the system", extra=fields(path=str(self._folder), error=str(error)))

    def close(self) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join(JOIN_SECONDS)
