"""Who this node is: an Ed25519 key in a file, and the peer id that follows from it.

The file is one line: the libp2p `PrivateKey` protobuf in base64, the same text that Kubo keeps as
`Identity.PrivKey` (`CAESQ…`), mode 0600. A damaged file is an error and never replaced: a new key
would be a new node to everybody who trusts this one. Imports neither libp2p nor trio.
Spec: libp2p peer-ids/peer-ids.md.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mirrornode.errors import PathRefused, StoreError
from mirrornode.swarm.peer_id import peer_id_of_public_key

SEED_BYTES = 32
MAX_FILE_BYTES = 1024  # a key file has 93 bytes; anything much longer is not one

_PRIVATE_PREFIX = bytes.fromhex("08011240")  # field 1 = 1 (Ed25519), field 2 = 64 bytes
_PUBLIC_PREFIX = bytes.fromhex("08011220")  # field 1 = 1 (Ed25519), field 2 = 32 bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """A node's key pair and name.

    Attributes:
        peer_id: Base58 text, `12D3Koo…`.
        private_seed: The 32 bytes that the key pair follows from. Secret; not in `repr`.
        public_key: The 32 bytes of the Ed25519 public key.
    """

    peer_id: str
    private_seed: bytes = field(repr=False)
    public_key: bytes

    @classmethod
    def from_seed(cls, seed: bytes) -> Identity:
        """Return the identity of a 32-byte Ed25519 seed."""
        assert len(seed) == SEED_BYTES, "an Ed25519 seed has 32 bytes"
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
        public_key = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return cls(peer_id_of_public_key(_PUBLIC_PREFIX + public_key), seed, public_key)

    @classmethod
    def generate(cls) -> Identity:
        """Return a new identity."""
        return cls.from_seed(os.urandom(SEED_BYTES))

    @classmethod
    def from_protobuf(cls, encoded: bytes) -> Identity:
        """Read a libp2p `PrivateKey` message.

        Raises:
            ValueError: Not an Ed25519 private key, or its public half belongs to another one.
        """
        if not encoded.startswith(_PRIVATE_PREFIX) or len(encoded) != 68:
            raise ValueError("not an Ed25519 private key in libp2p form")
        identity = cls.from_seed(encoded[4:36])
        if encoded[36:] != identity.public_key:
            raise ValueError("the public half does not belong to the private half")
        return identity

    def to_protobuf(self) -> bytes:
        """Return the libp2p `PrivateKey` message."""
        return _PRIVATE_PREFIX + self.private_seed + self.public_key

    def public_protobuf(self) -> bytes:
        """Return the libp2p `PublicKey` message, which identify carries."""
        return _PUBLIC_PREFIX + self.public_key


def load_or_create_identity(path: Path) -> Identity:
    """Read the key at `path`, or create one there if nothing is.

    Raises:
        StoreError: The file is not a key. Nothing is overwritten.
        PathRefused: The operating system denies reading or creating it.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            return _read(path)
        _create(path, Identity.generate())
        return _read(path)  # another process may have been first; then its key is the one
    except OSError as exc:
        raise PathRefused(path, "read or create", exc.strerror or str(exc)) from exc


def _read(path: Path) -> Identity:
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if mode & 0o077:
            log.warning("identity file was open to others mode=%o", stat.S_IMODE(mode))
            os.fchmod(file.fileno(), 0o600)
        text = file.read(MAX_FILE_BYTES + 1)
    try:
        return Identity.from_protobuf(base64.b64decode(text.strip(), validate=True))
    except (binascii.Error, ValueError) as exc:
        raise StoreError(
            f"{path} is damaged ({exc}); restore it from a copy, or move it away and this node "
            "gets a new identity"
        ) from exc


def _create(path: Path, identity: Identity) -> None:
    """Put a whole, synced file at `path`, unless one is there already."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(identity.to_protobuf()) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)  # unlike a rename, never replaces a key
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
