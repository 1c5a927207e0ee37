"""DNSLink, against a DNS server on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator

import dns.rcode
import pytest

from mirrornode.errors import NoProviders, SourceGone, TargetError
from mirrornode.routing.dnslink import DnsLinks, Link, is_domain
from support.dns_server import Zone, dns_server

ASKED = "_dnslink.models.example.org"


@pytest.fixture
async def zone() -> AsyncIterator[Zone]:
    async with dns_server(Zone()) as opened:
        yield opened


async def _look_up(zone: Zone, domain: str = "models.example.org") -> Link:
    return await DnsLinks(zone.resolver).look_up(domain)


async def test_look_up_gives_the_path_and_how_long_it_counts(zone: Zone) -> None:
    zone.texts[ASKED] = ['"v=spf1 -all"', '"dnslink=/ipfs/bafkqaaa/model"']
    zone.ttl_s = 120
    assert await _look_up(zone, "Models.Example.org") == Link("/ipfs/bafkqaaa/model", 120.0)
    assert [name.lower() for name in zone.asked] == [ASKED]


async def test_look_up_joins_the_strings_of_a_long_record(zone: Zone) -> None:
    zone.texts[ASKED] = ['"dnslink=/ipfs/bafkqaaa/" "one/" "two"']
    assert (await _look_up(zone)).path == "/ipfs/bafkqaaa/one/two"


async def test_look_up_of_several_links_takes_the_first_in_order(zone: Zone) -> None:
    zone.texts[ASKED] = ['"dnslink=/ipns/b.example.org"', '"dnslink=/ipfs/bafkqaaa"']
    assert (await _look_up(zone)).path == "/ipfs/bafkqaaa"


async def test_look_up_when_the_answer_is_cut_off_then_asks_over_tcp(zone: Zone) -> None:
    zone.is_cut = True
    zone.texts[ASKED] = ['"dnslink=/ipfs/bafkqaaa"']
    assert (await _look_up(zone)).path == "/ipfs/bafkqaaa"
    assert len(zone.asked) == 2


@pytest.mark.parametrize("texts", [None, [], ['"no link"'], ['"DNSLINK=/ipfs/bafkqaaa"']])
async def test_look_up_when_there_is_no_link_then_says_so(
    zone: Zone, texts: list[str] | None
) -> None:
    if texts is not None:
        zone.texts[ASKED] = texts
    with pytest.raises(NoProviders, match="no DNSLink"):
        await _look_up(zone)


async def test_look_up_when_the_dns_fails_then_source_gone(zone: Zone) -> None:
    zone.rcode = dns.rcode.SERVFAIL
    zone.texts[ASKED] = []
    with pytest.raises(SourceGone):
        await _look_up(zone)


async def test_look_up_when_the_dns_is_silent_then_source_gone(zone: Zone) -> None:
    zone.is_silent = True
    with pytest.raises(SourceGone, match="no DNS resolver answers"):
        await DnsLinks(zone.resolver, timeout_s=0.2).look_up("models.example.org")


@pytest.mark.parametrize(
    "text",
    ["", "models", "a..b", ".a.b", "a b.c", "-a.b", "a-.b", "a.b.", "ä.de", "a/b.c",
     "1" * 64 + ".c", "a." * 130 + "b"],
)  # fmt: skip
async def test_look_up_of_what_is_no_domain_then_target_error(zone: Zone, text: str) -> None:
    assert not is_domain(text)
    with pytest.raises(TargetError):
        await _look_up(zone, text)
    assert zone.asked == []
