"""What the documents say is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import SecretStr

from dev.diagram import life
from scheduler import wire
from scheduler.engine.life import TRANSITIONS, State
from scheduler.runtime.settings import Settings
from scheduler.schedule import Misfire, Outcome

ROOT = Path(__file__).parents[3]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _shown(default: object) -> str:
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    if default is True:
        return "true"
    return ",".join(default) if isinstance(default, list) else str(default or "")


def test_readme_lists_every_setting_with_its_default():
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (?:`(.*)`)? ?\| .+ \|$", read("README.md"), re.MULTILINE))
    settings = {name.upper(): _shown(field.default) for name, field in Settings.model_fields.items()}

    assert rows == settings


def test_contract_names_every_header():
    contract = read("docs/contract.md")

    assert [name for name in wire.STATED | wire.REPORTED if f"`{name}" not in contract] == []
    assert [word for word in (*Outcome, *Misfire) if f"`{word}`" not in contract] == []


def test_diagram_is_the_engines_table():
    assert life() in read("docs/how-it-works.md")


def test_every_state_can_be_left_and_ends_closed():
    for state in State:
        reachable = {state}
        for _ in State:
            reachable |= {to for (frm, _), to in TRANSITIONS.items() if frm in reachable}
        assert State.CLOSED in reachable


def test_links_between_documents_lead_somewhere():
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
