"""The peer plane's TLS certificate: self-signed, kept in the home, pinned by tickets.

Nobody needs to trust it beforehand: its SHA-256 travels in the ticket, over a connection whose
ends libp2p has proved.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mirrornode.errors import PathRefused

FILE_NAME = "peer_plane.pem"
LIFE = datetime.timedelta(days=3650)  # the pin is what counts, not the date
RENEW_BEFORE = datetime.timedelta(days=30)

_OP_ENABLE_KTLS = 8  # `ssl.OP_ENABLE_KTLS` from Python 3.12 on


@dataclass(frozen=True, slots=True)
class PlaneCertificate:
    """A TLS server context and the SHA-256 of its certificate (DER)."""

    context: ssl.SSLContext
    sha256: bytes


def load_or_create_certificate(home: Path) -> PlaneCertificate:
    """Return the certificate of this home; a missing, damaged or old one is replaced.

    Raises:
        PathRefused: The file cannot be written.
    """
    path = home / FILE_NAME
    loaded = _load(path)
    if loaded is None:
        _create(path)
        loaded = _load(path)
    if loaded is None:
        raise PathRefused(path, "read", "what was just written there cannot be used")
    return loaded


def _load(path: Path) -> PlaneCertificate | None:
    """Return what the file holds, None when it is missing, damaged or near its end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Whatever the system's settings say: a connection that leaves TLS must find its socket plain.
    context.options &= ~_OP_ENABLE_KTLS
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        # An empty password: a key that needs one is refused instead of asked for.
        context.load_cert_chain(path, password="")
    except (OSError, ValueError):
        return None
    now = datetime.datetime.now(datetime.UTC)
    if now + RENEW_BEFORE > certificate.not_valid_after_utc:
        return None
    der = certificate.public_bytes(serialization.Encoding.DER)
    return PlaneCertificate(context, hashlib.sha256(der).digest())


def _create(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mirrornode")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + LIFE)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    fresh = path.with_suffix(".new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(pem)
        os.replace(fresh, path)
    except OSError as exc:
        raise PathRefused(path, "write", exc.strerror or str(exc)) from exc
