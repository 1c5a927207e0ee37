"""Tickets: how one node admits another to its peer plane, and says what it has.

Protocol `/mirrornode/ticket/1.0.0`: over a libp2p stream, whose Noise handshake has already
proved both peer ids, the asker sends one JSON request and gets one JSON answer. The answer names
the HTTP address of the peer plane, the SHA-256 of its TLS certificate, a bearer that is only good
for the asker, and which of the asked roots are here. Format: docs/formats/ticket.md.

Whoever has a ticket asks the peer plane itself what has come since: `POST /mirrornode/have`, with
the same request and the list of holdings as the answer; that costs a sixth of a stream.

This module only encodes, decodes and signs; it opens no stream and no socket.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mirrornode.content.cid import Cid
from mirrornode.errors import ContentError, RemoteProtocolError
from mirrornode.wire.ranges import MAX_HAVE_RUNS, Run, parse_have

PROTOCOL = "/mirrornode/ticket/1.0.0"
HAVE_PATH = "/mirrornode/have"
ARRIVING_PATH = "/mirrornode/arriving/"  # then the asked CID
MAX_ROOTS = 256  # roots asked about in one request: 256 CIDs stay below 16 KiB
MAX_REQUEST_BYTES = 32 * 1024
MAX_ANSWER_BYTES = 1024 * 1024  # 256 partial files with long have-maps
MAX_ANSWER_RUNS = 20_000  # over all holdings: at most 40 bytes each, and room for the rest
MAX_HOSTS = 32
BEARER_LIFE_S = 6 * 3600.0

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Holding:
    """What a peer says it has of one asked root.

    Attributes:
        asked: The CID of the request; may be the raw CID of a whole file's SHA-256.
        root: The DAG root to fetch; differs from `asked` for such an alias.
        size_bytes: Bytes of the file, or of all files below a folder.
        runs: For a file still in transfer, the verified byte runs; None when all is there.
        is_complete: False for a folder of which parts are missing.
    """

    asked: Cid
    root: Cid
    size_bytes: int
    runs: tuple[Run, ...] | None = None
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class Arriving:
    """A file that a peer fetches from an origin: nothing of it is proven yet.

    Attributes:
        cid: The asked raw CID of the whole file's SHA-256.
        is_fetching: False while the peer is only about to.
    """

    cid: Cid
    size_bytes: int
    is_fetching: bool


@dataclass(frozen=True, slots=True)
class Ticket:
    """Admission to one peer plane.

    Attributes:
        scheme: "https", or "http" for a plain peer plane.
        port: TCP port on every one of `hosts`.
        hosts: IP addresses of the node; the address the asker already talks to is best.
        cert_sha256: 32 bytes, SHA-256 of the DER certificate; empty for "http".
        bearer: Value for `Authorization: Bearer`.
        life_s: Seconds until the bearer expires.
        holdings: Answers for those asked roots that are here; absent roots are left out.
        batch: How many blocks one request may name; 0 when the peer knows no such requests.
        arriving: What the peer fetches of the asked CIDs, see `mirror.claims`.
    """

    scheme: str
    port: int
    hosts: tuple[str, ...]
    cert_sha256: bytes
    bearer: str
    life_s: float
    holdings: tuple[Holding, ...]
    batch: int = 0
    arriving: tuple[Arriving, ...] = ()


def encode_request(roots: Sequence[Cid]) -> bytes:
    """Return the request bytes; at most `MAX_ROOTS` roots."""
    assert len(roots) <= MAX_ROOTS
    return _dump({"v": _VERSION, "roots": [str(root) for root in roots]})


def decode_request(data: bytes) -> list[Cid]:
    """Return the asked roots.

    Raises:
        RemoteProtocolError: Not such a request.
    """
    record = _load(data, MAX_REQUEST_BYTES)
    roots = record.get("roots")
    if not isinstance(roots, list) or len(roots) > MAX_ROOTS:
        raise RemoteProtocolError("ticket request without a usable list of roots")
    return [_cid(root) for root in roots]


def encode_ticket(ticket: Ticket) -> bytes:
    """Return the answer bytes."""
    arriving = [
        {"cid": str(one.cid), "size": one.size_bytes, "fetching": one.is_fetching}
        for one in ticket.arriving
    ]
    return _dump(
        {
            "v": _VERSION,
            "scheme": ticket.scheme,
            "port": ticket.port,
            "hosts": list(ticket.hosts[:MAX_HOSTS]),
            "cert_sha256": ticket.cert_sha256.hex(),
            "bearer": ticket.bearer,
            "life_s": ticket.life_s,
            "batch": ticket.batch,
            "have": _encode_holdings(ticket.holdings),
            **({"arriving": arriving} if arriving else {}),
        }
    )


def decode_ticket(data: bytes, asked: Sequence[Cid]) -> Ticket:
    """Return the ticket that answers a request for `asked`.

    Raises:
        RemoteProtocolError: Malformed, or it answers what was not asked.
    """
    record = _load(data, MAX_ANSWER_BYTES)
    scheme, port, hosts = record.get("scheme"), record.get("port"), record.get("hosts")
    bearer, life_s = record.get("bearer"), record.get("life_s")
    if scheme not in ("https", "http") or type(port) is not int or not 0 < port < 65536:
        raise RemoteProtocolError("ticket without a usable address")
    if (
        not isinstance(hosts, list)
        or len(hosts) > MAX_HOSTS
        or not all(isinstance(host, str) and _is_ip(host) for host in hosts)
    ):
        raise RemoteProtocolError("ticket with unusable hosts")
    if not isinstance(bearer, str) or not bearer.isascii() or not 0 < len(bearer) <= 512:
        raise RemoteProtocolError("ticket without a usable bearer")
    if isinstance(life_s, bool) or not isinstance(life_s, int | float) or not 0 < life_s < 1e7:
        raise RemoteProtocolError("ticket without a usable life")
    try:
        cert = bytes.fromhex(str(record.get("cert_sha256", "")))
    except ValueError:
        raise RemoteProtocolError("ticket with a bad certificate hash") from None
    if len(cert) != (32 if scheme == "https" else 0):
        raise RemoteProtocolError("ticket with a bad certificate hash")
    batch = record.get("batch", 0)
    if type(batch) is not int or not 0 <= batch <= 1_000_000:
        raise RemoteProtocolError("ticket with an unusable batch size")
    holdings = _decode_holdings(record, asked)
    arriving = _decode_arriving(record, asked)
    return Ticket(
        scheme, port, tuple(hosts), cert, bearer, float(life_s), holdings, batch, arriving
    )


def encode_have(holdings: Sequence[Holding]) -> bytes:
    """Return the answer to `POST /mirrornode/have`."""
    return _dump({"v": _VERSION, "have": _encode_holdings(holdings)})


def decode_have(data: bytes, asked: Sequence[Cid]) -> tuple[Holding, ...]:
    """Return the holdings of such an answer.

    Raises:
        RemoteProtocolError: As `decode_ticket`.
    """
    return _decode_holdings(_load(data, MAX_ANSWER_BYTES), asked)


def make_bearer(secret: bytes, peer_id: str, expires_at: float) -> str:
    """Return a bearer for `peer_id`, valid until `expires_at` (seconds of the maker's clock)."""
    claim = f"{peer_id}.{int(expires_at)}"
    return f"{claim}.{_sign(secret, claim)}"


def check_bearer(secret: bytes, bearer: str, now: float) -> str | None:
    """Return the peer id a bearer was made for, or None when it is forged or expired.

    Args:
        now: By the same clock that it was made with.
    """
    if not bearer.isascii():
        return None
    claim, _, signature = bearer.rpartition(".")
    peer_id, _, expires = claim.rpartition(".")
    if not hmac.compare_digest(signature.encode(), _sign(secret, claim).encode()):
        return None
    if not expires.isdigit() or int(expires) < now:
        return None
    return peer_id


def _sign(secret: bytes, claim: str) -> str:
    mac = hmac.new(secret, b"mirrornode-bearer:" + claim.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def _is_ip(host: str) -> bool:
    """Tell whether a host is an IP address; a name would make the asker resolve what it likes."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return len(host) <= 64


def _encode_holdings(holdings: Sequence[Holding]) -> list[dict[str, Any]]:
    """Return as many runs in all as the answer has room for; cut runs are only asked later."""
    records, room = [], MAX_ANSWER_RUNS
    for holding in holdings:
        records.append(_encode_holding(holding, room))
        room -= len(records[-1].get("runs", ()))
    return records


def _encode_holding(holding: Holding, room: int) -> dict[str, Any]:
    record: dict[str, Any] = {"cid": str(holding.asked), "size": holding.size_bytes}
    if holding.root != holding.asked:
        record["root"] = str(holding.root)
    if holding.runs is not None:
        record["runs"] = [list(run) for run in holding.runs[: min(room, MAX_HAVE_RUNS)]]
    if not holding.is_complete:
        record["complete"] = False
    return record


def _decode_holdings(record: dict[str, Any], asked: Sequence[Cid]) -> tuple[Holding, ...]:
    have = record.get("have")
    if not isinstance(have, list) or len(have) > len(asked):
        raise RemoteProtocolError("ticket message with unusable holdings")
    wanted = set(asked)
    return tuple(_decode_holding(item, wanted) for item in have)


def _decode_arriving(record: dict[str, Any], asked: Sequence[Cid]) -> tuple[Arriving, ...]:
    items = record.get("arriving", [])
    if not isinstance(items, list) or len(items) > len(asked):
        raise RemoteProtocolError("ticket message with unusable claims")
    wanted = set(asked)
    found = []
    for item in items:
        if not isinstance(item, dict) or (cid := _cid(item.get("cid"))) not in wanted:
            raise RemoteProtocolError("a claim answers what was not asked")
        size = item.get("size")
        if type(size) is not int or not 0 <= size < 2**63:
            raise RemoteProtocolError("a claim without a usable size")
        found.append(Arriving(cid, size, item.get("fetching") is True))
    return tuple(found)


def _decode_holding(item: object, wanted: set[Cid]) -> Holding:
    if not isinstance(item, dict):
        raise RemoteProtocolError("a holding is not an object")
    asked = _cid(item.get("cid"))
    if asked not in wanted:
        raise RemoteProtocolError("a holding answers what was not asked")
    size = item.get("size")
    if type(size) is not int or not 0 <= size < 2**63:
        raise RemoteProtocolError("a holding without a usable size")
    root = _cid(item["root"]) if "root" in item else asked
    runs = tuple(parse_have(item["runs"], size)) if "runs" in item else None
    return Holding(asked, root, size, runs, item.get("complete", True) is True)


def _cid(text: object) -> Cid:
    if not isinstance(text, str) or len(text) > 256:
        raise RemoteProtocolError("a CID is not a text")
    try:
        return Cid.parse(text)
    except ContentError as exc:
        raise RemoteProtocolError(f"not a CID: {text[:80]!r}") from exc


def _dump(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode()


def _load(data: bytes, limit: int) -> dict[str, Any]:
    if len(data) > limit:
        raise RemoteProtocolError("ticket message is too long")
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise RemoteProtocolError("ticket message is not JSON") from exc
    if not isinstance(record, dict) or record.get("v") != _VERSION:
        raise RemoteProtocolError("ticket message of an unknown version")
    return record
