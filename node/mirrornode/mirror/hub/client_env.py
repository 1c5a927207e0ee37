"""Where the Hub's own clients keep their cache and token: read like they do, from the environment.

The user's own process asks this and tells the daemon; the daemon asks for itself only where the
cache is that its settings call `hf-cache`. Facts: huggingface_hub 0.24 to 2.4.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

MAX_TOKEN_BYTES = 4096
HF_CACHE = "hf-cache"  # in `share`: the cache of the Hub's clients; or "hf-cache:DIR"
_TRUE = ("1", "ON", "YES", "TRUE")


def hub_home(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the Hub's clients."""
    if named := environ.get("HF_HOME"):
        return _path(named)
    base = environ.get("XDG_CACHE_HOME")
    return (_path(base) if base else Path.home() / ".cache") / "huggingface"


def hub_cache(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder where the Hub's clients keep what they have fetched."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if named := environ.get(name):
            return _path(named).absolute()
    return (hub_home(environ) / "hub").absolute()


def cache_of(share: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the cache that "hf-cache" or "hf-cache:DIR" names, None for an ordinary path."""
    name, colon, folder = share.partition(":")
    if name != HF_CACHE:
        return None
    return Path(folder).expanduser().absolute() if colon else hub_cache(environ)


def hub_token(environ: Mapping[str, str] = os.environ) -> str:
    """Return the user's token, "" when there is none or it is not to be sent unasked."""
    if environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper() in _TRUE:
        return ""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := environ.get(name, "").strip():
            return token
    named = environ.get("HF_TOKEN_PATH")
    path = _path(named) if named else hub_home(environ) / "token"
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _path(text: str) -> Path:
    return Path(os.path.expandvars(os.path.expanduser(text)))
