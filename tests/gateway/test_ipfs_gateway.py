"""The IPFS gateway with content made here: files, folders, pages, tars, refusals, bounds."""

from __future__ import annotations

import asyncio
import io
import os
import re
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from mirrornode.content.cid import Cid
from mirrornode.content.directory import build_symlink
from mirrornode.content.recipe import UNIXFS_V1_2025
from mirrornode.errors import RemoteProtocolError, TargetError
from mirrornode.gateway.gateway import make_gateway
from mirrornode.gateway.ipfs_routes import IpfsRoutes
from mirrornode.gateway.listeners import Address, bind, listening
from mirrornode.store.catalog import open_catalog
from mirrornode.transfer.pacing import Uploads
from support.ipfs_gateway import (
    Site,
    add_folder,
    keep_block,
    keep_file,
    keep_folder,
    keep_hostile_folder,
    open_site,
)
from support.ipns_names import KnownName, KnownNames
from support.open_files import is_open_here
from support.planes import LOOPBACK, open_gateway, shelf_of
from support.shared_files import SMALL_CHUNKS, content
from support.waiting import until

FILES = {
    "README.md": b"# A model",
    "config.json": b'{"a": 1}',
    "model.safetensors": content(10_007),
    "sub dir/part 1 +%\xc3\xa4.bin".encode("latin-1").decode(): content(3000),
}
MAX_KUBO_HEADER_BYTES = 2048


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(tmp_path / "home") as site:
        yield site


@pytest.fixture
def root(site: Site, tmp_path: Path) -> str:
    return add_folder(site.catalog, tmp_path / "tiny-model", FILES)


async def test_file_when_asked_by_path_then_it_comes_from_the_disk(site: Site, root: str) -> None:
    answer = await site.ask(f"/ipfs/{root}/model.safetensors")
    assert (answer.status, answer.body) == (200, FILES["model.safetensors"])
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["X-Ipfs-Roots"].startswith(f"{root},")
    assert answer.headers["Content-Security-Policy"] == "sandbox"
    part = await site.ask(f"/ipfs/{root}/model.safetensors", {"Range": "bytes=2000-2999"})
    assert (part.status, part.body) == (206, FILES["model.safetensors"][2000:3000])
    name = "sub%20dir/part%201%20%2B%25%C3%A4.bin"
    assert (await site.ask(f"/ipfs/{root}/{name}")).body == content(3000)


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [("", 0, 10_007), ("bytes=0-0", 0, 1), ("bytes=999-1000", 999, 1001),
     ("bytes=-7", 10_000, 10_007), ("bytes=3500-8200", 3500, 8201), ("bytes=5-6,1-2", 5, 7)],
)  # fmt: skip
async def test_file_when_only_its_blocks_are_here_then_any_range_of_it(
    site: Site, header: str, start: int, stop: int
) -> None:
    data = content(10_007)
    cid = keep_file(site.catalog, data)
    answer = await site.ask(f"/ipfs/{cid}", {"Range": header} if header else {})
    assert answer.status == (206 if header else 200)
    assert answer.body == data[start:stop]
    assert answer.headers["Content-Length"] == str(stop - start)
    outside = await site.ask(f"/ipfs/{cid}", {"Range": "bytes=10007-"})
    assert (outside.status, outside.headers["Content-Range"]) == (416, "bytes */10007")


async def test_range_when_the_condition_names_another_tag_then_the_whole(
    site: Site, root: str
) -> None:
    path = f"/ipfs/{root}/config.json"
    tag = (await site.ask(path)).headers["ETag"]
    for given, status in ((tag, 206), ('"other"', 200), ("Mon, 01 Jan 2024 00:00:00 GMT", 200)):
        answer = await site.ask(path, {"Range": "bytes=0-0", "If-Range": given})
        assert answer.status == status
    known = await site.ask(path, {"Range": "bytes=99999-", "If-None-Match": tag})
    assert (known.status, known.body) == (304, b"")


async def test_file_when_a_block_in_its_middle_is_missing_then_cut_not_ended(site: Site) -> None:
    data = content(4_000_000)
    cid = keep_file(site.catalog, data, UNIXFS_V1_2025, without=2)
    for query in ("", "?format=car"):
        with pytest.raises(aiohttp.ClientPayloadError):
            await site.ask(f"/ipfs/{cid}{query}")
    first = await site.ask(f"/ipfs/{cid}", {"Range": "bytes=0-99"})
    assert first.body == data[:100]
    assert (await site.ask(f"/ipfs/{cid}", {"Range": "bytes=2200000-2200001"})).status == 404


async def test_folder_when_it_has_no_slash_then_redirected_with_its_query(
    site: Site, root: str
) -> None:
    answer = await site.ask(f"/ipfs/{root}/sub%20dir?filename=a%20b")
    assert answer.status == 301
    assert answer.headers["Location"] == f"/ipfs/{root}/sub%20dir/?filename=a+b"


async def test_page_when_a_model_folder_is_opened_then_it_tells_what_is_in_it(
    site: Site, root: str
) -> None:
    answer = await site.ask(f"/ipfs/{root}/", {"Accept": "text/html,*/*;q=0.8"})
    page = answer.body.decode()
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<h1>tiny-model</h1>" in page
    assert "4 entries, 13.0 kB" in page
    assert f"<code>mirrornode get {root}</code>" in page
    assert '<a href="./README.md">README.md</a>' in page
    assert '<a href="./sub%20dir/">sub dir/</a>' in page
    assert '<a href="./model.safetensors?download=true" download>' in page
    assert "<script" not in page
    assert len(re.findall(r"<code title=", page)) == 4
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert (await site.ask(f"/ipfs/{root}/", method="HEAD")).body == b""
    known = await site.ask(f"/ipfs/{root}/", {"If-None-Match": answer.headers["ETag"]})
    assert known.status == 304


async def test_page_when_names_are_hostile_then_they_are_only_text(site: Site) -> None:
    leaf = keep_block(site.catalog, b"x", 0x55)
    evil = b'"><img src=x onerror=alert(1)>'
    names = [evil, b"../../etc/passwd", b"\xff\xfe", b"javascript:alert(1)", b"..", b"n" * 3000]
    folder = keep_hostile_folder(site.catalog, [(name, leaf) for name in names])
    page = (await site.ask(f"/ipfs/{folder}/")).body.decode()
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert 'href="./javascript%3Aalert%281%29"' in page
    assert page.count("(not a file name)") == 4
    assert not re.search(r'href="[^"]*etc/passwd', page)
    assert len(page) < 20_000


@pytest.mark.parametrize("count", [450, 5000])  # a basic directory, a sharded one
async def test_page_when_the_folder_is_large_then_every_entry_is_on_one_page(
    site: Site, count: int
) -> None:
    leaf = keep_block(site.catalog, b"x", 0x55)
    names = [f"file-{number:05}.txt" for number in range(count - 1)] + ["README.md"]
    entries = [(name, leaf, 1) for name in names]
    folder = keep_folder(site.catalog, entries, UNIXFS_V1_2025)
    seen: list[str] = []
    path = f"/ipfs/{folder}/"
    while path:
        page = (await site.ask(path)).body.decode()
        assert ("450 entries" if count == 450 else "a large folder") in page
        assert page.count('<a href="./README.md">') == 1 + ("README.md</a></td>" in page)
        found = re.findall(r'<td class="name"><a href="./([^"?]*)">', page)
        assert 0 < len(found) <= 200
        seen += found
        following = re.search(r'href="(\?after=[0-9a-f]+)">Next', page)
        path = f"/ipfs/{folder}/{following[1]}" if following else ""
    assert sorted(seen) == sorted(names)
    assert count > 450 or seen == sorted(names)
    for wrong in ("xyz", "0" * 2000):
        assert (await site.ask(f"/ipfs/{folder}/?after={wrong}")).status == 400
    # A name that is not there is a place all the same.
    assert (await site.ask(f"/ipfs/{folder}/?after={b'nobody'.hex()}")).status == 200


async def test_index_when_a_folder_has_one_then_it_is_shown_but_may_run_nothing(
    site: Site, tmp_path: Path
) -> None:
    html = b"<script>alert(1)</script>" * 100
    root = add_folder(site.catalog, tmp_path / "web", {"index.html": html, "a/index.html/x": b""})
    answer = await site.ask(f"/ipfs/{root}/")
    assert answer.body == html
    assert answer.headers["ETag"] == f'"{root}"'
    assert answer.headers["Content-Security-Policy"] == "sandbox"
    assert b"index.html/" in (await site.ask(f"/ipfs/{root}/a/")).body


async def test_symlink_when_asked_then_its_text(site: Site) -> None:
    cid, block, _ = build_symlink("../elsewhere", SMALL_CHUNKS)
    site.catalog.put_blocks([block])
    answer = await site.ask(f"/ipfs/{cid}")
    assert (answer.body, answer.headers["Content-Type"]) == (b"../elsewhere", "inode/symlink")


async def test_download_when_named_then_disposition_is_safe(site: Site, root: str) -> None:
    path = f"/ipfs/{root}/config.json"
    named = await site.ask(f"{path}?download=true")
    assert named.headers["Content-Disposition"] == 'attachment; filename="config.json"'
    evil = await site.ask(f"{path}?filename=%22%0d%0aX-Evil:%201%C3%A4/..%5C.html")
    assert evil.headers["Content-Disposition"].startswith(
        'inline; filename="___X-Evil: 1__.._.html"'
    )
    assert "X-Evil" not in evil.headers
    assert evil.headers["Content-Type"] == "text/html; charset=utf-8"
    assert evil.headers["Content-Security-Policy"] == "sandbox"
    long = await site.ask(f"{path}?filename={'n' * 5000}")
    assert len(long.headers["Content-Disposition"]) < 400


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/ipfs/nonsense", {}, 400),
        ("/ipfs/nonsense/resolve/main/x", {}, 400),
        ("/ipfs/ROOT/%ff", {}, 400),
        ("/ipfs/ROOT/a%00b", {}, 400),
        ("/ipfs/ROOT" + "/a" * 200, {}, 414),
        ("/ipfs/ROOT/" + "a" * 5000, {}, 414),
        ("/ipfs/ROOT/config.json/below", {}, 404),
        ("/ipfs/ROOT/..", {}, 404),
        ("/ipfs/ROOT/%2e%2e/%2e%2e/etc/passwd", {}, 404),
        ("/ipfs/ROOT/none", {}, 404),
        ("/ipfs/ROOT/none?format=car", {}, 404),
        ("/ipfs/ROOT/", {"Service-Worker": "script"}, 400),
        ("/ipfs/ROOT?format=ipns-record", {}, 400),
        ("/ipfs/ROOT?format=dag-json", {}, 406),
        ("/ipfs/ROOT?format=dag-cbor", {}, 406),
        ("/ipfs/ROOT/config.json?format=json", {}, 406),
        ("/ipfs/ROOT/config.json", {"Accept": "application/json"}, 200),
        ("/ipfs/ROOT/config.json", {"Accept": "application/vnd.ipld.raw;q=0"}, 200),
        ("/ipfs/ROOT?format=car&car-version=2", {}, 400),
        ("/ipfs/ROOT?format=car&car-order=bfs", {}, 400),
        ("/ipfs/ROOT?format=car&car-dups=maybe", {}, 400),
        ("/ipfs/ROOT?format=car&dag-scope=leaf", {}, 400),
        ("/ipfs/ROOT?format=car&entity-bytes=5", {}, 400),
        ("/ipfs/ROOT?format=car&entity-bytes=5:3", {}, 400),
        ("/ipfs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyka?format=raw", {}, 404),
    ],
)  # fmt: skip
async def test_request_when_it_is_wrong_then_its_status(
    site: Site, root: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = await site.ask(path.replace("ROOT", root), headers)
    assert answer.status == status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_gateway_when_something_is_sent_to_it_then_405(site: Site, root: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = await site.ask(f"/ipfs/{root}", method=method)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


async def test_tar_when_a_folder_is_asked_then_it_unpacks_to_the_same(
    site: Site, root: str
) -> None:
    answer = await site.ask(f"/ipfs/{root}?format=tar")
    assert answer.headers["ETag"] == f'W/"{root}.x-tar"'
    assert answer.headers["Content-Length"] == str(len(answer.body))
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as tar:
        found = {
            member.name.removeprefix(f"{root}/"): opened.read()
            for member in tar.getmembers()
            if (opened := tar.extractfile(member)) is not None
        }
    assert found == FILES


async def test_tar_when_it_is_of_blocks_and_a_link_then_they_are_in_it(site: Site) -> None:
    data = content(5003)
    link, block, _ = build_symlink("big.bin", SMALL_CHUNKS)
    site.catalog.put_blocks([block])
    cid = keep_file(site.catalog, data)
    folder = keep_folder(site.catalog, [("big.bin", cid, 0), ("link", link, 0)])
    answer = await site.ask("/ipfs/" + f"{folder}/", {"Accept": "application/x-tar"})
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as tar:
        opened = tar.extractfile(f"{folder}/big.bin")
        assert opened is not None
        assert opened.read() == data
        assert tar.getmember(f"{folder}/link").linkname == "big.bin"
    single = await site.ask(f"/ipfs/{cid}?format=tar&filename=x.tar")
    assert single.headers["Content-Disposition"] == 'attachment; filename="x.tar"'
    with tarfile.open(fileobj=io.BytesIO(single.body)) as tar:
        assert tar.getnames() == [str(cid)]


@pytest.mark.parametrize("name", [b"../out", b"..", b"/etc/passwd", b"a/b", b"\xff", b"n\0l"])
async def test_tar_when_a_name_leads_out_then_refused_before_a_byte(
    site: Site, name: bytes
) -> None:
    leaf = keep_block(site.catalog, b"x", 0x55)
    inner = keep_hostile_folder(site.catalog, [(b"a", leaf), (name, leaf)])
    folder = keep_folder(site.catalog, [("good", leaf, 1), ("in", inner, 1)])
    assert (await site.ask(f"/ipfs/{folder}?format=tar")).status == 422


async def test_tar_when_one_name_is_there_twice_then_refused(site: Site) -> None:
    leaf = keep_block(site.catalog, b"x", 0x55)
    folder = keep_hostile_folder(site.catalog, [(b"a", leaf), (b"a", leaf)])
    assert (await site.ask(f"/ipfs/{folder}?format=tar")).status == 422


async def test_file_when_it_changes_while_its_tar_is_sent_then_cut(
    site: Site, tmp_path: Path
) -> None:
    folder = tmp_path / "big"
    root = add_folder(site.catalog, folder, {"a.bin": b"a"}, UNIXFS_V1_2025)
    path = folder / "large.bin"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    root = add_folder(site.catalog, folder, {}, UNIXFS_V1_2025)
    async with site.http.get(f"{site.url}/ipfs/{root}?format=tar") as answer:
        await answer.content.readexactly(100_000)
        os.utime(path, ns=(0, 1))
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_headers_when_content_is_asked_then_kubo_can_read_them(site: Site, root: str) -> None:
    # SOURCE: boxo httpnet, response headers of at most 2 KiB in total.
    deep = root
    for _ in range(40):
        deep = str(keep_folder(site.catalog, [("a-folder-with-a-long-name", Cid.parse(deep), 1)]))
    below = "/a-folder-with-a-long-name" * 40
    paths = (
        f"{root}?format=raw",
        f"{deep}{below}/config.json",
        f"{deep}{below}?format=car",
        "bafkqaaa",
    )
    for path in (
        *paths,
        f"{root}/",
        f"{deep}{below}/config.json?download=true&filename={'%C3%A4' * 120}",
    ):
        answer = await site.ask(f"/ipfs/{path}", {"Accept": "application/vnd.ipld.raw"})
        lines = [f"{name}: {value}\r\n" for name, value in answer.headers.items()]
        assert answer.status == 200
        assert len("HTTP/1.1 200 OK\r\n" + "".join(lines)) < MAX_KUBO_HEADER_BYTES


async def test_block_when_asked_as_kubo_and_helia_do_then_plain_and_quick(
    site: Site, root: str
) -> None:
    # SOURCE: boxo bitswap/network/httpnet and @helia/trustless-gateway-client.
    headers = {"Accept": "application/vnd.ipld.raw", "Accept-Encoding": "gzip"}
    for method in ("HEAD", "GET"):
        probe = await site.ask("/ipfs/bafkqaaa?format=raw", headers, method=method)
        assert (probe.status, probe.body) == (200, b"")
        block = await site.ask(f"/ipfs/{root}?format=raw", headers, method=method)
        assert block.status == 200
        assert "Content-Encoding" not in block.headers
        assert int(block.headers["Content-Length"]) > 100
        gone = await site.ask(
            f"/ipfs/{Cid.raw_sha256(bytes(32))}?format=raw", headers, method=method
        )
        assert gone.status == 404
    raw = await site.ask(f"/ipfs/{root}/config.json", headers)
    assert raw.body == FILES["config.json"]
    assert raw.headers["Content-Location"] == f"/ipfs/{root}/config.json?format=raw"


async def test_stream_when_all_slots_are_taken_then_429_until_one_is_free(tmp_path: Path) -> None:
    async with open_site(tmp_path / "home") as site:
        cid = keep_file(site.catalog, content(16_000_000), UNIXFS_V1_2025)
        routes = IpfsRoutes(shelf_of(site.catalog), Uploads(), max_streams=1)
        app = aiohttp.web.Application()
        routes.add_to(app)
        sock = bind(Address(LOOPBACK, 0, is_default=False), "gateway.address")
        async with listening(app, sock) as port:
            base = f"http://{LOOPBACK}:{port}"
            url = f"{base}/ipfs/{cid}?format=car"
            async with site.http.get(url) as first:
                await first.content.readexactly(1000)
                async with site.http.get(url) as second:
                    assert (second.status, second.headers["Retry-After"]) == (429, "2")
                async with site.http.head(url) as head:
                    assert head.status == 200
                await first.read()
            async with site.http.get(url) as third:
                assert third.status == 200
                await third.content.readexactly(1000)
                third.close()

            async with asyncio.timeout(10):  # the server sees that the third client left
                while (await site.ask(f"/ipfs/{cid}?format=car", base=base)).status != 200:
                    pass


async def test_stream_when_it_was_sent_then_all_of_it_is_counted(site: Site, root: str) -> None:
    uploads = Uploads()
    sock = bind(Address(LOOPBACK, 0, is_default=False), "gateway.address")
    app = make_gateway(shelf_of(site.catalog), LOOPBACK, uploads)
    async with listening(app, sock) as port:
        answer = await site.ask(f"/ipfs/{root}?format=tar", base=f"http://{LOOPBACK}:{port}")
    assert uploads.sent_bytes == len(answer.body) > 10_007


async def test_name_when_it_stands_for_a_folder_then_paths_below_it_and_its_record(
    tmp_path: Path,
) -> None:
    names = KnownNames()
    with open_catalog(tmp_path / "home") as catalog:
        root = add_folder(catalog, tmp_path / "tiny-model", FILES)
        names.names = {
            "k51model": KnownName(f"/ipfs/{root}", 90.7, b"signed"),
            "models.example.org": KnownName(f"/ipfs/{root}/sub%20dir", 60),
            "spaced.example.org": KnownName(f"/ipfs/{root}/sub dir", 60),
            "astray.example.org": KnownName("/ipns/other"),
            "broken.example.org": KnownName("/ipfs/nonsense"),
            "invalid": RemoteProtocolError("its signature is wrong"),
            "wrong!": TargetError("not a name"),
        }
        async with (
            open_gateway(shelf_of(catalog), names=names) as url,
            aiohttp.ClientSession() as http,
        ):
            site = Site(url, catalog, http)
            file = await site.ask("/ipns/k51model/config.json")
            assert file.body == FILES["config.json"]
            assert file.headers["Cache-Control"] == "public, max-age=90"
            assert file.headers["X-Ipfs-Path"] == "/ipns/k51model/config.json"
            folder = await site.ask("/ipns/k51model")
            assert (folder.status, folder.headers["Location"]) == (301, "/ipns/k51model/")
            page = await site.ask("/ipns/k51model/")
            assert page.headers["Cache-Control"] == "public, max-age=90"
            assert f"mirrornode get {root}".encode() in page.body
            assert (await site.ask("/ipns/spaced.example.org/")).status == 200
            record = await site.ask("/ipns/k51model?format=ipns-record")
            assert record.body == b"signed"
            assert record.headers["Content-Type"] == "application/vnd.ipfs.ipns-record"
            known = {"If-None-Match": record.headers["ETag"]}
            assert (await site.ask("/ipns/k51model?format=ipns-record", known)).status == 304
            for path, status in (
                ("unknown", 404),
                ("invalid", 502),
                ("wrong!", 400),
                ("astray.example.org", 502),
                ("broken.example.org", 502),
                ("models.example.org", 404),  # a record's path is not percent-encoded
                ("models.example.org?format=ipns-record", 406),
                ("k51model/config.json?format=ipns-record", 400),
            ):
                assert (await site.ask(f"/ipns/{path}")).status == status


async def test_name_when_nothing_resolves_them_then_404(site: Site) -> None:
    assert (await site.ask("/ipns/k51model")).status == 404


async def test_client_when_it_leaves_a_tar_then_its_file_is_closed(
    site: Site, tmp_path: Path
) -> None:
    folder = tmp_path / "big"
    path = folder / "large.bin"
    folder.mkdir()
    path.write_bytes(content(1000) * 100_000)
    root = add_folder(site.catalog, folder, {}, UNIXFS_V1_2025)
    async with site.http.get(f"{site.url}/ipfs/{root}?format=tar") as answer:
        await answer.content.readexactly(100_000)
        assert is_open_here(path)
        answer.close()
    await until(lambda: not is_open_here(path))


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/ipfs/ROOT/line%0Abreak.txt", "/ipfs/ROOT/line%0Abreak.txt"),
        ("/ipfs/ROOT/p%252Fq+r;x=1.txt", "/ipfs/ROOT/p%252Fq%2Br%3Bx%3D1.txt"),
        ("/ipfs/ROOT/%C3%A4%3F%23.txt", "/ipfs/ROOT/%C3%A4%3F%23.txt"),
        ("http://localhost/ipfs/ROOT/plain.txt", "/ipfs/ROOT/plain.txt"),
        ("/%69pfs//ROOT//plain.txt?x=%23", "/ipfs/ROOT/plain.txt"),
    ],
)
async def test_path_when_it_is_written_oddly_then_still_the_file(
    site: Site, tmp_path: Path, target: str, path: str
) -> None:
    names = ["line\nbreak.txt", "p%2Fq+r;x=1.txt", "ä?#.txt", "plain.txt"]
    root = add_folder(site.catalog, tmp_path / "odd", {name: name.encode() for name in names})
    host = site.url.removeprefix("http://")
    reader, writer = await asyncio.open_connection(*host.split(":"))
    target = target.replace("ROOT", root)
    head = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 ")
    assert f"X-Ipfs-Path: {path.replace('ROOT', root)}\r\n" in head
    assert body in names


async def test_options_when_a_browser_asks_first_then_told_what_it_may(site: Site) -> None:
    answer = await site.ask("/ipfs/bafkqaaa", method="OPTIONS")
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
