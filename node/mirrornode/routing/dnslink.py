"""DNSLink: what a domain says, in a TXT record, that its name means.

One question for `_dnslink.<domain>`, put to the resolvers of this machine. Domains that point to
other names are followed in `mirror.ipns`; nothing is cached here.

Spec: dnslink.dev; ipfs/specs DNSLink gateway.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from mirrornode.errors import NoProviders, SourceGone, TargetError

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

LOOKUP_TIMEOUT_S: Final = 5.0
MAX_TEXTS: Final = 64  # of one answer; domains that have more than one link are rare
MAX_DOMAIN_CHARACTERS: Final = 240  # 253, less the label that is put before it

_LINK = "dnslink="
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Link:
    """A path, `/ipfs/…` or `/ipns/…`, and how long the DNS says it counts."""

    path: str
    ttl_s: float


def is_domain(text: str) -> bool:
    """Tell whether a name is one for the DNS."""
    return len(text) <= MAX_DOMAIN_CHARACTERS and _DOMAIN.fullmatch(text.lower()) is not None


def system_resolver() -> Resolver:
    """Return a resolver that asks whom this machine asks.

    Raises:
        SourceGone: Nothing says whom that is.
    """
    from dns.asyncresolver import Resolver
    from dns.exception import DNSException

    try:
        return Resolver()
    except DNSException as exc:
        raise SourceGone(f"this machine has no DNS resolver: {exc}", source_id="dns") from exc


class DnsLinks:
    """Looks up domains.

    Args:
        open_resolver: Called for each look-up: a machine that moves has other resolvers.
        timeout_s: For one look-up, all resolvers and repetitions together.
    """

    def __init__(
        self,
        open_resolver: Callable[[], Resolver] = system_resolver,
        *,
        timeout_s: float = LOOKUP_TIMEOUT_S,
    ) -> None:
        self._open_resolver = open_resolver
        self._timeout_s = timeout_s

    async def look_up(self, domain: str) -> Link:
        """Return what a domain means; of several links the first in the order of bytes.

        Raises:
            TargetError: Not a domain.
            NoProviders: The DNS says that it has no link.
            SourceGone: The DNS does not answer.
        """
        from dns.exception import DNSException, Timeout
        from dns.resolver import NXDOMAIN, NoAnswer

        if not is_domain(domain):
            raise TargetError(f"{domain[:100]!r} is not a domain")
        resolver = self._open_resolver()
        asked = f"_dnslink.{domain.lower()}."  # whole: what a company appends to names is not tried
        try:
            answer = await resolver.resolve(asked, "TXT", lifetime=self._timeout_s)
        except (NXDOMAIN, NoAnswer) as exc:
            raise NoProviders(f"{domain} has no DNSLink: no TXT record at {asked}") from exc
        except Timeout as exc:
            raise SourceGone(f"no DNS resolver answers for {asked}", source_id="dns") from exc
        except (DNSException, OSError) as exc:
            raise SourceGone(f"the DNS fails for {asked}: {exc}", source_id="dns") from exc
        texts = (b"".join(record.strings) for record in islice(answer, MAX_TEXTS))
        links = sorted(
            text.decode().removeprefix(_LINK)
            for text in texts
            if text.isascii() and text.startswith(_LINK.encode())
        )
        if not links:
            raise NoProviders(f"{domain} has no DNSLink: no TXT record at {asked} begins {_LINK}")
        return Link(links[0], float(answer.rrset.ttl) if answer.rrset is not None else 0.0)
