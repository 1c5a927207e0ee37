"""All decoders that read what strangers sent, by name."""

from __future__ import annotations

from fuzz.content import CONTENT
from fuzz.decoder import Decoder
from fuzz.ipfs import IPFS
from fuzz.messages import MESSAGES
from fuzz.names import NAMES

DECODERS: dict[str, Decoder] = {each.name: each for each in (*CONTENT, *MESSAGES, *NAMES, *IPFS)}
