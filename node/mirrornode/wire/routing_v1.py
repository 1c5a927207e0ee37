"""Delegated Routing V1: peer records and filters, as JSON and as values.

Both sides of the HTTP API meet here: the gateway writes records and applies the filters of a
question, the client reads the records of any router. Reading is strict about shapes and sizes and
forgiving about what is merely unknown: other schemas, other keys and addresses of unknown
transports are left out. Nothing is sent or dialled here, and no record is believed.

Spec: ipfs/specs routing/http-routing-v1.md; IPIP-0484 (filters), IPIP-0513 (empty is 200).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mirrornode.errors import RemoteProtocolError, TargetError
from mirrornode.wire.multiaddr import split_components, split_peer_id
from mirrornode.wire.peer_id import peer_id_to_bytes, peer_id_to_text

JSON_TYPE = "application/json"
NDJSON_TYPE = "application/x-ndjson"
BITSWAP = "transport-bitswap"
BITSWAP_PROTOCOL = "/ipfs/bitswap/1.2.0"  # a libp2p peer that answers to it has that transport
HTTP_GATEWAY = "transport-ipfs-gateway-http"
UNKNOWN = "unknown"

MAX_RECORDS = 100  # in one answer, written and read: what Kubo asks routers for at most
MAX_ANSWER_BYTES = 1 << 20  # Kubo reads no more of an answer
MAX_LINE_BYTES = 64 * 1024  # of NDJSON; a record with 20 long addresses has 5 KiB
MAX_ADDRESSES = 20  # of one record
MAX_PROTOCOLS = 16
MAX_NAME_CHARS = 63  # of a protocol in a filter; spec
MAX_FILTER_NAMES = 32

# IPIP-0337 came with schemas of one transport each; they are read as peers.
_SCHEMAS: Mapping[str, tuple[str, ...]] = {
    "peer": (),
    "bitswap": (BITSWAP,),
    "graphsync-filecoinv1": ("transport-graphsync-filecoinv1",),
}


@dataclass(frozen=True, slots=True)
class RoutingRecord:
    """One peer as a router names it.

    Attributes:
        peer_id: Base58 text.
        addresses: Multiaddrs without /p2p; none when the router knows none.
        protocols: Names of transfer protocols; none when they are not known.
    """

    peer_id: str
    addresses: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Filters:
    """What an asker wants of the records; no name means no wish.

    Attributes:
        addresses: Names of multiaddr protocols in lower case; "!name" excludes.
        protocols: Names of transfer protocols in lower case.
    """

    addresses: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()

    def apply(self, record: RoutingRecord) -> RoutingRecord | None:
        """Return the record with the addresses that pass, None when the asker does not want it."""
        if self.protocols:
            known = {name.lower() for name in record.protocols} or {UNKNOWN}
            if known.isdisjoint(self.protocols):
                return None
        if not self.addresses or (not record.addresses and UNKNOWN in self.addresses):
            return record
        kept = tuple(address for address in record.addresses if self._passes(address))
        return replace(record, addresses=kept) if kept else None

    def _passes(self, address: str) -> bool:
        names = {name for name, _ in split_components(address)}
        wanted = [name for name in self.addresses if not name.startswith("!")]
        unwanted = {name[1:] for name in self.addresses if name.startswith("!")}
        return names.isdisjoint(unwanted) and (not wanted or not names.isdisjoint(wanted))


def parse_filter(text: str, name: str) -> tuple[str, ...]:
    """Return the names of one filter parameter in lower case, empty names left out.

    Raises:
        TargetError: Too many names, or too long ones.
    """
    names = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    if len(names) > MAX_FILTER_NAMES:
        raise TargetError(f"{name} names more than {MAX_FILTER_NAMES} protocols")
    for one in names:
        if len(one.removeprefix("!")) > MAX_NAME_CHARS:
            raise TargetError(f"{name}: a protocol's name has at most {MAX_NAME_CHARS} characters")
    return names


def record_to_json(record: RoutingRecord) -> dict[str, Any]:
    """Return the JSON object of a record, in schema "peer"."""
    return {
        "Schema": "peer",
        "ID": record.peer_id,
        "Addrs": list(record.addresses[:MAX_ADDRESSES]),
        "Protocols": list(record.protocols),
    }


def record_from_json(value: object) -> RoutingRecord | None:
    """Return the record of a JSON object, None when it is of a schema that we do not know.

    Addresses that we cannot read, or of another peer, are left out.

    Raises:
        RemoteProtocolError: Not an object, or one that is not what its schema says.
    """
    if not isinstance(value, dict) or not isinstance(value.get("Schema"), str):
        raise RemoteProtocolError("a record is no object with a Schema")
    schema = _SCHEMAS.get(value["Schema"])
    if schema is None:
        return None
    try:
        peer_id = peer_id_to_text(peer_id_to_bytes(str(value.get("ID"))))
    except TargetError as exc:
        raise RemoteProtocolError(f"a record names no peer: {exc}") from exc
    protocols = schema or _texts(value, "Protocols")[:MAX_PROTOCOLS]
    addresses = _addresses(_texts(value, "Addrs")[:MAX_ADDRESSES], peer_id)
    return RoutingRecord(peer_id, addresses, tuple(name.lower() for name in protocols))


def _texts(value: dict[str, Any], key: str) -> list[str]:
    texts = value.get(key)
    if texts is None:
        return []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise RemoteProtocolError(f"{key} of a record is no list of texts")
    return texts


def _addresses(texts: Sequence[str], peer_id: str) -> tuple[str, ...]:
    found: list[str] = []
    for text in texts:
        try:
            address, owner = split_peer_id(text)
        except TargetError:
            continue  # of a transport we do not know
        if address and owner in ("", peer_id):
            found.append(address)
    return tuple(dict.fromkeys(found))


class AnswerReader:
    """Reads the body of an answer piece by piece; holds one line, or one JSON document.

    Driven by: whoever receives the body. After MAX_RECORDS records `is_done`, and the rest of the
    body need not be read.
    """

    def __init__(self, content_type: str, key: str) -> None:
        """Prepare for one answer.

        Args:
            content_type: Of the answer; anything but NDJSON is read as one JSON document.
            key: Under which a JSON document lists the records, "Providers" or "Peers".
        """
        self._is_stream = content_type.partition(";")[0].strip().lower() == NDJSON_TYPE
        self._key = key
        self._kept = bytearray()
        self._records = 0

    @property
    def is_done(self) -> bool:
        """Whether no more records are taken."""
        return self._records >= MAX_RECORDS

    def feed(self, piece: bytes) -> Iterator[RoutingRecord]:
        """Yield the records that `piece` completes.

        Raises:
            RemoteProtocolError: A record is malformed, or a line or the document is too long.
        """
        self._kept += piece
        if not self._is_stream:
            if len(self._kept) > MAX_ANSWER_BYTES:
                raise RemoteProtocolError(f"answers more than {MAX_ANSWER_BYTES} bytes")
            return
        *lines, rest = self._kept.split(b"\n")
        self._kept = rest
        if len(rest) > MAX_LINE_BYTES:
            raise RemoteProtocolError(f"sends a line of more than {MAX_LINE_BYTES} bytes")
        for line in lines:
            yield from self._line(line)

    def finish(self) -> Iterator[RoutingRecord]:
        """Yield the records that the end of the body completes.

        Raises:
            RemoteProtocolError: As `feed`.
        """
        body, self._kept = bytes(self._kept), bytearray()
        if self._is_stream:
            yield from self._line(body)
            return
        document = _json(body)
        records = document.get(self._key) if isinstance(document, dict) else document
        if records is None and isinstance(document, dict):
            records = []  # some routers write null for none
        if not isinstance(records, list):
            raise RemoteProtocolError(f"answers without a list of {self._key}")
        for value in records:
            yield from self._take(value)

    def _line(self, line: bytes | bytearray) -> Iterator[RoutingRecord]:
        if self.is_done:
            return  # the rest of the body may have been cut anywhere
        if len(line) > MAX_LINE_BYTES:
            raise RemoteProtocolError(f"sends a line of more than {MAX_LINE_BYTES} bytes")
        if line.strip():
            yield from self._take(_json(line))

    def _take(self, value: object) -> Iterator[RoutingRecord]:
        if self.is_done:
            return
        self._records += 1  # those of unknown schemas count: they cost time, too
        record = record_from_json(value)
        if record is not None:
            yield record


def _json(text: bytes | bytearray) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise RemoteProtocolError("answers what is not JSON") from exc
