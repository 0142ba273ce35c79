"""The life of a partition as a Mermaid diagram, drawn from the engine's own table: `python -m dev.diagram`."""

from __future__ import annotations

import click

from scheduler.engine.life import TRANSITIONS, State


def life() -> str:
    """The diagram, as it stands in docs/how-it-works.md."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.RESTORING.value}: assigned"]
    lines += [
        f"    {state.value} --> {following.value}: {fact.value}"
        for (state, fact), following in TRANSITIONS.items()
        if state is not following
    ]
    lines.append(f"    {State.CLOSED.value} --> [*]")
    return "\n".join(lines)


if __name__ == "__main__":
    click.echo(life())
