"""Starts a command line. What it is made of takes a second to load, and Ctrl-C may come before it is there."""

from __future__ import annotations

import sys
from importlib import import_module

from scheduler.errors import ExitCode


def start(module: str) -> None:
    """Load the module and run its `main`; interrupted meanwhile, end as the commands do."""
    try:
        main = import_module(module).main
    except KeyboardInterrupt:
        sys.exit(int(ExitCode.INTERRUPTED))
    main()
