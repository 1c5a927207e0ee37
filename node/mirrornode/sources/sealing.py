"""Leaving TLS for sealed frames, as the side that asks does it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from mirrornode.errors import RemoteProtocolError
from mirrornode.sources.sealed_stream import SealedStream
from mirrornode.wire import sealed

if TYPE_CHECKING:
    import http.client

    from mirrornode.sources.tls_stream import TlsStream


def ask_to_seal(
    connection: http.client.HTTPConnection, tls: TlsStream, authorization: str
) -> tuple[http.client.HTTPResponse, SealedStream | None]:
    """Ask a peer that TLS has proved for sealed frames; blocking.

    Returns:
        Its answer and, when it agrees, what goes on in place of `tls`; None when it does not: then
        the body of the answer waits to be read.

    Raises:
        RemoteProtocolError: What it agrees to is something else, or its secret is none.
        OSError, http.client.HTTPException: The connection broke.
    """
    ours = secrets.token_bytes(sealed.SECRET_BYTES)
    headers = {
        "Authorization": authorization,
        "Connection": "Upgrade",
        "Upgrade": sealed.PROTOCOL,
        sealed.SECRET_HEADER: sealed.encode_secret(ours),
    }
    connection.request("GET", sealed.PATH, headers=headers)
    response = connection.getresponse()
    if response.status != 101:
        return response, None
    if response.will_close or response.getheader("Upgrade", "") != sealed.PROTOCOL:
        raise RemoteProtocolError("an agreement to something else")
    theirs = sealed.decode_secret(response.getheader(sealed.SECRET_HEADER, ""))
    response.close()
    return response, SealedStream(tls.leave(), ours, theirs, is_asker=True)
