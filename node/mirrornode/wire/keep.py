"""What nodes tell each other of copies they hold for one another.

Protocol `/mirrornode/keep/1.0.0`: over a libp2p stream the asker sends one JSON request and gets
one JSON answer. Format: docs/formats/keep.md. This module only encodes and decodes; who keeps what
for whom is decided in `mirror.replication`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from mirrornode.content.cid import Cid
from mirrornode.errors import ContentError, RemoteProtocolError, TargetError
from mirrornode.wire.hub import is_commit, is_hub_target, parse_hub_target

PROTOCOL = "/mirrornode/keep/1.0.0"
MAX_REQUEST_BYTES = 8 * 1024
MAX_ANSWER_BYTES = 4 * 1024
MAX_TARGET_CHARS = 2048
MAX_REASON_CHARS = 200
MAX_SIZE_BYTES = 1 << 53  # what JSON numbers hold exactly

KEEP, TELL, RELEASE = VERBS = ("keep", "tell", "release")
KEPT, COMING, REFUSED, NONE = STATES = ("kept", "coming", "refused", "none")

_VERSION = 1


@dataclass(frozen=True, slots=True)
class KeepRequest:
    """Hold a copy of a target, tell how it stands with it, or let it go.

    Attributes:
        verb: "keep", "tell" or "release".
        target: A CID, or `hf:REPO@COMMIT[/PATH]` with a whole commit hash.
        size_bytes: What the asker knows it to be; 0 when it does not.
    """

    verb: str
    target: str
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class KeepAnswer:
    """How it stands: "kept", "coming", "refused" (with a reason) or "none"."""

    state: str
    reason: str = ""


def encode_request(request: KeepRequest) -> bytes:
    """Return the bytes of a request."""
    return _dump({"verb": request.verb, "target": request.target, "size": request.size_bytes})


def decode_request(data: bytes) -> KeepRequest:
    """Return a request.

    Raises:
        RemoteProtocolError: It is none, or names no content for good: a branch is refused.
    """
    record = _load(data, MAX_REQUEST_BYTES)
    verb, target, size = record.get("verb"), record.get("target"), record.get("size", 0)
    if verb not in VERBS or not isinstance(target, str) or len(target) > MAX_TARGET_CHARS:
        raise RemoteProtocolError("a request to keep without a verb or a target")
    if type(size) is not int or not 0 <= size <= MAX_SIZE_BYTES:
        raise RemoteProtocolError("a request to keep with a size that is none")
    return KeepRequest(verb, _checked_target(target), size)


def encode_answer(answer: KeepAnswer) -> bytes:
    """Return the bytes of an answer; a long reason is cut."""
    return _dump({"state": answer.state, "reason": _plain(answer.reason)})


def decode_answer(data: bytes) -> KeepAnswer:
    """Return an answer.

    Raises:
        RemoteProtocolError: It is none.
    """
    record = _load(data, MAX_ANSWER_BYTES)
    state, reason = record.get("state"), record.get("reason", "")
    if state not in STATES or not isinstance(reason, str):
        raise RemoteProtocolError("an answer about a copy without a state")
    return KeepAnswer(str(state), _plain(reason))


def _checked_target(target: str) -> str:
    """Return the target as this node writes it, so that one content has one name."""
    try:
        if not is_hub_target(target):
            return str(Cid.parse(target))
        named = parse_hub_target(target)
    except (ContentError, TargetError) as exc:
        raise RemoteProtocolError("a request to keep what is no target") from exc
    if not is_commit(named.revision):
        raise RemoteProtocolError("a request to keep a branch: only commits stay what they are")
    return str(named)


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text[:MAX_REASON_CHARS])


def _dump(record: dict[str, object]) -> bytes:
    return json.dumps({"v": _VERSION, **record}, separators=(",", ":")).encode()


def _load(data: bytes, max_bytes: int) -> dict[str, object]:
    if len(data) > max_bytes:
        raise RemoteProtocolError(f"{len(data)} bytes about a copy; {max_bytes} are allowed")
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise RemoteProtocolError("a message about a copy that is not JSON") from exc
    if not isinstance(record, dict) or record.get("v") != _VERSION:
        raise RemoteProtocolError("a message about a copy of a version that is not known")
    return record
