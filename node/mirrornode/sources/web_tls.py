"""TLS to the web or a company mirror: whose certificates are believed, and why one was not.

The system's authorities, or those of the company that the environment names. Peers are no concern
of this module: their certificates are pinned by ticket.
"""

from __future__ import annotations

import functools
import os
import ssl
from pathlib import Path
from typing import Final

CA_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
CA_ADVICE: Final = "set SSL_CERT_FILE or REQUESTS_CA_BUNDLE to your company's CA file"

# OpenSSL's X509_V_ERR_*, as in `SSLCertVerificationError.verify_code`.
NOT_YET_VALID, EXPIRED = 9, 10
SELF_SIGNED, SELF_SIGNED_IN_CHAIN = 18, 19
ISSUER_UNKNOWN: Final = frozenset({2, 20, 21, 27})
WRONG_HOST: Final = frozenset({62, 64})


def web_context() -> ssl.SSLContext:
    """Return the context for the environment as it is now.

    Raises:
        OSError: A file that the environment names cannot be read; `filename` is its path.
    """
    return _context_of(tuple(os.environ.get(name, "") for name in CA_VARIABLES))


def why_refused(failure: ssl.SSLCertVerificationError) -> str:
    """Return what to say of a certificate that was not believed: "certificate is ..."."""
    code = failure.verify_code
    if code == EXPIRED:
        return "certificate has expired: tell whoever runs the server, or set this machine's clock"
    if code == NOT_YET_VALID:
        return "certificate is not valid yet: this machine's clock may be wrong"
    if code in WRONG_HOST:
        return f"certificate is another host's: {failure.verify_message}"
    if code == SELF_SIGNED:
        return f"certificate is self-signed; {_advice()}"
    if code == SELF_SIGNED_IN_CHAIN or code in ISSUER_UNKNOWN:
        return f"certificate is signed by an authority that is not known here; {_advice()}"
    return f"certificate was refused: {failure.verify_message}"


def _advice() -> str:
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if path := os.environ.get(name):
            return f"{CA_ADVICE} ({name} is {path} now)"
    return CA_ADVICE


@functools.cache
def _context_of(settings: tuple[str, ...]) -> ssl.SSLContext:
    # OpenSSL reads the first two itself, and is silent about a file that is not there.
    certificates, _, *bundles = settings
    context = ssl.create_default_context()
    for path in (certificates, *bundles):
        if not path:
            continue
        if Path(path).is_dir():
            context.load_verify_locations(capath=path)
        else:
            try:
                context.load_verify_locations(cafile=path)
            except ssl.SSLError as exc:
                raise OSError(exc.errno, "holds no certificates", path) from exc
            except OSError as exc:
                raise OSError(exc.errno, exc.strerror, path) from exc
    return context
