"""Feeding a decoder with broken inputs and watching what it does: errors, time, memory.

An input fails the decoder when something else is raised than the errors it documents, when it takes
more than `HANG_S`, when it makes the decoder allocate out of proportion, or when what was decoded
does not survive being encoded. The processor's time is measured, not the clock's: a busy machine
makes nobody fail.
"""

from __future__ import annotations

import gc
import resource
import signal
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from fuzz.decoder import Decoder
from fuzz.mutate import Mutator

HANG_S = 1.0  # of the processor, for one input of at most 32 KiB
MAX_FAILURES = 20  # that are kept; a broken decoder fails by the thousand
# What one input may make a decoder allocate at a time: objects are larger than their bytes.
TRACED_BYTES = 1 << 20
TRACED_FACTOR = 256
_TICK_S = 0.25


class Hang(BaseException):
    """Raised inside a decoder that has used up its time; not to be caught by `except Exception`."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One input that a decoder did not stand."""

    number: int
    reason: str
    input: bytes

    def __str__(self) -> str:
        shown = self.input if len(self.input) <= 400 else self.input[:400] + b"..."
        return f"input {self.number} ({len(self.input)} bytes): {self.reason}\n    {shown!r}"


@dataclass(slots=True)
class Report:
    """What became of all inputs.

    Attributes:
        outcomes: How many inputs were accepted, or refused with which error.
        rss_growth_bytes: By how much the process has grown at its peak.
        traced_bytes: The most that one input had allocated at a time; 0 when not traced.
    """

    decoder: str
    seed: int
    inputs: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    slowest: bytes = b""
    rss_growth_bytes: int = 0
    traced_bytes: int = 0
    failures: list[Failure] = field(default_factory=list)
    failed: int = 0

    def fail(self, reason: str, data: bytes) -> None:
        """Take note of a failure."""
        self.failed += 1
        self.outcomes["FAILED"] += 1
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(Failure(self.inputs, reason, data))


def fuzz(decoder: Decoder, inputs: int, seed: int, *, trace_memory: bool = False) -> Report:
    """Feed `inputs` broken inputs to a decoder; the main thread only.

    Args:
        trace_memory: Measure what each input makes the decoder allocate; some five times slower.
    """
    corpus = decoder.corpus()
    for valid in corpus:
        decoder.decode(valid)  # a corpus that is refused would make broken inputs of broken ones
    mutator = Mutator(corpus, seed, is_text=decoder.is_text)
    report = Report(decoder.name, seed)
    gc.collect()
    peak_before = _peak_rss()
    began = time.perf_counter()
    with _hang_guard(report), _tracing(trace_memory):
        for report.inputs in range(1, inputs + 1):
            data = mutator.next()
            held = _held(trace_memory)
            start = time.thread_time()
            _feed(decoder, data, report)
            spent = time.thread_time() - start
            if trace_memory:
                _check_memory(held, data, report)
            if spent > report.slowest_s:
                report.slowest_s, report.slowest = spent, data
    report.seconds = time.perf_counter() - began
    report.rss_growth_bytes = max(0, _peak_rss() - peak_before)
    return report


def _feed(decoder: Decoder, data: bytes, report: Report) -> None:
    try:
        value = decoder.decode(data)
        if decoder.check is not None:
            decoder.check(data, value)
    except decoder.errors as exc:
        report.outcomes[type(exc).__name__] += 1
    except (Exception, Hang) as exc:  # what else comes out is what we are looking for
        report.fail(_reason(exc), data)
    else:
        report.outcomes["accepted"] += 1


def _reason(exc: BaseException) -> str:
    place = exc.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" at {place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else ""
    return f"{type(exc).__name__}: {str(exc)[:200]}{where}"


@contextmanager
def _hang_guard(report: Report) -> Iterator[None]:
    """Break off an input that takes too long, looking a few times a second of processor time."""
    seen, ticks = 0, 0

    def tick(_signal: int, _frame: FrameType | None) -> None:
        nonlocal seen, ticks
        ticks = ticks + 1 if seen == report.inputs else 0
        seen = report.inputs
        if ticks * _TICK_S > HANG_S:
            ticks = 0
            raise Hang(f"took more than {HANG_S:g} s")

    before = signal.signal(signal.SIGVTALRM, tick)
    signal.setitimer(signal.ITIMER_VIRTUAL, _TICK_S, _TICK_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextmanager
def _tracing(is_wanted: bool) -> Iterator[None]:
    if is_wanted:
        tracemalloc.start(1)
    try:
        yield
    finally:
        if is_wanted:
            tracemalloc.stop()


def _held(is_wanted: bool) -> int:
    if not is_wanted:
        return 0
    tracemalloc.reset_peak()
    return tracemalloc.get_traced_memory()[0]


def _check_memory(held: int, data: bytes, report: Report) -> None:
    grown = tracemalloc.get_traced_memory()[1] - held
    report.traced_bytes = max(report.traced_bytes, grown)
    if grown > TRACED_BYTES + TRACED_FACTOR * len(data):
        report.fail(f"{grown} bytes allocated at a time", data)


def _peak_rss() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
