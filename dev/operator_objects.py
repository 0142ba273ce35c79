"""Hold what is for the Prometheus operator against its own definitions: `make check-manifests`."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
MONITORS = ROOT / "deploy" / "kubernetes" / "components" / "monitoring" / "podmonitors.yaml"
DOCS = ROOT / "docs" / "kubernetes.md"
DEFINITIONS = "cloudcoil.models.prometheus_operator.v1"
"""From a package that the Makefile installs apart: it brings a plugin into every run of pytest where it is."""


def documents() -> list[dict[str, Any]]:
    """The monitors, and the rule that the documentation's command makes of the alerts."""
    command = DOCS.read_text()
    command = command[command.index("{ printf") :].partition("| kubectl")[0]
    rule = subprocess.run(["/bin/sh", "-c", command], cwd=ROOT, check=True, capture_output=True, text=True)
    return [*yaml.safe_load_all(MONITORS.read_text()), yaml.safe_load(rule.stdout)]


def fault(document: dict[str, Any], definitions: Any) -> str | None:
    """What the operator would refuse, or drop without a word."""
    try:
        model = getattr(definitions, document["kind"]).model_validate(document)
    except ValueError as error:
        return str(error)
    known = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return None if known == document else f"a field is not known; what is known of it: {known}"


def main() -> int:
    """Say of each whether it will do."""
    definitions = import_module(DEFINITIONS)
    failed = False
    for document in documents():
        wrong = fault(document, definitions)
        failed = failed or wrong is not None
        print(f"{document['kind']} {document['metadata']['name']}: {wrong or 'ok'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
