"""Repos of the Hub with real processes: got, shared, mended, and used by the Hub's own clients."""

from __future__ import annotations

import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.hub_clients.environments import VERSIONS, Client, NotInstalled, installed
from interop.hub_clients.world import environment
from mirrornode.content.cid import Cid
from support.hub_origin import ALICE, BOB, Blob, StandInHub, running_hub
from support.hub_parts import blob_of, contents, contents_of, damage, write_cache
from support.hub_repos import Content, HeldRepo
from support.nodes import Finished, Nodes, run, start
from support.waiting import until_sync

MIB = 1 << 20
REPO = "hf:org/name"
BIG = "sub/model.safetensors"
FILES: dict[str, Content] = {
    "README.md": b"# a model",
    "config.json": b'{"a": 1}',
    "empty.txt": b"",
    "sub dir/part 1 +%.bin": Blob(70_000, 2),
    BIG: Blob(20 * MIB + 5, 1),
}
OFFLINE = """
import sys
from huggingface_hub import hf_hub_download, snapshot_download
print(snapshot_download("org/name", local_files_only=sys.argv[1] == "local"))
print(hf_hub_download("org/name", "config.json", local_files_only=sys.argv[1] == "local"))
"""


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    with running_hub() as hub:
        hub.mode, hub.with_xet, hub.resolve_cache = "redirect", True, True
        hub.add_model("org/name", FILES, licence="apache-2.0")
        hub.add_model("org/gated", {"w.bin": Blob(2 * MIB, 4)}, gated="manual", licence="llama3")
        yield hub


@pytest.fixture
def repo(hub: StandInHub) -> HeldRepo:
    return hub.repos["model", "org/name"]


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A user without a token, whose cache is empty; tests change the environment by this."""
    for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return monkeypatch


@pytest.fixture(scope="module", params=VERSIONS)
def client(request: pytest.FixtureRequest) -> Client:
    """Each version of the client."""
    try:
        return installed(request.param)
    except NotInstalled as exc:
        pytest.skip(f"huggingface_hub is not here: {exc}")


def home_for(nodes: Nodes, name: str, hub: StandInHub, settings: str = "") -> Path:
    """Return a home whose only origin is this Hub."""
    home = nodes.home(name)
    home.mkdir()
    (home / "config.toml").write_text(f'[[origin]]\nurl = "{hub.url}"\n[hub]\n{settings}\n')
    return home


def done(finished: Finished, code: int = 0) -> Finished:
    assert finished.code == code, (finished.stdout, finished.stderr)
    return finished


def sent(hub: StandInHub) -> int:
    return sum(hub.file_bytes_sent(path) for path in FILES)


def holds(folder: Path, text: str) -> list[Path]:
    """Return the files below a folder that hold a text."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if text.encode() in path.read_bytes()]


def test_get_when_one_has_it_then_the_other_by_peer_and_a_third_without_the_origin(
    nodes: Nodes, hub: StandInHub, repo: HeldRepo, user: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        home_for(nodes, name, hub)
    one = nodes.serve("one")
    two = nodes.serve("two", bootstrap=[one.address])
    got = done(one.run("get", REPO, "--json")).record
    assert got["cid"] == f"hf:org/name@{repo.sha}"
    assert got["verified"]
    assert list(got["bytes_by_source"]) == [f"hub:{hub.host}"]
    assert contents(Path(got["path"])) == contents_of(repo)
    # Lanes that take over from each other may have asked for a little more than they used.
    assert sent(hub) < 1.5 * got["size_bytes"]
    for path in FILES:
        if path != BIG:
            assert hub.file_bytes_sent(path) == len(contents_of(repo)[path])

    before = sent(hub)
    user.setenv("HF_HOME", str(tmp_path / "hf-two"))
    got = done(two.run("get", REPO, "--json", "--peer", one.address)).record
    assert list(got["bytes_by_source"]) == [f"peer:{one.ready['peer_id']}"]
    assert contents(Path(got["path"])) == contents_of(repo)
    assert sent(hub) == before

    hub.stop()
    user.setenv("HF_HOME", str(tmp_path / "hf-three"))
    home = home_for(nodes, "three", hub, "trust_peers = true")
    out = tmp_path / "out"
    arguments = ("get", REPO, "-o", out, "--json", "--no-mdns")
    finished = done(run(home, *arguments, "--peer", two.address))
    assert contents(out) == contents_of(repo)
    assert sum(finished.record["bytes_by_source"].values()) == finished.record["size_bytes"]
    assert all(source.startswith("peer:") for source in finished.record["bytes_by_source"])
    done(run(home, "get", "hf:org/none", "--no-mdns"), 10)


@pytest.mark.timeout(240)  # the first run installs the client
def test_cache_when_written_by_us_then_clients_need_no_request(
    client: Client,
    nodes: Nodes,
    hub: StandInHub,
    repo: HeldRepo,
    user: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    done(run(home_for(nodes, "one", hub), "get", REPO, "--no-mdns"))
    hub.log.clear()
    for mode, offline in (("local", "0"), ("any", "1")):
        finished = subprocess.run(
            [client.python, "-I", "-c", OFFLINE, mode],
            env={**environment(hub.url, tmp_path / "hf"), "HF_HUB_OFFLINE": offline},
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        snapshot, config = finished.stdout.split()
        assert contents(Path(snapshot)) == contents_of(repo)
        assert Path(config).read_bytes() == FILES["config.json"]
    assert hub.log == []


def test_verify_when_the_cache_is_damaged_then_mended_or_told(
    nodes: Nodes, hub: StandInHub, repo: HeldRepo, user: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home_for(nodes, "one", hub)
    one = nodes.serve("one")
    snapshot = Path(done(one.run("get", REPO, "--json")).record["path"])
    cache = tmp_path / "hf" / "hub"
    damage(blob_of(cache, repo, BIG))
    report = done(one.run("verify", REPO, "--json")).record
    assert [(p["file"], p["is_mended"]) for p in report["problems"]] == [(BIG, True)]
    assert contents(snapshot) == contents_of(repo)
    assert "all good" in done(one.run("verify", REPO)).stdout
    hub.stop()
    damage(blob_of(cache, repo, "config.json"), keep_time=True)
    report = done(one.run("verify", f"{REPO}/config.json", "--json"), 12).record
    assert not report["ok"]


def test_gated_when_let_in_then_for_that_user_alone(
    nodes: Nodes, hub: StandInHub, user: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        home_for(nodes, name, hub)
    one = nodes.serve("one", "--share", "hf-cache")
    two = nodes.serve("two", bootstrap=[one.address])
    refused = done(one.run("get", "hf:org/gated"), 13)
    assert f"{hub.url}/org/gated" in refused.stderr
    assert "HF_TOKEN" in refused.stderr
    user.setenv("HF_TOKEN", BOB)
    done(one.run("get", "hf:org/gated"), 13)
    user.setenv("HF_TOKEN", ALICE)
    snapshot = Path(done(one.run("get", "hf:org/gated", "--json")).record["path"])
    assert contents(snapshot) == contents_of(hub.repos["model", "org/gated"])
    report = done(one.run("add", "--hf-cache", "--json")).record
    assert report["kept"] == {"org/gated": "it is gated"}
    assert report["files"] == 0

    stored = hub.repos["model", "org/gated"].ref_of["refs/heads/main"].files["w.bin"]
    cid = str(Cid.raw_sha256(bytes.fromhex(stored.sha256)))
    done(two.run("get", cid, "-o", tmp_path / "x", "--peer", one.address, "--timeout", "3"), 10)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{one.gateway}/ipfs/{cid}")
    user.setenv("HF_TOKEN", "")
    user.setenv("HF_HOME", str(tmp_path / "hf-two"))
    hub.stop()
    done(two.run("get", "hf:org/gated", "--peer", one.address), 10)

    [shown] = [line for line in done(one.run("ls", "hf:")).stdout.splitlines() if "gated" in line]
    assert "llama3" in shown
    for node in (one, two):
        node.stop()
    for token in (ALICE, BOB):
        assert holds(nodes.home("one"), token) == []
        assert holds(tmp_path / "hf", token) == []


def test_share_when_the_cache_is_shared_then_served_in_place_without_the_origin(
    nodes: Nodes, hub: StandInHub, repo: HeldRepo, user: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_cache(tmp_path / "elsewhere", repo)
    for name in ("one", "two"):
        home_for(nodes, name, hub)
    one = nodes.serve("one", "--share", f"hf-cache:{tmp_path / 'elsewhere'}")

    def is_whole() -> bool:
        records = one.run("ls", REPO, "--json")
        return bool(records.stdout) and records.record["files_here"] == len(FILES)

    until_sync(is_whole)
    user.setenv("HF_HOME", str(tmp_path / "hf-two"))
    two = nodes.serve("two", bootstrap=[one.address])
    got = done(two.run("get", REPO, "--json", "--peer", one.address)).record
    assert list(got["bytes_by_source"]) == [f"peer:{one.ready['peer_id']}"]
    assert sent(hub) == 0
    hub.stop()
    with urllib.request.urlopen(f"{one.gateway}/org/name/resolve/main/{BIG}") as answer:
        assert answer.read() == contents_of(repo)[BIG]
    assert not any(path.is_file() for path in (nodes.home("one") / "hub").rglob("*"))
    assert "1 repo of the Hub" in done(one.run("ls")).stderr


def test_get_when_stopped_then_the_same_command_goes_on(
    nodes: Nodes, hub: StandInHub, repo: HeldRepo, user: pytest.MonkeyPatch
) -> None:
    home = home_for(nodes, "one", hub)
    hub.hold(after_bytes=3 * MIB // 2, match=BIG, times=-1)
    process = start(home, "get", REPO, "--no-mdns")
    until_sync(lambda: hub.file_bytes_sent(BIG) >= 0 and any(home.glob("hub/*/*.part")))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "goes on from there" in errors
    hub.heal()
    got = done(run(home, "get", REPO, "--no-mdns", "--json")).record
    assert contents(Path(got["path"])) == contents_of(repo)


def test_get_when_some_files_fail_or_are_denied_then_each_has_its_code(
    nodes: Nodes, hub: StandInHub, user: pytest.MonkeyPatch
) -> None:
    home = home_for(nodes, "one", hub, 'licence_deny = ["mit"]')
    hub.add_model("org/mit", {"a": b"a"}, licence="mit")
    hub.refuse(404, match="README.md")
    one = nodes.serve("one")
    error = done(one.run("get", REPO, "--json"), 3).record["error"]
    assert error["missing"] == ["README.md"]
    done(one.run("get", f"{REPO}/README.md"), 10)
    done(one.run("get", "hf:org/none"), 10)
    assert "licence" in done(one.run("get", "hf:org/mit"), 13).stderr
    done(one.run("get", "hf:"), 2)
    done(one.run("get", REPO, "--mirror", "http://mirror.example/"), 2)
    done(one.run("add", home.parent / "none", "--hf-cache"), 2)
