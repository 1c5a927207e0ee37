"""Every decoder stands some thousand broken inputs; and the fuzzer notices what does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fuzz.decoder import Decoder
from fuzz.decoders import DECODERS
from fuzz.run import fuzz

INPUTS = 1500
TRACED_INPUTS = 150  # of those, memory is traced; that is some five times slower
SEED = 20_261


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_decoder_when_inputs_are_broken_then_only_its_own_errors(name: str) -> None:
    report = fuzz(DECODERS[name], INPUTS, SEED)
    assert report.inputs == INPUTS
    assert not report.failures, "\n".join(map(str, report.failures))
    traced = fuzz(DECODERS[name], TRACED_INPUTS, SEED + 1, trace_memory=True)
    assert not traced.failures, "\n".join(map(str, traced.failures))


def test_fuzz_when_seed_is_the_same_then_outcomes_are() -> None:
    first, second = (fuzz(DECODERS["dag-pb"], 500, 7) for _ in range(2))
    assert first.outcomes == second.outcomes
    assert first.outcomes["accepted"] < 500 > first.outcomes["MalformedNode"] > 0


def _decoder(decode: Callable[[bytes], object]) -> Decoder:
    return Decoder("made to fail", lambda: [b"valid"], decode, (ValueError,))


def test_fuzz_when_another_error_comes_then_failure_with_the_input() -> None:
    def decode(data: bytes) -> object:
        return data == b"valid" or data[len(data)]

    report = fuzz(_decoder(decode), 20, 1)
    assert report.failed == report.outcomes["FAILED"] > 0
    assert "IndexError" in report.failures[0].reason
    assert __file__ in report.failures[0].reason


def test_fuzz_when_decoder_never_ends_then_broken_off() -> None:
    def decode(data: bytes) -> object:
        while data != b"valid":
            pass
        return data

    report = fuzz(_decoder(decode), 1, 1)
    assert [failure.reason.partition(":")[0] for failure in report.failures] == ["Hang"]


def test_fuzz_when_decoder_allocates_what_a_length_says_then_failure() -> None:
    def decode(data: bytes) -> object:
        return len(data) if data == b"valid" else len(bytearray(16 << 20))

    report = fuzz(_decoder(decode), 1, 1, trace_memory=True)
    assert "allocated" in report.failures[0].reason


def test_fuzz_when_value_does_not_come_back_then_failure() -> None:
    def check(data: bytes, value: object) -> None:
        assert value == data

    decoder = Decoder("lossy", lambda: [b"valid"], lambda data: data[:1], (), check)
    assert fuzz(decoder, 5, 1).failed > 0
