"""The result as tables for people."""

from __future__ import annotations

from bench.results import Report, Result, Series, rate_text

NAME_WIDTH = 40
LEGEND = """\
Median of {rounds} interleaved rounds; whole commands, start-up included; MB = 10^6 bytes.
ratio: its time over the first row's; more than 1 is slower than the first row.
own:   its time over that of the same program under the better conditions above.
CPU, RSS: client + server; daemons that fetch count as client; several processes are summed.
wire:  all that crossed the network in the timed part, over what was taken; "-" if not counted.
seed:  what the only seed's line carried, over the file's size."""


def report_lines(report: Report) -> list[str]:
    """Return everything, tables first, then what the columns mean."""
    lines: list[str] = []
    for result in report.results:
        lines += [*table_lines(result), ""]
    return [*lines, *LEGEND.format(rounds=report.rounds).splitlines()]


def table_lines(result: Result) -> list[str]:
    """Return one scenario; rows without samples say why they have none."""
    with_seed = any(one.median_count("seed_bytes") is not None for one in result.taken_part())
    with_own = any(result.own_ratio(one) is not None for one in result.taken_part())
    head = f"{'':<{NAME_WIDTH}} {result.unit:>7} {'[min-max]':>13} {'s':>7} {'ratio':>6}"
    head += f" {'own':>6}" if with_own else ""
    head += f" {'CPU s':>12} {'RSS MiB':>11} {'wire':>6}"
    head += f" {'seed':>6}" if with_seed else ""
    lines = [result.title, head] if result.rows else [result.title]
    first = next((one.median("seconds") for one in result.taken_part()), 0.0)
    for series in result.rows:
        if not series.samples:
            lines.append(f"{series.label:<{NAME_WIDTH}} {series.left_out}")
            continue
        seconds = series.median("seconds")
        rates = result.rates(series)
        spread = f"[{rate_text(min(rates))}-{rate_text(max(rates))}]"
        line = f"{series.label:<{NAME_WIDTH}} {rate_text(result.rate(series)):>7} {spread:>13}"
        line += f" {seconds:>7.2f} {seconds / first:>5.2f}x"
        if with_own:
            own = result.own_ratio(series)
            line += f" {'' if own is None else f'{own:.2f}x':>6}"
        line += f" {_pair(series, 'cpu_s', 2):>12} {_pair(series, 'rss_mib', 0):>11}"
        line += f" {_share(series, 'wire_bytes', series.size_bytes * series.takers):>6}"
        if with_seed:
            line += f" {_share(series, 'seed_bytes', series.size_bytes):>6}"
        lines.append(f"{line}  {series.note}")
    if result.remark:
        lines.append(result.remark)
    return lines


def _pair(series: Series, what: str, digits: int) -> str:
    client, server = series.median(f"client_{what}"), series.median(f"server_{what}")
    return f"{client:.{digits}f}+{server:.{digits}f}"


def _share(series: Series, what: str, whole: int) -> str:
    count = series.median_count(what)
    return "-" if count is None else f"{count / whole:.3f}"
