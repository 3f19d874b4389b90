"""What was measured, as docs/performance.md shows it."""

import dataclasses
import datetime
import os
import pathlib
import re
import statistics

from .measures import is_forwarded
from .servers import ROOT

PAGE = ROOT / "docs/performance.md"
BEGIN, END = "<!-- scripts/bench -->\n", "<!-- end -->"


@dataclasses.dataclass
class Target:
    """A figure, and what it may be at most."""

    name: str
    allowed: str
    limit: float
    got: float
    unit: str = "x"

    def row(self):
        verdict = "met" if self.got <= self.limit else "**missed**"
        return f"| {self.name} | {self.allowed} | {self.got:.2f} {self.unit} | {verdict} |"


def loads(rows, floors):
    lines = ["| answered | connections | requests/s | p50 ms | p99 ms | CPU µs | x floor |", "|---|---|---|---|---|---|---|"]
    for name, connections, got in rows:
        floor = floors["forward" if is_forwarded(name.removeprefix("nginx: ")) else "answer"][connections]
        ratio = "" if name.startswith("floor") else f"{got.cpu / floor.cpu:.2f}"
        lines.append(
            f"| {name} | {connections} | {got.rate:,.0f} | {got.p50:.3f} | {got.p99:.2f} | {got.cpu:.1f} | {ratio} |"
        )
    return lines


def text(measures, floors, targets, seconds):
    noise = measures.noise
    spread = (max(noise) - min(noise)) / statistics.median(noise) * 100
    cpu_name = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())[1]
    return "\n".join([
        f"Measured by `scripts/bench` on {datetime.date.today()}, {os.cpu_count()} cores ({cpu_name}), `dist` "
        f"build, {seconds} s a line. The floor (bare axum, 64 connections) was measured {len(noise)} "
        f"times during the run: its CPU per request varied by {spread:.0f} % between the smallest and the "
        "largest.",
        "",
        "Key, limits, metrics and the audit file are on; the log is at level `warn`, as the audit file is the "
        "record of calls, or at `info`, as it is without configuration, where a line says so. *x floor* is CPU per "
        "request against the floor of the same run and the same number of connections: bare axum, or bare axum + "
        "reqwest for what is forwarded, on one thread and with the gateway's allocator. nginx maps the key, limits, "
        "keeps POST answers by tenant and body, writes a JSON line a request, and reads no GraphQL.",
        "", "### Targets", "", "| what | target | measured | |", "|---|---|---|---|",
        *[target.row() for target in targets], "",
        "Ratios of CPU, and of p99, are medians of five turns of gateway and floor (or of both sides), 64 "
        "connections.",
        "", "### Loads", "", *loads(measures.rows, floors), "", "### Sizes", "",
        "| what | figure |", "|---|---|", *[f"| {name} | {figure} |" for name, figure in measures.sizes],
    ])


def write(text):
    """Puts the text in the place of the last run's."""
    before, rest = PAGE.read_text().split(BEGIN, 1)
    _, after = rest.split(END, 1)
    PAGE.write_text(f"{before}{BEGIN}{text}\n{END}{after}")
