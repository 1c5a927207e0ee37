"""The result as an SVG of bars, readable on a light and on a dark page, losses beside wins."""

from __future__ import annotations

from xml.sax.saxutils import escape

from bench.results import Report, Result, Series, rate_text

WIDTH = 860
LABEL_WIDTH = 300
VALUE_WIDTH = 110
ROW = 22
BAR = 14
HEAD = 46
GAP = 14
OURS = "mirrornode"
REASON_LENGTH = 70
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #57606a; }
.title { font-weight: 600; font-size: 13px; }
.ours { fill: #2f81f7; } .rival { fill: #8b949e; }
.range { stroke: #57606a; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
  text { fill: #adbac7; } .range { stroke: #adbac7; }
}
"""


def chart_svg(report: Report) -> str:
    """Return one panel for each scenario; a longer bar is better in all of them."""
    parts: list[str] = []
    top = GAP
    for result in report.results:
        if result.rows:
            parts += _panel(result, top)
            top += HEAD + ROW * len(result.rows) + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" '
        f'viewBox="0 0 {WIDTH} {top}" role="img" aria-label="Benchmark results">\n'
        f"<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(result: Result, top: int) -> list[str]:
    parts = [
        _text(GAP, top + 16, result.title, "title"),
        _text(GAP, top + 33, f"{result.unit}, median and range; a longer bar is better"),
    ]
    best = max((max(result.rates(one)) for one in result.taken_part()), default=1.0)
    scale = (WIDTH - LABEL_WIDTH - VALUE_WIDTH) / best
    for number, series in enumerate(result.rows):
        parts += _row(result, series, top + HEAD + ROW * number, scale)
    return parts


def _row(result: Result, series: Series, top: int, scale: float) -> list[str]:
    middle = top + ROW / 2
    parts = [_text(LABEL_WIDTH - 8, middle + 4, series.label, anchor="end")]
    if not series.samples:
        return [*parts, _text(LABEL_WIDTH, middle + 4, series.left_out[:REASON_LENGTH])]
    rates = result.rates(series)
    median = result.rate(series)
    low, high = (LABEL_WIDTH + scale * rate for rate in (min(rates), max(rates)))
    kind = "ours" if series.name.startswith(OURS) else "rival"
    parts.append(
        f'<rect class="{kind}" x="{LABEL_WIDTH}" y="{middle - BAR / 2:g}" rx="2" '
        f'width="{max(1.0, scale * median):.1f}" height="{BAR}"/>'
    )
    parts.append(
        f'<line class="range" x1="{low:.1f}" x2="{high:.1f}" y1="{middle:g}" y2="{middle:g}"/>'
    )
    parts.append(_text(high + 8, middle + 4, rate_text(median)))
    return parts


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{style}>{escape(text)}</text>'
