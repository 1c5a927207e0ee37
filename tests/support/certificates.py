"""Certificates for servers of tests: signed by a CA of ours, by themselves, expired."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Authority:
    """A company's CA; `path` is the file that clients should believe."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    path: Path


def make_authority(folder: Path) -> Authority:
    """Write a CA below `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Test Company CA")
    builder = _builder(name, name, key).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    certificate = builder.sign(key, hashes.SHA256())
    path = folder / "ca.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Authority(key, certificate, path)


def server_context(
    folder: Path,
    authority: Authority | None,
    *,
    names: tuple[str, ...] = ("127.0.0.1",),
    days: int = 10,
) -> ssl.SSLContext:
    """Return a server's TLS with a certificate for `names`; `days` below 0 has expired.

    Args:
        authority: Who signs; None for a self-signed certificate.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate.subject if authority is not None else _name(names[0])
    builder = _builder(_name(names[0]), issuer, key, days).add_extension(
        x509.SubjectAlternativeName([_general(name) for name in names]), critical=False
    )
    certificate = builder.sign(authority.key if authority is not None else key, hashes.SHA256())
    path = folder / f"server-{certificate.serial_number:x}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int = 10
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=20))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
