"""Messages about copies: they survive the way, and nothing else is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.errors import RemoteProtocolError
from mirrornode.wire import keep
from mirrornode.wire.keep import KeepAnswer, KeepRequest

CID = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("verb", keep.VERBS)
@pytest.mark.parametrize("target", [CID, f"hf:org/name@{COMMIT}", f"hf:org/name@{COMMIT}/a b/c"])
def test_request_when_sent_then_the_same(verb: str, target: str) -> None:
    request = KeepRequest(verb, target, 5)
    assert keep.decode_request(keep.encode_request(request)) == request


def test_request_when_the_cid_is_spelt_otherwise_then_one_name() -> None:
    upper = "B" + CID[1:].upper()
    assert keep.decode_request(keep.encode_request(KeepRequest("keep", upper))).target == CID


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"v":2,"verb":"keep","target":"%s"}' % CID.encode(),
        b'{"v":1,"verb":"burn","target":"%s"}' % CID.encode(),
        b'{"v":1,"verb":"keep","target":"hf:org/name@main"}',
        b'{"v":1,"verb":"keep","target":"hf:org/name"}',
        b'{"v":1,"verb":"keep","target":"../../etc"}',
        b'{"v":1,"verb":"keep","target":7}',
        b'{"v":1,"verb":"keep","target":"%s","size":-1}' % CID.encode(),
        b'{"v":1,"verb":"keep","target":"%s","size":true}' % CID.encode(),
        b'{"v":1,"verb":"keep","target":"%s"}' % (b"b" * 3000),
        b"[" * 5000,
        b" " * (keep.MAX_REQUEST_BYTES + 1),
    ],
)
def test_request_when_it_is_none_then_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        keep.decode_request(data)


@given(st.binary(max_size=200))
def test_messages_when_garbage_then_only_protocol_errors(data: bytes) -> None:
    for decode in (keep.decode_request, keep.decode_answer):
        with pytest.raises(RemoteProtocolError):
            decode(data)


def test_answer_when_the_reason_is_long_or_strange_then_cut_and_plain() -> None:
    sent = keep.encode_answer(KeepAnswer(keep.REFUSED, "\x1b[2J" + "x" * 500))
    found = keep.decode_answer(sent)
    assert (found.state, len(found.reason)) == (keep.REFUSED, keep.MAX_REASON_CHARS)
    assert found.reason.isprintable()


def test_answer_when_the_state_is_unknown_then_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        keep.decode_answer(b'{"v":1,"state":"maybe"}')
