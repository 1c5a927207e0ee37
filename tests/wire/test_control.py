"""The lines of the control socket: an error comes back as the exception it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode import errors
from mirrornode.content.cid import Cid
from mirrornode.errors import MirrorError, RemoteProtocolError
from mirrornode.wire.control import (
    MAX_SOCKET_PATH,
    decode_line,
    error_line,
    result_line,
    socket_path,
    to_exception,
)

CID = Cid.raw_sha256(b"c" * 32)
WITH_FIELDS: list[MirrorError] = [
    errors.ConfigError("m", key="gateway.address", origin="MIRRORNODE_GATEWAY_ADDRESS"),
    errors.CidMismatch(CID, "detail"),
    errors.BlockNotFound(CID),
    errors.FileChanged(Path("/a b/\udcff"), "changed"),
    errors.DiskFull(Path("/data/x"), 10, 5),
    errors.PathRefused(Path("/data/x"), "read", "denied"),
    errors.HomeLocked(Path("/home/x"), 17),
    errors.HomeLocked(Path("/home/x")),
    errors.SourceRefused("no", source_id="peer:x", status=503, retry_after_s=1.5),
    errors.SourceGone("gone", source_id="peer:x"),
    errors.HubRefusal("gated", status=403, code="GatedRepo"),
    errors.HubNotFound("no such file", status=404, code="EntryNotFound", commit="0" * 40),
    errors.Incomplete("some are missing", ("a", "b/c")),
    errors.NotAllHere("some are not here", ("a", "b/c")),
]


def all_kinds(kind: type[MirrorError] = MirrorError) -> Iterator[type[MirrorError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from all_kinds(below)


def samples() -> list[MirrorError]:
    made = {type(error) for error in WITH_FIELDS}
    return WITH_FIELDS + [kind("a message") for kind in all_kinds() if kind not in made]


@pytest.mark.parametrize("error", samples(), ids=lambda error: type(error).__name__)
def test_error_crosses_the_socket_as_itself(error: MirrorError) -> None:
    line = error_line(error)
    assert line.count(b"\n") == 1
    back = to_exception(decode_line(line)["error"])
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert (back.blame, back.transient) == (error.blame, error.transient)
    for name, value in vars(error).items():
        found = getattr(back, name)
        # What has no form in JSON comes as its text.
        assert found == (str(value) if isinstance(value, Cid) else value), name


def test_result_round_trip() -> None:
    value = {"cid": "x", "list": [1, None, "é"], "path": "/\udcff"}
    assert decode_line(result_line(value)) == {"result": value}


@pytest.mark.parametrize("line", [b"", b"\n", b"[]\n", b"{", b"\xff\n", b"[" * 100_000])
def test_line_when_malformed_then_remote_protocol_error(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_line(line)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(json_values)
def test_error_record_when_garbage_then_still_an_error(record: object) -> None:
    assert isinstance(to_exception(record), MirrorError)
    assert isinstance(to_exception({"kind": "DiskFull", "fields": record}), MirrorError)


def test_error_record_when_kind_is_unknown_then_plain_error_with_its_message() -> None:
    back = to_exception(json.loads('{"kind":"FromTheFuture","message":"m","fields":{"x":1}}'))
    assert type(back) is MirrorError
    assert str(back) == "m"


def test_socket_path_lies_in_the_home_unless_that_is_too_long() -> None:
    assert socket_path(Path("/home/x")) == Path("/home/x/control.sock")
    long_home = Path("/" + "d" * 150)
    found = socket_path(long_home)
    assert len(str(found)) <= MAX_SOCKET_PATH
    assert found == socket_path(long_home)
    assert found != socket_path(Path("/" + "d" * 149))
