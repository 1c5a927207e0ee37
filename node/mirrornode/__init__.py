"""mirrornode: a peer-to-peer, content-addressed mirror for model files.

The public face is `Client` (sync) and `AsyncClient`; both load on first use, so that importing
the package stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mirrornode.version import __version__

__all__ = ["AsyncClient", "Client", "__version__"]

if TYPE_CHECKING:
    from mirrornode.client import AsyncClient, Client


def __getattr__(name: str) -> Any:
    if name in ("AsyncClient", "Client"):
        from mirrornode import client

        return getattr(client, name)
    raise AttributeError(f"module 'mirrornode' has no attribute {name!r}")
