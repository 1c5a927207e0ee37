"""`python -m fuzz --decoder NAME --inputs 1000000 --seed N`: break one decoder, or all of them.

Prints one paragraph for each: rate, what the inputs came to, growth of the process, the slowest
input. Ends with 1 when a decoder failed.
"""

from __future__ import annotations

import argparse
import sys

from fuzz.decoders import DECODERS
from fuzz.run import Report, fuzz


def main() -> int:
    """Fuzz what the command line names."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--decoder", action="append", choices=sorted(DECODERS), help="else all")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trace", action="store_true", help="measure allocations; slower")
    chosen = parser.parse_args()
    failed = 0
    for name in chosen.decoder or sorted(DECODERS):
        report = fuzz(DECODERS[name], chosen.inputs, chosen.seed, trace_memory=chosen.trace)
        sys.stdout.write(paragraph(report))
        sys.stdout.flush()
        failed += report.failed
    return 1 if failed else 0


def paragraph(report: Report) -> str:
    """Return what people read of a report."""
    outcomes = ", ".join(f"{name} {count}" for name, count in report.outcomes.most_common())
    lines = [
        f"{report.decoder}: {report.inputs} inputs, seed {report.seed}, "
        f"{report.inputs / max(report.seconds, 1e-9):.0f}/s, {report.failed} failed",
        f"  {outcomes}",
        f"  memory +{report.rss_growth_bytes >> 10} KiB"
        + (f", one input at most {report.traced_bytes >> 10} KiB" if report.traced_bytes else ""),
        f"  slowest {1e3 * report.slowest_s:.2f} ms, {len(report.slowest)} bytes: "
        f"{report.slowest[:60]!r}",
        *(f"  {failure}" for failure in report.failures),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
