"""Measuring mirrors: what is asked of them, what is said of failures, what is remembered."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrornode.config import MirrorConfig
from mirrornode.errors import TargetError
from mirrornode.events import Event, Note
from mirrornode.mirror.mirror_memory import known_mirrors
from mirrornode.mirror.mirror_probe import MAX_MIRRORS, SAMPLE_BYTES, measure_mirrors
from mirrornode.mirror.mirror_score import mirror_key
from mirrornode.store.alert_records import Alert, Standing
from mirrornode.store.catalog import Catalog, open_catalog
from support.http_files import file_server
from support.models import model_of
from support.planes import Shared, open_gateway, shelf_of
from support.raw_server import Visit, raw_server
from support.shared_files import SMALL_CHUNKS, content, record

BIG = bytes(SAMPLE_BYTES + 1000)


def ignore(event: Event) -> None:
    """Progress nobody asked for."""


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with open_catalog(tmp_path / "home") as opened:
        yield opened


def test_file_when_measured_then_a_bounded_piece_of_it(catalog: Catalog) -> None:
    notes: list[Event] = []
    with file_server({"m.bin": BIG}) as server:
        mirror = MirrorConfig(f"{server.url}/m.bin", "home", 2.0)
        (found,) = measure_mirrors(catalog, [mirror], "", notes.append)
        assert server.requests == [("GET", "m.bin", f"bytes=0-{SAMPLE_BYTES - 1}")]
    assert (found["state"], found["kind"], found["region"], found["weight"]) == (
        "ok", "file", "home", 2.0,
    )  # fmt: skip
    assert found["size_bytes"] == SAMPLE_BYTES
    assert found["connect_s"] > 0
    assert found["first_byte_s"] > 0
    assert found["rate_bytes_per_s"] == pytest.approx(SAMPLE_BYTES / found["seconds"])
    assert 0 < found["score"] < 2.0 * found["rate_bytes_per_s"]
    assert (found["success"], found["uses"]) == (1.0, 1)
    assert all(isinstance(note, Note) for note in notes)


def test_folder_when_the_server_ignores_ranges_then_still_only_a_piece(catalog: Catalog) -> None:
    with file_server({"hf/a b.bin": BIG}, "no-range") as server:
        mirrors = [MirrorConfig(f"{server.url}/hf/")]
        (found,) = measure_mirrors(catalog, mirrors, "/a b.bin", ignore)
    assert (found["state"], found["kind"], found["size_bytes"]) == ("ok", "folder", SAMPLE_BYTES)


def test_folder_when_there_is_no_sample_then_reached_and_its_rate_unknown(
    catalog: Catalog,
) -> None:
    with file_server({}) as server:
        mirrors = [MirrorConfig(f"{server.url}/hf/")]
        (found,) = measure_mirrors(catalog, mirrors, "", ignore)
        (again,) = measure_mirrors(catalog, mirrors, str(model_of().root), ignore)
    assert (found["state"], found["rate_bytes_per_s"], found["score"]) == ("ok", None, None)
    assert found["first_byte_s"] > 0
    assert "takes a path" in again["detail"]


async def test_gateway_when_it_has_the_cid_then_a_piece_of_the_file(
    tmp_path: Path, catalog: Catalog
) -> None:
    model = model_of(50_000)
    with open_catalog(tmp_path / "other") as other:
        record(other, model.write(tmp_path), SMALL_CHUNKS)
        shared = Shared(other, model, tmp_path / "model.bin")
        async with open_gateway(shelf_of(shared.catalog)) as url:
            mirrors = [MirrorConfig(url)]
            (found,) = await asyncio.to_thread(
                measure_mirrors, catalog, mirrors, str(model.root), ignore
            )
            (missing,) = await asyncio.to_thread(
                measure_mirrors, catalog, mirrors, str(model_of(7000).root), ignore
            )
    assert (found["state"], found["kind"], found["size_bytes"]) == ("ok", "gateway", 50_000)
    assert (missing["state"], missing["kind"]) == ("not there", "gateway")
    assert missing["uses"] == 1  # that the sample is not there says nothing of the mirror


def test_mirrors_when_they_fail_then_each_says_why_and_the_good_one_is_first(
    catalog: Catalog,
) -> None:
    def forbidden(visit: Visit) -> None:
        while visit.head():
            visit.answer(status="403 Forbidden")

    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = free.getsockname()[1]
    with (
        file_server({"m.bin": content(3000)}) as good,
        file_server({}, "error") as down,
        raw_server(forbidden) as locked,
    ):
        mirrors = [
            MirrorConfig(f"http://127.0.0.1:{closed}/m.bin"),
            MirrorConfig("http://no-such-host.invalid/m.bin"),
            MirrorConfig(f"{down.url}/"),
            MirrorConfig(f"{locked.url}/m.bin"),
            MirrorConfig(f"{good.url}/gone.bin"),
            MirrorConfig(f"{good.url}/m.bin"),
        ]
        found = measure_mirrors(catalog, mirrors, "", ignore)
    assert found[0]["url"] == f"{good.url}/m.bin"
    states = {record["url"]: record["state"] for record in found}
    assert states == {
        f"{good.url}/m.bin": "ok",
        f"{good.url}/gone.bin": "not there",
        f"http://127.0.0.1:{closed}/m.bin": "unreachable",
        "http://no-such-host.invalid/m.bin": "unknown name",
        f"{down.url}/": "overloaded",
        f"{locked.url}/m.bin": "no access",
    }
    uses = catalog.mirror_uses([mirror_key(f"{down.url}/")])
    assert [use.outcome for (use,) in uses.values()] == ["failed"]
    assert all(record["detail"] for record in found[1:])


def test_mirrors_when_a_url_holds_a_password_then_it_is_not_shown(catalog: Catalog) -> None:
    with file_server({"m.bin": content(3000)}) as server:
        secret = server.url.replace("http://", "http://me:secret@") + "/m.bin?token=secret"
        (found,) = measure_mirrors(catalog, [MirrorConfig(secret)], "", ignore)
    assert found["state"] == "ok"
    assert "secret" not in str(found)


def test_mirrors_when_one_is_put_aside_then_it_says_since_when_and_why(catalog: Catalog) -> None:
    with file_server({"m.bin": content(3000)}) as server:
        url = server.url + "/"
        # It was knocked at in vain since: its rest is younger than what is wrong.
        aside = Standing(mirror_key(url), "aside", "slow", "too slow", 2000.0, 1)
        back = Standing("http://other.example/", "back", "slow", "was slow", 2000.0, 0)
        alert = Alert("slow", mirror_key(url), "warning", "too slow", 1000.0)
        catalog.save_alerts([alert], [aside, back])
        (found,) = measure_mirrors(catalog, [MirrorConfig(url)], "", ignore)
    said = {"state": "aside", "rule": "slow", "why": "too slow", "since": 1000.0}
    assert found["standing"] == said
    (known,) = known_mirrors(catalog, [MirrorConfig(url)], 3000.0)
    assert known["standing"] == said
    (other,) = known_mirrors(catalog, [MirrorConfig("http://other.example/")], 3000.0)
    assert other["standing"] is None


@pytest.mark.parametrize(
    "mirrors",
    [
        [],
        [MirrorConfig("ftp://x/")],
        [MirrorConfig(f"http://{n}/") for n in range(MAX_MIRRORS + 1)],
    ],
)
def test_mirrors_when_none_or_no_urls_then_target_error(
    catalog: Catalog, mirrors: list[MirrorConfig]
) -> None:
    with pytest.raises(TargetError):
        measure_mirrors(catalog, mirrors, "", ignore)
