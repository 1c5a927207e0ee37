"""What peers say of themselves, read with suspicion."""

from __future__ import annotations

import pytest

from mirrornode.errors import RemoteProtocolError
from mirrornode.swarm.identify import Identification, decode_identify, encode_identify


def _message(**changed: object) -> bytes:
    said: dict[str, object] = {
        "public_key": b"",
        "agent": "kubo/0.40.1",
        "protocols": ["/ipfs/ping/1.0.0", "/ipfs/id/1.0.0"],
        "addresses": ["/ip4/127.0.0.1/tcp/1"],
        "observed": "/ip4/127.0.0.1/tcp/2",
    }
    return encode_identify(**(said | changed))  # type: ignore[arg-type]  # as the test wants them


def test_decode_when_well_formed_then_what_was_said() -> None:
    assert decode_identify(_message()) == Identification(
        "kubo/0.40.1",
        frozenset({"/ipfs/ping/1.0.0", "/ipfs/id/1.0.0"}),
        ("/ip4/127.0.0.1/tcp/1",),
    )


# Found by fuzzing: the library gives a text that is not UTF-8 as bytes.
def test_decode_when_texts_are_not_utf8_then_they_are_left_out() -> None:
    message = _message().replace(b"kubo", b"k\xffbo").replace(b"/ipfs/ping", b"/ipfs/\xfeing")
    said = decode_identify(message)
    assert said.agent == ""
    assert said.protocols == {"/ipfs/id/1.0.0"}


def test_decode_when_push_leaves_out_then_what_was_known_stays() -> None:
    known = decode_identify(_message())
    push = _message(agent="", protocols=[], addresses=["/ip4/127.0.0.1/tcp/9"])
    assert decode_identify(push, known) == Identification(
        known.agent, known.protocols, ("/ip4/127.0.0.1/tcp/9",)
    )


def test_decode_when_not_protobuf_then_remote_protocol_error() -> None:
    with pytest.raises(RemoteProtocolError):
        decode_identify(b"\xff\xff\xff")
