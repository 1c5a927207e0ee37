"""Where the Hub's own clients keep their cache and token: read like they do, from the environment.

Only the user's own process asks this; a daemon is told. Facts: huggingface_hub 0.24 to 2.4.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

MAX_TOKEN_BYTES = 4096


def hub_home(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the Hub's clients."""
    if named := environ.get("HF_HOME"):
        return Path(named).expanduser()
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "huggingface"


def hub_cache(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder where the Hub's clients keep models."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if named := environ.get(name):
            return Path(named).expanduser().absolute()
    return (hub_home(environ) / "hub").absolute()


def hub_token(environ: Mapping[str, str] = os.environ) -> str:
    """Return the user's token, "" when there is none."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := environ.get(name, "").strip():
            return token
    path = Path(environ.get("HF_TOKEN_PATH") or hub_home(environ) / "token").expanduser()
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
