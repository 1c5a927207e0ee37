"""What was measured: samples, one series for each contender, one result for each scenario.

Pure values: they go to JSON and come back, so that a report can be made again from a file.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MB = 1_000_000
FEW = 10  # below, a rate without decimals says too little


@dataclass(slots=True)
class Sample:
    """One run of one contender; the counts are None where nobody could count."""

    seconds: float
    client_cpu_s: float
    server_cpu_s: float
    client_rss_mib: float
    server_rss_mib: float
    wire_bytes: int | None = None
    """All that crossed the bench's network in the timed part, headers included."""
    seed_bytes: int | None = None
    """What the only seed sent, where it has a line of its own."""


@dataclass(slots=True)
class Series:
    """All runs of one contender in one scenario."""

    name: str
    version: str
    note: str
    """What the time includes."""
    size_bytes: int
    """What one taker takes."""
    takers: int = 1
    compared_with: str = ""
    """The row of the same program under better conditions; "" when there is none."""
    samples: list[Sample] = field(default_factory=list)
    left_out: str = ""
    """Why there are no samples: absent, or how it failed; "" when it took part."""

    @property
    def label(self) -> str:
        """Its name with its version."""
        return f"{self.name} {self.version}".strip()

    def median(self, what: str) -> float:
        """Return the median of one field of the samples."""
        return float(statistics.median(getattr(sample, what) for sample in self.samples))

    def median_count(self, what: str) -> float | None:
        """Return the median of a count, None when a run has none."""
        if any(getattr(sample, what) is None for sample in self.samples):
            return None
        return self.median(what)


@dataclass(slots=True)
class Result:
    """One scenario; the first row with samples is what the others are compared with."""

    name: str
    title: str
    remark: str
    unit: str
    """"MB/s" or "files/s": what `units` counts."""
    units: float
    """How many megabytes or files one run moves to one taker."""
    rows: list[Series] = field(default_factory=list)

    def rates(self, series: Series) -> list[float]:
        """Return `unit` of each run."""
        return [self.units / sample.seconds for sample in series.samples]

    def rate(self, series: Series) -> float:
        """Return `unit` of the median run."""
        return self.units / series.median("seconds")

    def taken_part(self) -> list[Series]:
        """Return the rows that have samples."""
        return [series for series in self.rows if series.samples]

    def own_ratio(self, series: Series) -> float | None:
        """Return the time over the time of the row it is compared with."""
        for other in self.taken_part():
            if other.name == series.compared_with:
                return series.median("seconds") / other.median("seconds")
        return None


@dataclass(slots=True)
class Report:
    """Everything of one invocation, with what is needed to judge it."""

    machine: dict[str, str]
    rounds: int
    results: list[Result] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Report:
        """Return what `to_json` was made of."""
        return cls(
            machine=dict(record["machine"]),
            rounds=int(record["rounds"]),
            results=[_result(one) for one in record["results"]],
        )


def rate_text(rate: float) -> str:
    """Return a rate for people."""
    return f"{rate:,.0f}" if rate >= FEW else f"{rate:.1f}"


def _result(record: Mapping[str, Any]) -> Result:
    rows: Sequence[Mapping[str, Any]] = record["rows"]
    return Result(
        **{
            **record,
            "rows": [
                Series(**{**row, "samples": [Sample(**one) for one in row["samples"]]})
                for row in rows
            ],
        }
    )
