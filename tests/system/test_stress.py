"""Real `mirrornode get` processes against mirrors that fail in every way at once."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.certificates import server_context
from support.faulty_server import faulty_server
from support.nodes import Finished, run
from support.shared_files import content

MIB = 1 << 20


@dataclass(frozen=True)
class Known:
    """A file whose structure one home knows, and that is not there any more."""

    home: Path
    cid: str
    body: bytes


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Known:
    folder = tmp_path_factory.mktemp("template")
    body = content(10 * MIB + 5)
    (folder / "model.bin").write_bytes(body)
    added = run(folder / "home", "add", folder / "model.bin", "--json")
    assert added.code == 0, added.stderr
    (folder / "model.bin").unlink()
    return Known(folder / "home", str(added.record["cid"]), body)


@pytest.fixture
def known(template: Known, tmp_path: Path) -> Known:
    shutil.copytree(template.home, tmp_path / "home")
    return Known(tmp_path / "home", template.cid, template.body)


def get(known: Known, mirrors: Sequence[str], *options: str) -> tuple[Finished, Path]:
    out = known.home.parent / "out.bin"
    named = [word for url in mirrors for word in ("--mirror", url)]
    done = run(known.home, "get", known.cid, "-o", out, "--json", "--no-mdns", *named, *options)
    return done, out


def test_get_when_all_but_one_mirror_fail_in_their_ways_then_the_right_file(known: Known) -> None:
    words = ["stall", "silent", "trickle", "rst", "cut", "other", "size", "gzip", "404", "503:60",
             "loop", "file", "403"]  # fmt: skip
    with contextlib.ExitStack() as stack:
        bad = {
            word: stack.enter_context(faulty_server({"m.bin": known.body}, after=word))
            for word in words
        }
        good = stack.enter_context(faulty_server({"m.bin": known.body}, after="late"))
        urls = [f"{server.url}/m.bin" for server in [*bad.values(), good]]
        done, out = get(known, urls)
        liar = f"http:{bad['other'].url}/m.bin"
    assert done.code == 0, done.stderr
    assert out.read_bytes() == known.body
    assert liar not in done.record["bytes_by_source"]
    assert done.record["bad_sources"].get(liar, "sent wrong bytes") == "sent wrong bytes"


@pytest.mark.parametrize("word", ["link", "drop"])
def test_get_when_the_only_mirror_is_odd_then_the_right_file(known: Known, word: str) -> None:
    with faulty_server({"m.bin": known.body}, after=word, link_uses=2) as server:
        done, out = get(known, [f"{server.url}/m.bin"])
    assert done.code == 0, done.stderr
    assert out.read_bytes() == known.body
    assert done.record["bad_sources"] == {}


def test_get_when_all_mirrors_fail_then_each_is_named_with_what_it_did(
    known: Known, tmp_path: Path
) -> None:
    files = {"m.bin": known.body}
    with (
        faulty_server({}) as empty,
        faulty_server(files, after="other") as liar,
        faulty_server(files, after="503@30") as busy,
        faulty_server(files, context=server_context(tmp_path, None)) as unknown,
    ):
        urls = [f"{server.url}/m.bin" for server in (empty, liar, busy, unknown)]
        urls += ["http://no-such-host.invalid/m.bin", "http://127.0.0.1:1/m.bin"]
        done, out = get(known, urls, "--timeout", "2")
    assert done.code == 10, done.stderr
    assert not out.exists()
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error")]
    for url, words in zip(
        urls,
        [
            "answered 404 Not Found",
            "sent wrong bytes",
            "answered 503 No and asks to wait 30 s",
            "certificate is self-signed; set SSL_CERT_FILE or REQUESTS_CA_BUNDLE to your "
            "company's CA file",
            "cannot be found: no-such-host.invalid has no address",
            "refuses connections",
        ],
        strict=True,
    ):
        assert f"http:{url} {words}" in line


def test_get_when_every_mirror_says_404_then_so_does_the_error(known: Known) -> None:
    with faulty_server({}) as one, faulty_server({}) as two:
        urls = [f"{server.url}/m.bin" for server in (one, two)]
        done, _ = get(known, urls, "--timeout", "0.5")
    assert done.code == 10
    for url in urls:
        assert f"http:{url} answered 404 Not Found" in done.stderr
