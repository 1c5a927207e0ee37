"""The generated section of docs/benchmarks.md; the words around it are written by people."""

from __future__ import annotations

from pathlib import Path

from bench.chart import chart_svg
from bench.results import Report
from bench.table import report_lines

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "benchmarks.md"
CHART = DOCS / "benchmarks.svg"
BEGIN = "<!-- written by make bench: begin -->"
END = "<!-- written by make bench: end -->"


def with_section(page: str, section: str) -> str:
    """Return the page with what is between the markers replaced.

    Raises:
        ValueError: The page has not exactly one pair of markers.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError("the page needs exactly one pair of markers")
    return f"{before}{BEGIN}\n{section.strip()}\n{END}{after}"


def section_of(report: Report) -> str:
    """Return the machine, the chart and the tables in Markdown."""
    machine = ", ".join(f"{name} {value}".strip() for name, value in report.machine.items())
    tables = "\n".join(report_lines(report))
    return (
        f"Measured on: {machine}.\n\n![Bars of all scenarios]({CHART.name})\n\n```\n{tables}\n```\n"
    )


def write(report: Report) -> None:
    """Write the section and the chart into docs/."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_section(page, section_of(report)), encoding="utf-8")
    CHART.write_text(chart_svg(report), encoding="utf-8")
