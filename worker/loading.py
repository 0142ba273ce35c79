"""Finds the registry that `worker --handlers MODULE:NAME` names."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from scheduler.errors import ConfigurationError
from worker.registry import Registry


def load(named: str) -> Registry:
    """The registry, or that of the job queue; modules in the current directory are found too.

    Raises:
        ConfigurationError: there is none.
    """
    module_name, colon, name = named.partition(":")
    if not (module_name and colon and name):
        raise ConfigurationError(f"--handlers: {named!r} is not MODULE:NAME, such as shop.jobs:jobs")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"--handlers: {named}: there is no module {error.name!r} (looked in {here} too)"
        ) from None
    except Exception as error:  # whatever a customer's module raises
        raise ConfigurationError(
            f"--handlers: {named}: importing it failed: {type(error).__name__}: {error}"
        ) from error
    found = getattr(module, name, None)
    registry = found if isinstance(found, Registry) else getattr(found, "registry", None)
    if not isinstance(registry, Registry):
        raise ConfigurationError(f"--handlers: {named}: {name} is no Registry and no JobQueue")
    return registry
