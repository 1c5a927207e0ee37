"""`doctor`: looking at broken surroundings, and checks that fail or hang."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mirrornode.config import Config, GatewayConfig, MirrorConfig, OriginConfig, SwarmConfig
from mirrornode.errors import DaemonGone
from mirrornode.mirror import doctor_machine as machine
from mirrornode.mirror import doctor_network as network
from mirrornode.mirror.doctor import OK, PROBLEM, WARNING, Finding, examine, has_problem
from mirrornode.mirror.doctor_checks import diagnose
from mirrornode.mirror.doctor_rules import (
    judge_home,
    judge_multicast,
    judge_port,
)
from mirrornode.mirror.doctor_web_rules import (
    judge_ca,
    judge_proxy,
    judge_servers,
)
from mirrornode.sources.web_tls import CA_VARIABLES
from mirrornode.store.home import is_home_locked, lock_home
from mirrornode.swarm.addresses import InterfaceAddress
from mirrornode.version import __version__
from support.certificates import make_authority, server_context
from support.raw_server import Visit, raw_server
from support.stand_in_proxy import stand_in_proxy

UP: dict[str, Any] = {"version": "1", "state": "serving", "uptime_s": 600.0}


def peers(count: int, *, version: str = "1", outbound: bool = False) -> list[dict[str, Any]]:
    agent = f"mirrornode/{version}"
    return [{"agent": agent, "is_mirrornode": True, "outbound": outbound}] * count


def levels(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.check, finding.level) for finding in findings]


def said(findings: list[Finding]) -> str:
    return " ".join(f"{finding.text} {finding.next_step}" for finding in findings)


# -- running checks --------------------------------------------------------------------------------


def test_examine_keeps_the_order_and_outlives_what_fails_and_what_hangs() -> None:
    gate = threading.Event()

    def hangs() -> list[Finding]:
        gate.wait()
        return []

    def fails() -> list[Finding]:
        raise ZeroDivisionError("oh")

    checks = {"a": hangs, "b": fails, "c": lambda: [Finding("c", OK, "fine")]}
    findings = examine(checks, patience_s=0.2)
    gate.set()
    assert levels(findings) == [("a", WARNING), ("b", WARNING), ("c", OK)]
    assert "no answer" in findings[0].text
    assert "ZeroDivisionError" in findings[1].text
    assert not has_problem(findings)


# -- looking ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/models", "nfs4"), ("/srv/with space/x", "ext4"), ("/srv2", "overlay"),
        ("/", "overlay"), ("/run/x", "tmpfs"),
    ],
)  # fmt: skip
def test_filesystem_of_takes_the_nearest_and_latest_mount(path: str, kind: str) -> None:
    mounts = (
        "overlay / overlay rw 0 0\nnas:/x /srv nfs4 rw 0 0\n/dev/sda /srv/with\\040space ext4 rw\n"
        "a /run ext4 rw\ntmpfs /run tmpfs rw\nshort\n"
    )
    assert machine.filesystem_of(Path(path), mounts) == kind


def test_look_at_home_when_it_is_there_or_not_then_nothing_is_made(tmp_path: Path) -> None:
    seen = machine.look_at_home(tmp_path)
    assert (seen.exists, seen.is_folder, seen.is_writable, seen.owner) == (True, True, True, "")
    assert seen.free_bytes > 0
    seen = machine.look_at_home(tmp_path / "a" / "b")
    assert (seen.exists, seen.is_writable) == (False, True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    assert not machine.look_at_home(tmp_path / "file" / "home").is_folder


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that may not be written to, seen as an ordinary user."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o555)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)
        try:
            yield path
        finally:
            if is_root:
                os.seteuid(0)
            path.chmod(0o755)


def test_look_at_home_when_it_is_read_only_then_a_problem(read_only: Path) -> None:
    assert has_problem(judge_home(machine.look_at_home(read_only)))
    assert has_problem(judge_home(machine.look_at_home(read_only / "home")))


def test_look_at_port_when_it_is_taken_then_so_and_free_again_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        seen = machine.look_at_port("x", "127.0.0.1", port, is_default=False, node_runs=False)
        assert judge_port(seen).level == PROBLEM
        ours = machine.look_at_port(
            "x", "127.0.0.1", port, is_default=False, actual=f"http://h:{port}", node_runs=True
        )
        assert judge_port(ours).level == OK
    seen = machine.look_at_port("x", "127.0.0.1", port, is_default=False, node_runs=False)
    assert judge_port(seen).level == OK
    gone = machine.look_at_port(
        "x", "127.0.0.1", port, is_default=False, actual=f"http://h:{port}", node_runs=True
    )
    assert judge_port(gone).level == PROBLEM


def test_look_at_multicast_when_off_then_nothing_is_sent() -> None:
    seen = machine.look_at_multicast(is_enabled=False, environ={})
    assert not seen.by_interface
    assert judge_multicast(machine.look_at_multicast(is_enabled=True, environ={}))


@pytest.mark.parametrize(
    ("names", "is_own"), [(["eth0"], True), (["eth0", "cni0"], False), (["enp3s0"], False)]
)
def test_is_own_network_when_in_a_pod(names: list[str], is_own: bool) -> None:
    import ipaddress

    ip = ipaddress.ip_address("10.0.0.2")
    addresses = [InterfaceAddress(name, ip, 24) for name in names]
    assert machine.is_own_network(addresses, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}) is is_own


def test_is_home_locked_tells_without_making_anything(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert not is_home_locked(home)
    assert not home.exists()
    with lock_home(home):
        assert is_home_locked(home)
    assert not is_home_locked(home)


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*network.PROXY_VARIABLES, *CA_VARIABLES, "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


def test_look_at_proxy_when_it_is_dead_then_a_problem_without_the_password(
    clean_environment: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as dead:
        port = dead.getsockname()[1]
    clean_environment.setenv("https_proxy", f"http://ann:secret@127.0.0.1:{port}")
    findings = judge_proxy(network.look_at_proxy(os.environ))
    assert has_problem(findings)
    assert f"127.0.0.1:{port}" in said(findings)
    assert "secret" not in said(findings)
    assert "NO_PROXY" in said(findings)
    clean_environment.setenv("no_proxy", "localhost,127.0.0.1")
    assert "NO_PROXY" not in said(judge_proxy(network.look_at_proxy(os.environ)))


def test_look_at_ca_when_the_file_is_missing_then_a_problem(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert not has_problem(judge_ca(network.look_at_ca(os.environ)))
    clean_environment.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    findings = judge_ca(network.look_at_ca(os.environ))
    assert has_problem(findings)
    assert "gone.pem" in said(findings)


def dated(visit: Visit) -> None:
    while visit.head():
        visit.answer(headers="Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n")


def test_look_at_server_when_the_ca_is_unknown_then_who_signed_it(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = make_authority(tmp_path)
    with raw_server(dated, context=server_context(tmp_path, authority)) as server:
        url = f"https://127.0.0.1:{server.port}"
        seen = network.look_at_server("origin", url)
        assert (seen.is_tls_failure, seen.issuer) == (True, "Test Company CA")
        findings = judge_servers([seen])
        assert has_problem(findings)
        assert "Test Company CA" in said(findings)
        clean_environment.setenv("SSL_CERT_FILE", str(authority.path))
        seen = network.look_at_server("origin", url)
        assert (seen.failure, seen.issuer) == ("", "Test Company CA")
        assert seen.skew_s is not None
        assert judge_servers([seen])[-1].check == "clock"


def test_issuer_of_when_behind_a_proxy_then_asked_through_it(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = make_authority(tmp_path)
    with (
        raw_server(dated, context=server_context(tmp_path, authority)) as server,
        stand_in_proxy(server.port) as proxy,
    ):
        clean_environment.setenv("https_proxy", f"http://{proxy.address}")
        assert network.issuer_of("https://hub.example/") == "Test Company CA"
        assert proxy.places == ["hub.example:443"]


@pytest.mark.parametrize("date", ["", "nonsense", "Thu, 99 Jan 2026 00:00:00 GMT"])
def test_look_at_server_when_its_date_is_nonsense_then_no_skew(
    clean_environment: pytest.MonkeyPatch, date: str
) -> None:
    def behaviour(visit: Visit) -> None:
        while visit.head():
            visit.answer(headers=f"Date: {date}\r\n")

    with raw_server(behaviour) as server:
        url = f"http://ann:secret@127.0.0.1:{server.port}/?token=secret"
        [seen] = network.look_at_servers([("mirror", url)])
    assert (seen.failure, seen.skew_s) == ("", None)
    assert "secret" not in seen.url
    assert "Authorization" not in server.requests[0]


@pytest.mark.parametrize(
    "url", ["ftp://ann:secret@x", "http://ann:secret@127.0.0.1:99999", "", "http://["]
)
def test_look_at_server_when_the_url_cannot_be_then_said_without_its_login(url: str) -> None:
    [seen] = network.look_at_servers([("mirror", url)])
    assert "is no http" in seen.failure
    assert "secret" not in seen.failure + seen.url


# -- the whole -------------------------------------------------------------------------------------


def nobody(verb: str) -> None:
    """No node runs."""


def gone(verb: str) -> Any:
    raise DaemonGone("the daemon stopped before it was done")


def running(verb: str) -> Any:
    listen = ["/ip4/127.0.0.1/tcp/4101/p2p/12D3KooW", 7, "nonsense"]
    status = {
        **UP,
        "version": __version__,
        "listen": listen,
        "gateway": 5,
        "peer_plane": "http://[",
    }
    return status if verb == "status" else peers(1, version=__version__)


@pytest.mark.parametrize("ask", [nobody, gone, running])
def test_diagnose_says_something_of_everything_and_makes_nothing(
    ask: Callable[[str], Any], clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with raw_server(dated) as server:
        config = Config(
            home=tmp_path / "home",
            origin=(OriginConfig(url=server.url),),
            mirror=(MirrorConfig(url=f"{server.url}/m/"),),
            swarm=SwarmConfig(mdns=False, bootstrap=("/ip4/127.0.0.1/tcp/1/p2p/12D3KooW",)),
            gateway=GatewayConfig(address="127.0.0.1:0"),
        )
        environ: Mapping[str, str] = {"HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf")}
        findings = diagnose(config, ask, environ, patience_s=60.0)
    checks = {finding.check for finding in findings}
    assert {"version", "home", "node", "port 4101", "port 4102", "mdns", "proxy", "ca"} <= checks
    assert {"origin", "mirror", "clock", "HF_ENDPOINT", "limits"} <= checks
    assert "could not be checked" not in said(findings), said(findings)
    assert not (tmp_path / "home").exists()


def test_diagnose_when_the_node_is_stuck_then_a_problem(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stuck(verb: str) -> Any:
        raise OSError("timed out")

    config = Config(home=tmp_path, origin=(), swarm=SwarmConfig(mdns=False))
    findings = diagnose(config, stuck, {"HOME": str(tmp_path)})
    assert ("node", PROBLEM) in levels(findings)
