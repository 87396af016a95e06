"""A benchmark as a table of the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secateur.deployment.bench.record import Bench, Measure

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text


def table(bench: Bench) -> Table:
    """A row for each network in each engine: latency, speed-up with its 10-90 % range, work and sizes."""
    from rich.table import Table  # which draws from Python's generator when it is imported
    from rich.text import Text

    threads = bench.settings["threads"]
    made = Table(
        title=f"{bench.machine['processor']}, {threads} thread{'s' if threads > 1 else ''}, "
        f"input {', '.join('x'.join(map(str, shape)) for shape in bench.inputs)}",
        show_edge=False,
        pad_edge=False,
        header_style="bold",
        title_justify="left",
    )
    for column in ("engine", "network"):
        made.add_column(column, overflow="fold")
    for column in ("ms (p10-p90)", "speed-up", "MACs", "params", "file", "memory"):
        made.add_column(column, justify="right", overflow="fold")
    for engine, by_name in bench.measures.items():
        for name, measure in by_name.items():
            facts = bench.networks[name]
            made.add_row(
                Text(engine),
                Text(name),
                f"{measure.p50:.3g} ({measure.p10:.3g}-{measure.p90:.3g})",
                Text("reference", style="dim") if name == bench.against else _speedup(measure),
                _short(facts.macs),
                _short(facts.params),
                f"{_short(measure.file)}B",
                "-" if measure.memory is None else f"{_short(measure.memory)}B",
            )
        made.add_section()
    return made


def _speedup(measure: Measure) -> Text:
    from rich.text import Text

    sure = "green" if measure.speedup_low > 1 else "red" if measure.speedup_high < 1 else ""
    return Text(f"{measure.speedup:.2f} ({measure.speedup_low:.2f}-{measure.speedup_high:.2f})", style=sure)


def _short(number: float) -> str:
    for unit in ("", "k", "M", "G"):
        if number < 1000:
            return f"{number:.3g} {unit}".strip() if unit else f"{number:.0f} "
        number /= 1000
    return f"{number:.3g} T"
