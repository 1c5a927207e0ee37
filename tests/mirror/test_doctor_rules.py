"""`doctor`: what is thought of what was seen, as tables."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from mirrornode.mirror.doctor import OK, PROBLEM, WARNING, Finding
from mirrornode.mirror.doctor_rules import (
    GIB,
    HomeSeen,
    LimitsSeen,
    MulticastSeen,
    NodeSeen,
    PortSeen,
    judge_home,
    judge_limits,
    judge_multicast,
    judge_node,
    judge_peers,
    judge_port,
)
from mirrornode.mirror.doctor_web_rules import (
    CaSeen,
    EndpointSeen,
    ProxySeen,
    ServerSeen,
    judge_ca,
    judge_endpoint,
    judge_proxy,
    judge_servers,
)

H = "/h"
US = "http://127.0.0.1:8090"
UP: dict[str, Any] = {"version": "1", "state": "serving", "uptime_s": 600.0}
PROXY = {"https_proxy": "http://u:secret@proxy:3128"}


def peers(count: int, *, version: str = "1", outbound: bool = False) -> list[dict[str, Any]]:
    agent = f"mirrornode/{version}"
    return [{"agent": agent, "is_mirrornode": True, "outbound": outbound}] * count


def levels(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.check, finding.level) for finding in findings]


def said(findings: list[Finding]) -> str:
    return " ".join(f"{finding.text} {finding.next_step}" for finding in findings)


@pytest.mark.parametrize(
    ("seen", "expected", "words"),
    [
        (HomeSeen(H), [("home", OK)], "writable on ext4"),
        (HomeSeen(H, exists=False), [("home", OK)], "will be made"),
        (HomeSeen(H, exists=False, owner="root"), [("home", OK)], "will be made"),
        (HomeSeen(H, is_folder=False), [("home", PROBLEM)], "not a folder"),
        (HomeSeen(H, owner="bob"), [("home", PROBLEM)], "belongs to bob"),
        (HomeSeen(H, is_writable=False), [("home", PROBLEM)], "cannot be written to"),
        (HomeSeen(H, exists=False, is_writable=False), [("home", PROBLEM)], "cannot be made"),
        (HomeSeen(H, filesystem="nfs4"), [("home", WARNING)], "local disk"),
        (HomeSeen(H, filesystem="tmpfs"), [("home", WARNING)], "in memory"),
        (HomeSeen(H, filesystem="overlay"), [("home", WARNING)], "volume"),
        (HomeSeen(H, mode=0o777), [("home", PROBLEM)], "chmod 700"),
        (HomeSeen(H, free_bytes=0), [("disk", PROBLEM)], "full"),
        (HomeSeen(H, free_bytes=5 * GIB), [("disk", WARNING)], "5.0 GiB free"),
        (
            HomeSeen(H, filesystem="cifs", free_bytes=0),
            [("home", WARNING), ("disk", PROBLEM)],
            "cifs",
        ),
    ],
)
def test_judge_home(seen: HomeSeen, expected: list[tuple[str, str]], words: str) -> None:
    findings = judge_home(seen)
    assert levels(findings) == expected
    assert words in said(findings)


@pytest.mark.parametrize(
    ("seen", "level", "words"),
    [
        (NodeSeen(UP), OK, "serving"),
        (NodeSeen({**UP, "state": "ending"}), WARNING, "ending"),
        (NodeSeen({**UP, "version": "0"}), WARNING, "version 0"),
        (NodeSeen(), WARNING, "mirrornode serve"),
        (NodeSeen(is_locked=True), WARNING, "holds this home"),
        (NodeSeen(failure="the daemon stopped"), PROBLEM, "the daemon stopped"),
    ],
)
def test_judge_node(seen: NodeSeen, level: str, words: str) -> None:
    findings = judge_node(seen, "1")
    assert levels(findings) == [("node", level)]
    assert words in said(findings)


@pytest.mark.parametrize(
    ("seen", "finds", "expected"),
    [
        (NodeSeen(), True, []),
        (NodeSeen(UP), True, [("peers", WARNING)]),
        (NodeSeen(UP), False, [("peers", PROBLEM)]),
        (NodeSeen(UP, [{"agent": "kubo/1", "is_mirrornode": False}]), True, [("peers", WARNING)]),
        (NodeSeen(UP, peers(2)), True, [("peers", OK)]),
        (NodeSeen(UP, peers(1) + peers(1, version="2")), True, [("peers", WARNING)]),
        (NodeSeen(UP, peers(3, outbound=True)), True, [("peers", OK), ("firewall", WARNING)]),
        (NodeSeen(UP, peers(2, outbound=True)), True, [("peers", OK)]),
        (NodeSeen(UP, [*peers(3, outbound=True), *peers(1)]), True, [("peers", OK)]),
        (NodeSeen({**UP, "uptime_s": 5}, peers(3, outbound=True)), True, [("peers", OK)]),
    ],
)
def test_judge_peers(seen: NodeSeen, finds: bool, expected: list[tuple[str, str]]) -> None:
    assert levels(judge_peers(seen, "1", finds_peers=finds)) == expected


@pytest.mark.parametrize(
    ("seen", "level", "words"),
    [
        (PortSeen("gateway", "127.0.0.1", 8090, True), OK, "free"),
        (PortSeen("gateway", "127.0.0.1", 8090, True, errno.EADDRINUSE), WARNING, "another port"),
        (PortSeen("gateway", "127.0.0.1", 8090, False, errno.EADDRINUSE), PROBLEM, "ss -ltnp"),
        (PortSeen("gateway", "127.0.0.1", 80, False, errno.EACCES), PROBLEM, "1023"),
        (PortSeen("gateway", "192.0.2.1", 80, False, errno.EADDRNOTAVAIL), PROBLEM, "no address"),
        (PortSeen("gateway", "127.0.0.1", 8090, True, None, 8090), OK, "answers"),
        (PortSeen("gateway", "127.0.0.1", 0, False, None, 33333), OK, "answers"),
        (PortSeen("gateway", "127.0.0.1", 8090, True, None, 33333), WARNING, "33333 instead"),
        (PortSeen("gateway", "127.0.0.1", 8090, True, None, 8090, False), PROBLEM, "restart"),
    ],
)
def test_judge_port(seen: PortSeen, level: str, words: str) -> None:
    finding = judge_port(seen)
    assert finding.level == level
    assert words in said([finding])


@pytest.mark.parametrize(
    ("seen", "level", "words"),
    [
        (MulticastSeen({"eth0": ""}), OK, "works on eth0"),
        (MulticastSeen({"eth0": "", "tun0": "no device"}), OK, "tun0: no device"),
        (MulticastSeen({"eth0": "refused"}), WARNING, "UDP 5353"),
        (MulticastSeen({"eth0": "refused"}, is_container=True), WARNING, "hostNetwork"),
        (MulticastSeen({"eth0": ""}, is_container=True), WARNING, "network of its own"),
        (MulticastSeen({}), PROBLEM, "no network interface"),
        (MulticastSeen({}, is_enabled=False), OK, "off by the settings"),
    ],
)
def test_judge_multicast(seen: MulticastSeen, level: str, words: str) -> None:
    findings = judge_multicast(seen)
    assert levels(findings) == [("mdns", level)]
    assert words in said(findings)


@pytest.mark.parametrize(
    ("seen", "expected", "words"),
    [
        (LimitsSeen(65536, 65536, "bbr", ["reno", "cubic"]), [("limits", OK)], "65536"),
        (LimitsSeen(1024, 1_000_000, "cubic"), [("limits", WARNING)], "ulimit -n 65536"),
        (LimitsSeen(1024, 1024), [("limits", WARNING)], "LimitNOFILE"),
        (LimitsSeen(65536, 65536, "bbr", ["bbr"]), [("limits", OK), ("tcp", WARNING)], "sysctl"),
    ],
)
def test_judge_limits(seen: LimitsSeen, expected: list[tuple[str, str]], words: str) -> None:
    assert levels(judge_limits(seen)) == expected
    assert words in said(judge_limits(seen))


@pytest.mark.parametrize(
    ("seen", "expected", "words"),
    [
        (ProxySeen({}), [OK], "directly"),
        (ProxySeen({"no_proxy": "x"}), [OK], "directly"),
        (ProxySeen(PROXY), [OK], "https_proxy set"),
        (ProxySeen({"https_proxy": "socks5://u:secret@h"}), [PROBLEM], "socks5"),
        (ProxySeen({"ALL_PROXY": "https://secret@h"}), [PROBLEM], "kind https"),
        (ProxySeen({**PROXY, "HTTPS_PROXY": "http://secret@other"}), [WARNING], "differ"),
        (ProxySeen(PROXY, "proxy:3128: refused"), [PROBLEM], "refused"),
        (ProxySeen(PROXY, bypasses_loopback=False), [WARNING], "NO_PROXY="),
        (ProxySeen(PROXY, bypasses_loopback=False, hf_endpoint=US), [PROBLEM], "NO_PROXY="),
    ],
)
def test_judge_proxy(seen: ProxySeen, expected: list[str], words: str) -> None:
    findings = judge_proxy(seen)
    assert [finding.level for finding in findings] == expected
    assert words in said(findings)
    assert "secret" not in said(findings)


def test_judge_ca() -> None:
    assert levels(judge_ca(CaSeen({}))) == [("ca", OK)]
    assert "SSL_CERT_FILE=/ca" in said(judge_ca(CaSeen({"SSL_CERT_FILE": "/ca", "X": ""})))
    broken = judge_ca(CaSeen({"SSL_CERT_FILE": "/ca"}, "/ca: No such file"))
    assert levels(broken) == [("ca", PROBLEM)]


ORIGIN, MIRROR = "origin", "mirror"


@pytest.mark.parametrize(
    ("seen", "expected", "words"),
    [
        ([], [(ORIGIN, OK)], "none is configured"),
        ([ServerSeen(ORIGIN, "u", 0.02, skew_s=0.4)], [(ORIGIN, OK), ("clock", OK)], "20 ms"),
        ([ServerSeen(ORIGIN, "u", 3.0)], [(ORIGIN, WARNING)], "3000 ms"),
        ([ServerSeen(ORIGIN, "u", failure="is away")], [(ORIGIN, PROBLEM)], "is away"),
        (
            [ServerSeen(ORIGIN, "u", failure="is away"), ServerSeen(ORIGIN, "v", 0.1)],
            [(ORIGIN, WARNING), (ORIGIN, OK)],
            "is away",
        ),
        (
            [ServerSeen(ORIGIN, "u", 0.1), ServerSeen(MIRROR, "m", failure="is away")],
            [(ORIGIN, OK), (MIRROR, WARNING)],
            "config.toml",
        ),
        (
            [ServerSeen(ORIGIN, "u", failure="no", is_tls_failure=True, issuer="Corp Root")],
            [(ORIGIN, PROBLEM)],
            "signed by 'Corp Root'",
        ),
        (
            [ServerSeen(ORIGIN, "u", failure="no", is_tls_failure=True)],
            [(ORIGIN, PROBLEM)],
            "set SSL_CERT_FILE",
        ),
        (
            [ServerSeen(ORIGIN, "u", 0.1, issuer="Zscaler Inc., Zscaler Root CA")],
            [(ORIGIN, OK), ("tls", WARNING)],
            "REQUESTS_CA_BUNDLE",
        ),
        ([ServerSeen(ORIGIN, "u", 0.1, issuer="Amazon")], [(ORIGIN, OK)], "100 ms"),
        (
            [ServerSeen(ORIGIN, "u", 0.1, skew_s=-60.0)],
            [(ORIGIN, OK), ("clock", WARNING)],
            "60 s behind",
        ),
        ([ServerSeen(ORIGIN, "u", 0.1, skew_s=900.0)], [(ORIGIN, OK), ("clock", PROBLEM)], "ahead"),
        (
            [ServerSeen(ORIGIN, "u", 0.1, skew_s=900.0), ServerSeen(MIRROR, "m", 0.1, skew_s=0.0)],
            [(ORIGIN, OK), (MIRROR, OK), ("clock", OK)],
            "agrees",
        ),
    ],
)
def test_judge_servers(seen: list[ServerSeen], expected: list[tuple[str, str]], words: str) -> None:
    findings = judge_servers(seen)
    assert levels(findings) == expected
    assert words in said(findings)


@pytest.mark.parametrize(
    ("seen", "expected", "words"),
    [
        (EndpointSeen("", US, US), [("HF_ENDPOINT", OK)], f"export HF_ENDPOINT={US}"),
        (EndpointSeen(US, US, US), [("HF_ENDPOINT", OK)], "through it"),
        (EndpointSeen("http://localhost:8090/", US, US), [("HF_ENDPOINT", OK)], "through it"),
        (EndpointSeen(US, "", US), [("HF_ENDPOINT", PROBLEM)], "does not run"),
        (EndpointSeen("http://127.0.0.1:1", US, US), [("HF_ENDPOINT", PROBLEM)], US),
        (EndpointSeen(US, US + "/hub", US), [("HF_ENDPOINT", PROBLEM)], US + "/hub"),
        (EndpointSeen("https://u:secret@hf.example/", US, US), [("HF_ENDPOINT", OK)], "not this"),
        (EndpointSeen("http://[", US, US), [("HF_ENDPOINT", OK)], "not this"),
        (
            EndpointSeen(US, US, US, origins=["http://localhost:8090"]),
            [("HF_ENDPOINT", OK), ("origin", PROBLEM)],
            "itself",
        ),
        (
            EndpointSeen(US, US, US, cache="/c"),
            [("HF_ENDPOINT", OK), ("hf cache", OK)],
            "--hf-cache",
        ),
        (
            EndpointSeen(US, US, US, cache="/c", shares_cache=True),
            [("HF_ENDPOINT", OK), ("hf cache", OK)],
            "is shared",
        ),
    ],
)
def test_judge_endpoint(seen: EndpointSeen, expected: list[tuple[str, str]], words: str) -> None:
    findings = judge_endpoint(seen)
    assert levels(findings) == expected
    assert words in said(findings)
    assert "secret" not in said(findings)


def test_every_warning_and_problem_says_what_to_do_or_that_it_is_only_slow() -> None:
    # Those of `examine` and a slow server are the only ones without a step.
    every = [
        *judge_home(HomeSeen(H, filesystem="nfs", mode=0o777, free_bytes=0)),
        *judge_node(NodeSeen(), "1"),
        *judge_peers(NodeSeen(UP), "1", finds_peers=False),
        judge_port(PortSeen("gateway", "127.0.0.1", 8090, True, errno.EADDRINUSE)),
        *judge_multicast(MulticastSeen({})),
        *judge_proxy(ProxySeen(PROXY, "x", bypasses_loopback=False)),
        *judge_servers([ServerSeen(ORIGIN, "u", failure="is away", skew_s=900.0)]),
    ]
    assert all(finding.next_step for finding in every)
