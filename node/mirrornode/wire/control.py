"""What crosses the control socket: one JSON object per line, events first, one outcome last.

`{"event": …}` is an event, `{"result": …}` and `{"error": …}` end the answer. An error comes back
as the exception it was, so that a command behaves the same with and without a daemon.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mirrornode import errors
from mirrornode.errors import MirrorError, RemoteProtocolError

SOCKET_NAME = "control.sock"
MAX_SOCKET_PATH = 100  # sockaddr_un holds 104 to 108 bytes
MAX_LINE_BYTES = 16 << 20  # a list of all roots is one line


def socket_path(home: Path) -> Path:
    """Return where the control socket of a home lies; homes with long paths get a short one."""
    path = home / SOCKET_NAME
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    short = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"mirrornode-{os.getuid()}-{short}" / SOCKET_NAME


def _all_kinds(cls: type[MirrorError]) -> Iterator[type[MirrorError]]:
    yield cls
    for below in cls.__subclasses__():
        yield from _all_kinds(below)


def result_line(result: object) -> bytes:
    """Return the line that ends an answer well."""
    return _line({"result": result})


def error_line(exc: MirrorError) -> bytes:
    """Return the line that ends an answer with an error."""
    fields = {
        name: {"path": os.fspath(value)} if isinstance(value, Path) else value
        for name, value in vars(exc).items()
    }
    return _line({"error": {"kind": type(exc).__name__, "message": str(exc), "fields": fields}})


def decode_line(line: bytes) -> dict[str, Any]:
    """Return the object of one line.

    Raises:
        RemoteProtocolError: Not a JSON object.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise RemoteProtocolError("the daemon sent a line that is not JSON") from exc
    if not isinstance(record, dict):
        raise RemoteProtocolError("the daemon sent a line that is not an object")
    return record


def to_exception(record: object) -> MirrorError:
    """Return the exception of an `error` record; unknown kinds become plain `MirrorError`."""
    if not isinstance(record, dict):
        return RemoteProtocolError("the daemon sent an error without content")
    kinds = {cls.__name__: cls for cls in _all_kinds(errors.MirrorError)}
    cls = kinds.get(str(record.get("kind")), MirrorError)
    exc = cls.__new__(cls)
    Exception.__init__(exc, str(record.get("message", "")))
    fields = record.get("fields")
    for name, value in (fields if isinstance(fields, dict) else {}).items():
        if isinstance(name, str) and name.isidentifier() and not name.startswith("_"):
            setattr(exc, name, _field(value))
    return exc


def _field(value: object) -> object:
    """Return a field of an error as it was; what JSON has no form for came as its text."""
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict):
        return Path(str(value.get("path", "")))
    return value


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":"), default=str).encode() + b"\n"
