"""What a node keeps pinned, told to nodes that follow it; and where a node is, told over HTTP.

Protocol `/mirrornode/pins/1.0.0`: over a libp2p stream the asker sends one JSON question and gets
one page of the answer. Format: docs/formats/pinset.md. This module only encodes and decodes; what
is told, and who is believed, is decided in `mirror.sync_pinset` and `mirror.sync_upstream`.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mirrornode.content.cid import Cid
from mirrornode.errors import ContentError, RemoteProtocolError, TargetError
from mirrornode.wire.hub import check_revision, is_commit, is_hub_target, parse_hub_target

PROTOCOL = "/mirrornode/pins/1.0.0"
CARD_PATH = "/mirrornode/v1/node"
MAX_QUESTION_BYTES = 1024
MAX_ANSWER_BYTES = 2 * 1024 * 1024
MAX_CARD_BYTES = 64 * 1024
MAX_PAGE = 500
MAX_PINS = 100_000  # of a whole pinset
MAX_TARGET_CHARS = 2048
MAX_REFS = 32  # of one commit
MAX_ADDRESSES = 64

_VERSION = 1
_MAX_NUMBER = 1 << 53  # what JSON numbers hold exactly


@dataclass(frozen=True, slots=True)
class PinnedThere:
    """One pin of another node.

    Attributes:
        number: Of the pin at that node; only grows.
        target: A CID, or `hf:REPO@COMMIT[/PATH]`.
        refs: Names that mean this commit there, and when that was looked up, Unix seconds.
    """

    number: int
    target: str
    size_bytes: int = 0
    refs: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PinPage:
    """A part of a pinset by number; `has_more` when others follow."""

    pins: Sequence[PinnedThere]
    has_more: bool


@dataclass(frozen=True, slots=True)
class NodeCard:
    """Who a node is and where it can be dialled: multiaddrs with `/p2p/`."""

    peer_id: str
    addresses: tuple[str, ...]


def encode_question(after: int) -> bytes:
    """Return the question for the pins with a greater number."""
    return _dump({"after": after})


def decode_question(data: bytes) -> int:
    """Return the number after which pins are asked for.

    Raises:
        RemoteProtocolError: Not such a question.
    """
    return _count(_load(data, MAX_QUESTION_BYTES).get("after"))


def encode_page(page: PinPage) -> bytes:
    """Return an answer; at most `MAX_PAGE` pins, of which as many as fit are told."""
    items: list[list[object]] = []
    room = MAX_ANSWER_BYTES - 100
    for pin in page.pins[:MAX_PAGE]:
        refs = dict(list(pin.refs.items())[:MAX_REFS])
        item: list[object] = [pin.number, pin.target, pin.size_bytes, refs]
        room -= len(json.dumps(item)) + 1
        if room < 0:
            break
        items.append(item)
    return _dump({"pins": items, "more": page.has_more or len(items) < len(page.pins)})


def decode_page(data: bytes, after: int) -> PinPage:
    """Return an answer to the question for pins after a number.

    Raises:
        RemoteProtocolError: Malformed, or it answers what was not asked.
    """
    record = _load(data, MAX_ANSWER_BYTES)
    items, has_more = record.get("pins"), record.get("more")
    if not isinstance(items, list) or len(items) > MAX_PAGE or not isinstance(has_more, bool):
        raise RemoteProtocolError("a pinset without a usable list of pins")
    pins = [_pin(item) for item in items]
    numbers = [after, *(pin.number for pin in pins)]
    if any(number >= following for number, following in itertools.pairwise(numbers)):
        raise RemoteProtocolError("a pinset out of order")
    if has_more and not pins:
        raise RemoteProtocolError("an empty page in the middle of a pinset")
    return PinPage(pins, has_more)


def encode_card(card: NodeCard) -> bytes:
    """Return the JSON that tells where a node is."""
    return _dump({"peer_id": card.peer_id, "addresses": list(card.addresses[:MAX_ADDRESSES])})


def decode_card(data: bytes) -> NodeCard:
    """Return where a node says it is.

    Raises:
        RemoteProtocolError: Malformed, or without an address.
    """
    record = _load(data, MAX_CARD_BYTES)
    peer_id, addresses = record.get("peer_id"), record.get("addresses")
    if not isinstance(peer_id, str) or not (peer_id.isascii() and peer_id.isalnum()):
        raise RemoteProtocolError("a node that does not say who it is")
    if not isinstance(addresses, list) or not 0 < len(addresses) <= MAX_ADDRESSES:
        raise RemoteProtocolError("a node that does not say where it is")
    for address in addresses:
        if not isinstance(address, str) or not address.endswith(f"/p2p/{peer_id}"):
            raise RemoteProtocolError("a node with an address that is not its own")
    return NodeCard(peer_id, tuple(addresses))


def _pin(item: object) -> PinnedThere:
    if not isinstance(item, list) or len(item) != 4:
        raise RemoteProtocolError("a pin that is none")
    number, target, size_bytes, refs = item
    if not isinstance(target, str) or len(target) > MAX_TARGET_CHARS:
        raise RemoteProtocolError("a pin without a target")
    if not isinstance(refs, dict) or len(refs) > MAX_REFS:
        raise RemoteProtocolError("a pin without usable names")
    for seen_at in refs.values():
        if isinstance(seen_at, bool) or not isinstance(seen_at, int | float):
            raise RemoteProtocolError("a name of a pin without a time")
        if not math.isfinite(seen_at) or not 0 <= seen_at < 1e11:
            raise RemoteProtocolError("a name of a pin at a time that cannot be")
    try:
        if is_hub_target(target):
            named = parse_hub_target(target)
            if not is_commit(named.revision):
                raise RemoteProtocolError("a pin of a branch: only commits stay what they are")
            known = {check_revision(ref): float(at) for ref, at in refs.items()}
            return PinnedThere(_count(number), str(named), _count(size_bytes), known)
        return PinnedThere(_count(number), str(Cid.parse(target)), _count(size_bytes))
    except (ContentError, TargetError) as exc:
        raise RemoteProtocolError("a pin of what is no target") from exc


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_NUMBER:
        raise RemoteProtocolError("a number that cannot be")
    return value


def _dump(record: Mapping[str, object]) -> bytes:
    return json.dumps({"v": _VERSION, **record}, separators=(",", ":")).encode()


def _load(data: bytes, max_bytes: int) -> dict[str, Any]:
    if len(data) > max_bytes:
        raise RemoteProtocolError("a message about pins that is too long")
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise RemoteProtocolError("a message about pins that is not JSON") from exc
    if not isinstance(record, dict) or record.get("v") != _VERSION:
        raise RemoteProtocolError("a message about pins of a version that is not known")
    return record
