"""The plots of the documents: SVG without a background, in colours that can be read on light and on dark."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

from bench.bars import SIZES
from bench.figures import values
from bench.scenarios import BARE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.figures import Measured
    from bench.scaling import Load
    from bench.sizing import Need

GREY, BLUE, ORANGE, GREEN = "#7a7a7a", "#2f7fd6", "#d2761b", "#2e9a57"
"""Each has a contrast of 3 at least with white and with GitHub's dark background; the grey, of text, 4."""

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "scheduler",  # the same figures are the same file
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": GREY,
    "axes.labelcolor": GREY,
    "axes.edgecolor": GREY,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}
Series = dict[str, list[float]]


def save(figure: Any, path: Path) -> None:
    """As a file that is the same for the same figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, transparent=True, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    # matplotlib ends lines with blanks
    path.write_text("\n".join(map(str.rstrip, path.read_text(encoding="utf-8").splitlines())) + "\n", encoding="utf-8")


def performance(runs: Mapping[str, Measured], path: Path) -> None:
    """What was measured, side by side; a panel without figures says so."""
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
        burst = f"{SIZES.burst:,} due at one instant"
        _bars(
            panels[0],
            f"{burst},\nfired per second",
            {
                "raw loop": values(runs, "burst", burst, "raw loop, per second"),
                "ours": values(runs, "burst", burst, "fired per second"),
                "peer": values(runs, "burst", burst, "peer, fired per second"),
            },
        )
        _lateness(panels[1], runs)
        restored = f"{SIZES.pending:,} pending of 100 bytes"
        many = f"{SIZES.many:,} pending on one replica"
        _bars(
            panels[2],
            "read at a start,\nrecords per second",
            {
                "raw\nconsumer": values(runs, "restore", restored, "raw consumer, per second"),
                f"restore,\n{SIZES.pending // 10**6} million": _rates(
                    SIZES.pending, values(runs, "restore", restored, "restored in, s")
                ),
                f"restore,\n{SIZES.many // 10**6} million": _rates(
                    SIZES.many, values(runs, "millions", many, "restored in, s")
                ),
            },
        )
        save(figure, path)


def _rates(count: int, seconds: list[float]) -> list[float]:
    return [count / each for each in seconds]


def _bars(panel: Any, title: str, series: Series) -> None:
    panel.set_title(title, loc="left")
    known = {name: found for name, found in series.items() if found}
    if not known:
        _unknown(panel)
        return
    medians = [statistics.median(found) for found in known.values()]
    below = [median - min(found) for median, found in zip(medians, known.values(), strict=True)]
    above = [max(found) - median for median, found in zip(medians, known.values(), strict=True)]
    colours = [BLUE if name == "ours" or name.startswith("restore") else ORANGE for name in known]
    drawn = panel.bar(list(known), medians, color=colours, width=0.6, yerr=[below, above], ecolor=GREY, capsize=3)
    panel.bar_label(drawn, [f"{median / 1000:,.0f}k" for median in medians], label_type="center", color="white")
    panel.yaxis.set_major_formatter(lambda value, _: f"{value / 1000:,.0f}k")


def _lateness(panel: Any, runs: Mapping[str, Measured]) -> None:
    panel.set_title("lateness at a reader, ms\n(p50 and p99)", loc="left")
    rows = {
        "1,000/s": ("spread", f"1,000/s spread over milliseconds for {SIZES.seconds} s"),
        "1,000 at each\nsecond": ("seconds", f"1,000 due at each of {SIZES.seconds} whole seconds"),
        "10,000/s": ("fast", f"{SIZES.fast:,}/s spread over milliseconds for {SIZES.fast_seconds} s"),
        "1,000/s, while\n50,000/s written": ("writing", f"1,000/s fire while {SIZES.fast * 5:,}/s are written"),
    }

    def lateness(scenario: str, group: str, who: str = "") -> tuple[float, float] | None:
        lows, highs = (values(runs, scenario, group, f"{who}lateness {name}, ms") for name in ("p50", "p99"))
        return (statistics.median(lows), statistics.median(highs)) if lows and highs else None

    known = [(label, ours, lateness(*row, BARE)) for label, row in rows.items() if (ours := lateness(*row))]
    if not known:
        _unknown(panel)
        return
    for place, (_, (low, high), bare) in enumerate(reversed(known)):
        if bare is not None:
            panel.plot(bare, [place - 0.2] * 2, "o-", color=GREY, linewidth=1, markersize=4, label="bare client")
        panel.plot([low, high], [place, place], color=GREY, linewidth=1, zorder=1)
        panel.scatter([low], [place], color=BLUE, zorder=2)
        panel.scatter([high], [place], color=ORANGE, zorder=2)
        panel.annotate(f"{low:.1f}", (low, place), (0, 6), textcoords="offset points", ha="center", color=BLUE)
        panel.annotate(f"{high:.1f}", (high, place), (-4, 6), textcoords="offset points", color=ORANGE)
    panel.set_yticks(range(len(known)), [label for label, _, _ in reversed(known)])
    longest = 1.15 * panel.get_xlim()[1]
    panel.set_xlim(-0.06 * longest, longest)  # room for the figure of a point near 0
    panel.set_ylim(-0.9, len(known) - 0.3)
    panel.grid(axis="x")
    handles, labels = panel.get_legend_handles_labels()
    if handles:
        panel.legend(handles[:1], labels[:1], loc="lower right")


def _unknown(panel: Any) -> None:
    panel.text(0.5, 0.5, "not measured", ha="center", va="center", transform=panel.transAxes)
    panel.set_axis_off()


def scaling(
    loads: Sequence[Load],
    needs: Sequence[Need],
    runs: Mapping[str, Measured],
    path: Path,
) -> None:
    """Lateness by load with what was measured, and how long nothing fires by what there is to read."""
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
        rates = [load.rate for load in loads]
        for column, (name, colour) in enumerate((("p50", BLUE), ("p99", ORANGE))):
            left.plot(rates, [load.here[column] * 1000 for load in loads], color=colour, label=f"{name}, simulated")
            left.plot(rates, [load.apart[column] * 1000 for load in loads], color=colour, linestyle=":")
            known = _known(runs, name)
            left.scatter(list(known), list(known.values()), color=colour, marker="D", label=f"{name}, measured")
        left.set(xscale="log", yscale="log", xlabel="firings a second of one replica", ylabel="lateness, ms")
        left.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        left.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
        left.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        left.set_title("one replica and its broker on two cores\n(dotted: brokers apart)", loc="left")
        left.grid()
        left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, columnspacing=1)
        rows = [f"{_short(one.pending)}, {_short(one.rate)}/s, {one.replicas}" for one in needs]
        places = range(len(needs))
        right.barh([place + 0.27 for place in places], [one.cold for one in needs], 0.25, color=ORANGE)
        right.barh(places, [one.cold_hour for one in needs], 0.25, color=BLUE)
        right.barh([place - 0.27 for place in places], [one.gap for one in needs], 0.25, color=GREEN)
        right.set_yticks(places, rows)
        right.invert_yaxis()
        right.set(xscale="log", xlabel="s")
        right.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        right.set_title("nothing fires for (pending, firings/s, replicas)", loc="left")
        names = ("all start, tombstones of a day", "of an hour", "one is killed, of an hour")
        handles = [
            mpl.patches.Patch(color=colour, label=name)
            for colour, name in zip((ORANGE, BLUE, GREEN), names, strict=True)
        ]
        right.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, columnspacing=1)
        right.grid(axis="x")
        save(figure, path)


def _known(runs: Mapping[str, Measured], name: str) -> dict[float, float]:
    """Measured lateness by rate."""
    groups = {
        1_000: ("spread", f"1,000/s spread over milliseconds for {SIZES.seconds} s"),
        SIZES.fast: ("fast", f"{SIZES.fast:,}/s spread over milliseconds for {SIZES.fast_seconds} s"),
    }
    return {
        rate: statistics.median(found)
        for rate, (scenario, group) in groups.items()
        if (found := values(runs, scenario, group, f"lateness {name}, ms"))
    }


def _short(value: float) -> str:
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{name}"
    return f"{value:g}"
