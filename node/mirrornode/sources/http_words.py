"""What a server did instead of answering, as a predicate: it is read after the source's name."""

from __future__ import annotations

import http.client
import socket

from mirrornode.sources.dialing import DialBrokenOff

SENT_LESS = "sent less than it said"


def what_went_wrong(failure: Exception, host: str) -> str:
    """Return what a source did, as a predicate."""
    if isinstance(failure, DialBrokenOff):
        return "broken off"
    if isinstance(failure, socket.gaierror | UnicodeError):
        return f"cannot be found: {host} has no address ({_reason(failure)})"
    if isinstance(failure, ConnectionRefusedError):
        return "refuses connections"
    if isinstance(failure, http.client.RemoteDisconnected):
        return "closed the connection without an answer"
    if isinstance(failure, http.client.IncompleteRead):
        return SENT_LESS
    if isinstance(failure, ConnectionResetError | BrokenPipeError):
        return f"broke the connection ({_reason(failure)})"
    if isinstance(failure, http.client.BadStatusLine):
        return "does not speak HTTP as it should"
    if isinstance(failure, http.client.HTTPException):
        return f"does not speak HTTP as it should ({_reason(failure)})"
    if isinstance(failure, OSError) and failure.filename:
        return f"cannot be asked: {failure.filename}: {_reason(failure)}"
    return f"cannot be used ({_reason(failure)})"


def _reason(failure: Exception) -> str:
    return str(getattr(failure, "strerror", None) or failure or type(failure).__name__)[:200]
