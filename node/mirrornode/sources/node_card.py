"""Asks a node's gateway who it is and where it can be dialled. Blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirrornode.errors import RemoteProtocolError, SourceRefused
from mirrornode.sources.refusal import refusal
from mirrornode.sources.web import WEB_HEADERS, Moved, WebConnection, public_url
from mirrornode.wire.pinset import CARD_PATH, MAX_CARD_BYTES, decode_card

if TYPE_CHECKING:
    from mirrornode.wire.pinset import NodeCard

HEADERS: Final = {**WEB_HEADERS, "Accept": "application/json"}


def fetch_card(url: str) -> NodeCard:
    """Return what the gateway at `url` says of its node.

    Raises:
        SourceError: It cannot be reached, refuses, or is no node's gateway.
    """
    source_id = f"node:{public_url(url)}"
    connection = WebConnection(source_id, Moved())
    try:
        response = connection.request(url.rstrip("/") + CARD_PATH, HEADERS)
        if response.status != 200:
            raise refusal(response, source_id)
        return decode_card(connection.read_all(MAX_CARD_BYTES))
    except RemoteProtocolError as exc:
        raise SourceRefused(f"{public_url(url)} is no node's: {exc}", source_id=source_id) from exc
    finally:
        connection.abort()
