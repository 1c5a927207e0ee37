"""The Hub as an origin, against a stand-in of it with every fault that is known of the real one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from contracts.source import check_source, fetch
from mirrornode.errors import (
    HubNotFound,
    HubRefusal,
    OriginAway,
    OriginChanged,
    RemoteProtocolError,
    SourceError,
    SourceGone,
    SourceRefused,
    SourceTooSlow,
    TargetError,
)
from mirrornode.sources import hub_origin
from mirrornode.sources.asking_chain import HEADER, asked_through
from mirrornode.sources.hub_file import HubFileSource
from mirrornode.sources.hub_origin import HubOrigin
from mirrornode.sources.origins import (
    FIRST_REST_S,
    LONGEST_ASKED_REST_S,
    LONGEST_REST_S,
    Origins,
)
from mirrornode.wire.hub import HubFile, Repo, decode_tree
from support.hub_origin import ALICE, BOB, HeldRepo, StandInHub, running_hub
from support.models import LEAF, model_of
from support.raw_server import Visit, raw_server
from support.waiting import until_sync

MODEL = model_of()
NAME = "org/model"
REPO = Repo("model", NAME)
WEIGHTS = "sub folder/weights 1+%.safetensors"


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    with running_hub() as hub:
        yield hub


@pytest.fixture
def held(hub: StandInHub) -> HeldRepo:
    return hub.add_model(NAME, {"config.json": b"{}", "empty": b"", WEIGHTS: MODEL.data})


def named(held: HeldRepo, path: str) -> HubFile:
    stored = held.commits[held.sha].files[path]
    return HubFile(path, stored.size_bytes, stored.git_oid, stored.sha256 if stored.is_lfs else "")


def source_of(hub: StandInHub, held: HeldRepo, token: str = "") -> HubFileSource:
    return HubOrigin(hub.url).file_source(REPO, held.sha, named(held, WEIGHTS), token)


# Questions


def test_ask_when_known_then_json_and_headers(hub: StandInHub, held: HeldRepo) -> None:
    answer = HubOrigin(hub.url).ask("/api/models/org/model?blobs=true", "")
    assert answer.status == 200
    assert isinstance(answer.json, dict)
    assert answer.json["sha"] == held.sha
    assert answer.headers["content-type"].startswith("application/json")
    assert (answer.error_code, answer.error_message) == ("", "")


def test_ask_keeps_its_connection(hub: StandInHub, held: HeldRepo) -> None:
    with raw_server(_answering("200 OK", b"[]")) as server:
        origin = HubOrigin(server.url)
        for _ in range(3):
            assert origin.ask("/api/x", "").json == []
        assert server.connections == 1
        del origin  # closes what waits there


@pytest.mark.parametrize(
    ("token", "name", "status", "code"),
    [
        ("", "org/none", 401, "RepoNotFound"),
        (BOB, "org/none", 404, "RepoNotFound"),
        ("", "org/private", 401, "RepoNotFound"),
        (BOB, "org/private", 404, "RepoNotFound"),
        (ALICE, "org/private", 200, ""),
        ("hf_unknown", "org/private", 401, ""),
    ],
)
def test_ask_when_refused_then_the_refusal_is_the_answer(
    hub: StandInHub, token: str, name: str, status: int, code: str
) -> None:
    hub.add_model("org/private", {"a": b"a"}, private=True)
    answer = HubOrigin(hub.url).ask(f"/api/models/{name}", token)
    assert (answer.status, answer.error_code) == (status, code)
    if token == "hf_unknown":
        assert answer.error_message == "Invalid credentials in Authorization header"


def test_ask_posts_a_form(hub: StandInHub, held: HeldRepo) -> None:
    answer = HubOrigin(hub.url).ask(
        f"/api/models/org/model/paths-info/{held.sha}",
        "",
        method="POST",
        body=f"paths=config.json&paths={quote(WEIGHTS, safe='')}&paths=zz".encode(),
        content_type="application/x-www-form-urlencoded",
    )
    files = decode_tree(answer.json)
    assert files == [named(held, "config.json"), named(held, WEIGHTS)]


def test_ask_when_renamed_then_followed(hub: StandInHub, held: HeldRepo) -> None:
    hub.rename(NAME, "org/new")
    answer = HubOrigin(hub.url).ask("/api/models/org/model", ALICE)
    assert isinstance(answer.json, dict)
    assert answer.json["id"] == "org/new"
    assert [item.token for item in hub.log] == [ALICE, ALICE]


@pytest.mark.parametrize(
    "location",
    ["https://huggingface.co/api/models/org/model", "//evil.example/x", "", "ftp://x", "http://["],
)
def test_ask_when_sent_elsewhere_then_refused(location: str) -> None:
    with raw_server(_answering("308 Moved", headers=f"Location: {location}\r\n")) as server:
        with pytest.raises(SourceRefused, match="sends us to"):
            HubOrigin(server.url).ask("/api/models/org/model", "hf_secret")
        assert len(server.requests) == 1


def test_ask_when_redirected_for_ever_then_refused() -> None:
    with (
        raw_server(_answering("307 Moved", headers="Location: /api/x\r\n")) as server,
        pytest.raises(SourceRefused, match="too many redirects"),
    ):
        HubOrigin(server.url).ask("/api/x", "")


@pytest.mark.parametrize(
    "text", ["<html>", "{", "[1,", "\xff", "NaN", '{"a": Infinity}', "[" * 100_000, "9" * 10_000]
)
def test_ask_when_answer_is_no_json_then_refused(
    hub: StandInHub, held: HeldRepo, text: str
) -> None:
    hub.garble(text)
    with pytest.raises(SourceRefused, match="no JSON"):
        HubOrigin(hub.url).ask("/api/models/org/model", "")


def test_ask_when_a_refusal_is_a_page_for_people_then_no_json() -> None:
    with raw_server(_answering("404 No", b"<html>", "Content-Type: text/html\r\n")) as server:
        answer = HubOrigin(server.url).ask("/api/x", "")
    assert (answer.status, answer.json) == (404, None)


def test_ask_when_body_is_larger_than_allowed_then_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_origin, "MAX_JSON_BYTES", 1000)
    with (
        raw_server(_answering("200 OK", b'"' + b"x" * 2000 + b'"')) as server,
        pytest.raises(SourceRefused, match="larger than allowed"),
    ):
        HubOrigin(server.url).ask("/api/x", "")


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 407])
def test_ask_when_origin_is_out_of_order_then_source_error(hub: StandInHub, status: int) -> None:
    hub.refuse(status)
    with pytest.raises(SourceRefused) as caught:
        HubOrigin(hub.url).ask("/api/models/org/model", "")
    assert caught.value.status == status
    assert caught.value.source_id == f"hub:{hub.host}"


@pytest.mark.parametrize(
    ("headers", "rest_s"),
    [
        ("Retry-After: 7\r\n", 7.0),
        ('RateLimit: "api";r=0;t=55\r\n', 55.0),
        ("Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n", 0.0),
        ("Retry-After: 99999999999999999999\r\n", 3600.0),
        ("", None),
    ],
)
def test_ask_when_429_then_the_wished_rest_is_told(headers: str, rest_s: float | None) -> None:
    with raw_server(_answering("429 Slow Down", headers=headers)) as server:
        with pytest.raises(SourceRefused) as caught:
            HubOrigin(server.url).ask("/api/x", "")
        assert (caught.value.status, caught.value.retry_after_s) == (429, rest_s)


def test_ask_when_origin_is_down_then_gone_and_back_later(hub: StandInHub, held: HeldRepo) -> None:
    origin = HubOrigin(hub.url)
    assert origin.ask("/api/models/org/model", "").status == 200
    hub.stop()
    with pytest.raises(SourceGone):
        origin.ask("/api/models/org/model", "")
    hub.start()
    assert origin.ask("/api/models/org/model", "").status == 200


def test_ask_when_origin_is_silent_then_too_slow(hub: StandInHub) -> None:
    released = hub.delay(60)
    with pytest.raises(SourceTooSlow):
        HubOrigin(hub.url, timeout_s=0.2).ask("/api/models/org/model", "")
    released.set()


@pytest.mark.parametrize(
    "target", ["api/x", "", "/a b", "/a\r\nX-Evil: 1", "/\xe9", "/" + "x" * 20_000]
)
def test_ask_when_target_cannot_be_sent_then_the_asker_is_blamed(
    hub: StandInHub, target: str
) -> None:
    with pytest.raises(HubRefusal) as caught:
        HubOrigin(hub.url).ask(target, "")
    assert caught.value.status == 400
    assert not hub.log


def test_prefix_is_kept_everywhere() -> None:
    with running_hub("/art/hub") as hub:
        held = hub.add_model(NAME, {f"{number}.txt": b"x" for number in range(5)})
        hub.page_size = 2
        hub.resolve_cache = True
        hub.rename(NAME, "org/new")
        origin = HubOrigin(hub.url + "/")
        assert origin.url == hub.url
        assert origin.origin_id == f"hub:{hub.host}/art/hub"
        _, records = origin.pages("/api/models/org/model/tree/main?recursive=true", "")
        assert len(decode_tree(records)) == 5
        assert origin.head(REPO, "main", "1.txt", "").commit == held.sha
        file = HubFile(WEIGHTS, MODEL.file.map.size_bytes, "0" * 40)
        held.commit({WEIGHTS: MODEL.data})
        check_source(origin.file_source(REPO, held.sha, file, ""), MODEL)
        assert all(item.status < 400 for item in hub.log)


# Pages


def test_pages_are_joined_and_the_token_goes_with_each(hub: StandInHub) -> None:
    hub.add_model(NAME, {f"{number:03}/x.txt": b"x" for number in range(50)}, private=True)
    hub.page_size = 30
    answer, records = HubOrigin(hub.url).pages(
        "/api/models/org/model/tree/main?recursive=true&expand=false", ALICE
    )
    assert answer.status == 200
    assert len(decode_tree(records)) == 50
    assert [item.token for item in hub.log] == [ALICE] * 4


def test_pages_when_link_names_another_host_then_this_origin_is_asked() -> None:
    # A company's proxy that passes the Hub's own links on.
    def behaviour(visit: Visit) -> None:
        while head := visit.head():
            is_first = "cursor" not in head.split(" ")[1]
            link = '<https://huggingface.co/api/x?cursor=2>; rel="next"'
            headers = f"Link: {link}\r\n" if is_first else ""
            visit.answer(b"[1]" if is_first else b"[2]", headers=headers)

    with raw_server(behaviour) as server:
        assert HubOrigin(server.url).pages("/api/x", "hf_secret")[1] == [1, 2]


def test_pages_when_refused_then_no_records(hub: StandInHub) -> None:
    answer, records = HubOrigin(hub.url).pages("/api/models/org/none/tree/main", "")
    assert (answer.error_code, records) == ("RepoNotFound", [])


def test_pages_when_they_go_round_then_refused() -> None:
    headers = 'Link: </api/x>; rel="next"\r\n'
    with raw_server(_answering("200 OK", b"[1]", headers)) as server:
        with pytest.raises(SourceRefused, match="do not end"):
            HubOrigin(server.url).pages("/api/x", "")
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("name", "limit"), [("MAX_PAGES", 5), ("MAX_RECORDS", 5), ("MAX_PAGES_BYTES", 20)]
)
def test_pages_when_they_do_not_end_then_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, limit: int
) -> None:
    monkeypatch.setattr(hub_origin, name, limit)

    def behaviour(visit: Visit) -> None:
        while visit.head():
            number = len(visit.server.requests)
            visit.answer(b"[1]", headers=f'Link: </api/x?n={number}>; rel="next"\r\n')

    with raw_server(behaviour) as server:
        with pytest.raises(SourceRefused, match="do not end"):
            HubOrigin(server.url).pages("/api/x", "")
        assert len(server.requests) <= 7


def test_pages_when_one_is_no_list_then_refused() -> None:
    with (
        raw_server(_answering("200 OK", b"{}")) as server,
        pytest.raises(SourceRefused, match="no list"),
    ):
        HubOrigin(server.url).pages("/api/x", "")


# Heads


@pytest.mark.parametrize("mode", ["direct", "redirect"])
@pytest.mark.parametrize("resolve_cache", [False, True])
@pytest.mark.parametrize("path", ["config.json", "empty", WEIGHTS])
def test_head_says_the_same_however_it_is_answered(
    hub: StandInHub, held: HeldRepo, mode: str, resolve_cache: bool, path: str
) -> None:
    hub.mode, hub.resolve_cache, hub.with_xet = mode, resolve_cache, True
    head = HubOrigin(hub.url).head(REPO, "main", path, ALICE)
    file = named(held, path)
    assert (head.status, head.commit, head.etag, head.size_bytes, head.is_lfs) == (
        200, held.sha, file.etag, file.size_bytes, path == WEIGHTS,
    )  # fmt: skip
    assert not hub.tokens_seen_by(hub.cdn_host)
    assert not hub.requests(host=hub.cdn_host)


def test_head_when_renamed_then_followed(hub: StandInHub, held: HeldRepo) -> None:
    hub.mode = "redirect"
    hub.rename(NAME, "org/new")
    head = HubOrigin(hub.url).head(REPO, "main", WEIGHTS, "")
    assert (head.status, head.etag) == (200, named(held, WEIGHTS).etag)


@pytest.mark.parametrize(
    ("token", "status", "code"), [("", 401, "GatedRepo"), (BOB, 403, "GatedRepo"), (ALICE, 200, "")]
)
def test_head_when_gated_then_as_the_token_may(
    hub: StandInHub, token: str, status: int, code: str
) -> None:
    hub.add_model(NAME, {"a.bin": b"a"}, gated="manual")
    head = HubOrigin(hub.url).head(REPO, "main", "a.bin", token)
    assert (head.status, head.error_code) == (status, code)


def test_head_when_no_such_file_then_the_commit_is_told(hub: StandInHub, held: HeldRepo) -> None:
    head = HubOrigin(hub.url).head(REPO, "main", "none", "")
    assert (head.status, head.error_code, head.commit) == (404, "EntryNotFound", held.sha)


def test_head_when_size_is_not_told_then_none(hub: StandInHub, held: HeldRepo) -> None:
    hub.has_sizes = False
    assert HubOrigin(hub.url).head(REPO, "main", WEIGHTS, "").size_bytes is None


def test_head_when_sent_elsewhere_without_a_word_then_refused() -> None:
    location = "Location: https://huggingface.co/x\r\n"
    with (
        raw_server(_answering("308 Moved", headers=location)) as server,
        pytest.raises(SourceRefused, match=r"sends us to https://huggingface\.co/x"),
    ):
        HubOrigin(server.url).head(REPO, "main", "a", "")


@pytest.mark.parametrize("etag", ['"abc-7"', "", '"' + "g" * 64 + '"'])
def test_head_when_etag_names_no_content_then_empty(etag: str) -> None:
    headers = f"ETag: {etag}\r\nX-Repo-Commit: nonsense\r\n"
    with raw_server(_answering("200 OK", headers=headers)) as server:
        head = HubOrigin(server.url).head(REPO, "main", "a", "")
    assert (head.etag, head.commit, head.is_lfs) == ("", "", False)


# Tokens


@pytest.mark.parametrize("path", ["config.json", WEIGHTS])
def test_token_reaches_the_origin_and_never_the_cdn(
    hub: StandInHub, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    held = hub.add_model(NAME, {"config.json": MODEL.data, WEIGHTS: MODEL.data}, gated=True)
    hub.mode, hub.resolve_cache, hub.with_xet = "redirect", True, True
    origin = HubOrigin(hub.url)
    source = origin.file_source(REPO, held.sha, named(held, path), ALICE)
    check_source(source, MODEL)
    hub.expire_signatures()
    check_source(source, MODEL)
    assert hub.tokens_seen_by(hub.host) == {ALICE}
    assert hub.tokens_seen_by(hub.cdn_host) == set()
    assert bool(hub.requests(host=hub.cdn_host)) == (path == WEIGHTS)
    assert not any(ALICE in str(item.headers) for item in hub.requests(host=hub.cdn_host))
    assert ALICE not in caplog.text


def test_token_when_sent_away_and_back_then_not_shown_again() -> None:
    # Whoever is sent to could choose a route of the origin that the token opens.
    def near(visit: Visit) -> None:
        while head := visit.head():
            if "/resolve/" in head:
                visit.answer(status="302 Found", headers=f"Location: {far.url}/x\r\n")
            else:
                visit.answer(MODEL.data)

    with raw_server(near) as origin:
        back = _answering("302 Found", headers=f"Location: {origin.url}/chosen\r\n")
        with raw_server(back) as far:
            file = HubFile("a", len(MODEL.data), "0" * 40)
            source = HubOrigin(origin.url).file_source(REPO, "0" * 40, file, "hf_secret")
            for _ in range(2):
                lane = source.open_lane()
                assert fetch(lane, MODEL.file, 0, 1) == MODEL.data[:LEAF]
                lane.abort()
            heads = [head for head in origin.requests if "hf_secret" in head]
            assert [head.split(" ")[1] for head in heads] == [REPO.resolve_path("0" * 40, "a")] * 2
            assert not any("hf_secret" in head for head in far.requests)
            del source, lane  # closes what waits there


def test_token_when_origin_may_not_see_it_then_not_sent(hub: StandInHub, held: HeldRepo) -> None:
    origin = HubOrigin(hub.url, send_token=False)
    assert origin.ask("/api/models/org/model", ALICE).status == 200
    assert origin.head(REPO, "main", "config.json", ALICE).status == 200
    check_source(origin.file_source(REPO, held.sha, named(held, WEIGHTS), ALICE), MODEL)
    assert hub.tokens_seen_by(hub.host) == set()


@pytest.mark.parametrize("token", ["a b", "hf\r\nX: y", "hf_\xe9", "hf\0", "x" * 5000])
def test_token_when_it_cannot_be_sent_then_refused_without_showing_it(
    hub: StandInHub, token: str
) -> None:
    origin = HubOrigin(hub.url)
    questions: list[Callable[[], object]] = [
        lambda: origin.ask("/api/whoami-v2", token),
        lambda: origin.head(REPO, "main", "a", token),
        lambda: origin.file_source(REPO, "0" * 40, HubFile("a", 1, "0" * 40), token),
    ]
    for question in questions:
        with pytest.raises(HubRefusal, match="Invalid credentials") as caught:
            question()
        assert caught.value.status == 401
        assert token not in str(caught.value)
    assert not hub.log


def test_token_when_the_origin_repeats_it_then_masked() -> None:
    headers = "X-Error-Message: hf_secret is wrong\tindeed\r\nX-Error-Code: a b\r\n"
    with raw_server(_answering("401 No", headers=headers)) as server:
        answer = HubOrigin(server.url).ask("/api/x", "hf_secret")
    assert (answer.error_message, answer.error_code) == ("… is wrong indeed", "")


def test_login_of_the_url_is_sent_unless_a_token_is_and_never_shown() -> None:
    with raw_server(_answering("200 OK", b"{}")) as server:
        origin = HubOrigin(server.url.replace("//", "//me:secret@"))
        origin.ask("/api/x", "")
        origin.ask("/api/x", "hf_token")
        assert "Authorization: Basic bWU6c2VjcmV0" in server.requests[0]
        assert "Authorization: Bearer hf_token" in server.requests[1]
        assert "Basic" not in server.requests[1]
        assert "secret" not in origin.url + origin.origin_id
        del origin  # closes what waits there


# Files


@pytest.mark.parametrize("mode", ["direct", "redirect"])
@pytest.mark.parametrize("fault", ["", "no-range", "xet"])
def test_file_keeps_the_contract(hub: StandInHub, held: HeldRepo, mode: str, fault: str) -> None:
    hub.mode = mode
    hub.with_xet = fault == "xet"
    if fault == "no-range":
        hub.ignore_ranges()
    source = source_of(hub, held)
    check_source(source, MODEL)
    assert source.is_sequential == (fault == "no-range")
    assert not hub.requests("xet")


def test_file_signed_url_is_remembered(hub: StandInHub, held: HeldRepo) -> None:
    hub.mode = "redirect"
    lane = source_of(hub, held).open_lane()
    for leaf in range(5):
        fetch(lane, MODEL.file, leaf, leaf + 1)
    assert len(hub.requests(host=hub.host)) == 1
    assert len(hub.requests(host=hub.cdn_host)) == 5


def test_file_when_signature_expires_midway_then_goes_on(hub: StandInHub, held: HeldRepo) -> None:
    hub.mode = "redirect"
    lane = source_of(hub, held).open_lane()
    got = b""
    for leaf in range(MODEL.file.map.leaves):
        if leaf % 4 == 3:
            hub.expire_signatures()
        got += fetch(lane, MODEL.file, leaf, leaf + 1)
    assert got == MODEL.data
    assert [item.status for item in hub.requests(host=hub.cdn_host)].count(403) == 2


def test_file_when_cut_then_gone_and_the_rest_can_be_asked(hub: StandInHub, held: HeldRepo) -> None:
    hub.cut(after_bytes=3 * LEAF + 5, times=1)
    lane = source_of(hub, held).open_lane()
    with pytest.raises(SourceGone):
        fetch(lane, MODEL.file, 0, 5)
    lane.abort()
    assert fetch(lane, MODEL.file, 3, 5) == MODEL.data[3 * LEAF : 5 * LEAF]
    assert hub.file_bytes_sent(WEIGHTS) == 5 * LEAF + 5


def test_file_when_429_then_the_wished_rest_is_told(hub: StandInHub, held: HeldRepo) -> None:
    hub.refuse(429, times=1, retry_after="3")
    lane = source_of(hub, held).open_lane()
    with pytest.raises(SourceRefused) as caught:
        fetch(lane, MODEL.file, 0, 1)
    assert (caught.value.status, caught.value.retry_after_s) == (429, 3.0)
    assert fetch(lane, MODEL.file, 0, 1) == MODEL.data[:LEAF]


@pytest.mark.parametrize(("token", "status"), [("", 401), (BOB, 403), ("hf_unknown", 401)])
def test_file_when_not_allowed_then_refused(hub: StandInHub, token: str, status: int) -> None:
    held = hub.add_model(NAME, {WEIGHTS: MODEL.data}, gated=True)
    with pytest.raises(SourceRefused) as caught:
        fetch(source_of(hub, held, token).open_lane(), MODEL.file, 0, 1)
    assert caught.value.status == status
    assert hub.file_bytes_sent(WEIGHTS) == 0


def test_file_when_another_size_is_there_then_changed(hub: StandInHub) -> None:
    held = hub.add_model(NAME, {WEIGHTS: MODEL.data + b"more"})
    with pytest.raises(OriginChanged):
        fetch(source_of(hub, held).open_lane(), MODEL.file, 0, 1)


def test_file_when_renamed_then_followed(hub: StandInHub, held: HeldRepo) -> None:
    hub.mode = "redirect"
    hub.rename(NAME, "org/new")
    check_source(source_of(hub, held), MODEL)


def test_files_of_one_origin_share_connections_but_not_signed_urls(hub: StandInHub) -> None:
    held = hub.add_model(NAME, {"1.bin": MODEL.data, "2.bin": MODEL.data}, gated=True)
    hub.mode = "redirect"
    origin = HubOrigin(hub.url)
    for token, path in ((ALICE, "1.bin"), (ALICE, "2.bin")):
        fetch(origin.file_source(REPO, held.sha, named(held, path), token).open_lane(),
              MODEL.file, 0, 1)  # fmt: skip
    # Bob's own source of the same file starts with a question to the origin, which says no.
    with pytest.raises(SourceRefused):
        fetch(origin.file_source(REPO, held.sha, named(held, "1.bin"), BOB).open_lane(),
              MODEL.file, 0, 1)  # fmt: skip
    assert [item.token for item in hub.requests(host=hub.host)] == [ALICE, ALICE, BOB]


def test_small_files_one_after_another_need_one_connection() -> None:
    with raw_server(_answering("200 OK", MODEL.data)) as server:
        origin = HubOrigin(server.url)
        for number in range(5):
            file = HubFile(f"{number}.txt", len(MODEL.data), "0" * 40)
            lane = origin.file_source(REPO, "0" * 40, file, "").open_lane()
            assert fetch(lane, MODEL.file, 0, MODEL.file.map.leaves) == MODEL.data
        assert (len(server.requests), server.connections) == (5, 1)
        del origin, lane  # closes what waits there


def test_abort_from_outside_wakes_a_lane_that_waits(hub: StandInHub, held: HeldRepo) -> None:
    released = hub.hold(after_bytes=LEAF)
    lane = source_of(hub, held).open_lane()
    failures: list[SourceError] = []
    waits = threading.Event()

    def work() -> None:
        lane.begin(MODEL.file, 0, 5)
        lane.read_leaf(memoryview(bytearray(LEAF)))
        waits.set()
        try:
            lane.read_leaf(memoryview(bytearray(LEAF)))
        except SourceError as exc:
            failures.append(exc)

    worker = threading.Thread(target=work)
    worker.start()
    assert waits.wait(20)
    assert lane.received_bytes in (0, LEAF)  # what came with the head may not be counted
    lane.abort()
    worker.join(20)
    released.set()
    assert isinstance(failures[0], SourceGone)


# Several origins


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def ask(origin: HubOrigin) -> int:
    return origin.ask("/api/models/org/model", "").status


def test_origins_when_the_first_is_down_then_the_next_answers(
    hub: StandInHub, held: HeldRepo
) -> None:
    with running_hub() as dead:
        dead.stop()
        clock = Clock()
        first, second = HubOrigin(dead.url), HubOrigin(hub.url)
        origins = Origins([first, second], clock=clock)
        assert origins.in_order() == [first, second]
        assert origins.ask_any(ask) == (second, 200)
        assert origins.in_order() == [second, first]
        assert not origins.is_away
        clock.now += FIRST_REST_S
        assert origins.in_order() == [second, first]  # it has failed, the other has not


def test_origins_when_all_are_down_then_away_at_once_until_one_probe_finds_it_back(
    hub: StandInHub, held: HeldRepo
) -> None:
    clock = Clock()
    origins = Origins([HubOrigin(hub.url)], clock=clock)
    asked: list[HubOrigin] = []

    def question(origin: HubOrigin) -> int:
        asked.append(origin)
        return ask(origin)

    hub.stop()
    for _ in range(5):
        with pytest.raises(OriginAway, match=f"hub:{hub.host}: "):
            origins.ask_any(question)
    assert len(asked) == 1
    assert origins.is_away
    hub.start()
    with pytest.raises(OriginAway):
        origins.ask_any(question)
    clock.now += FIRST_REST_S
    assert not origins.is_away
    assert origins.ask_any(question)[1] == 200
    assert len(asked) == 2
    assert origins.ask_any(question)[1] == 200


def test_origins_when_probing_then_nobody_else_waits(hub: StandInHub, held: HeldRepo) -> None:
    clock = Clock()
    origins = Origins([HubOrigin(hub.url)], clock=clock)
    hub.stop()
    with pytest.raises(OriginAway):
        origins.ask_any(ask)
    hub.start()
    clock.now += FIRST_REST_S

    def probe(origin: HubOrigin) -> int:
        with pytest.raises(OriginAway):
            origins.ask_any(ask)
        assert origins.is_away
        return ask(origin)

    assert origins.ask_any(probe)[1] == 200
    assert not origins.is_away


def test_origins_rest_longer_each_time_but_not_for_ever() -> None:
    clock = Clock()
    origins = Origins([HubOrigin("http://127.0.0.1:1")], clock=clock)

    def question(origin: HubOrigin) -> None:
        raise SourceGone("no")

    rests = []
    for _ in range(8):
        with pytest.raises(OriginAway):
            origins.ask_any(question)
        began = clock.now
        while origins.is_away:
            clock.now += 1.0
        rests.append(clock.now - began)
    assert rests[:3] == [FIRST_REST_S, 2 * FIRST_REST_S, 4 * FIRST_REST_S]
    assert rests[-1] == LONGEST_REST_S


@pytest.mark.parametrize(("asked", "rest_s"), [(10.0, 10.0), (9999.0, LONGEST_ASKED_REST_S)])
def test_origins_when_429_then_the_wished_rest_is_kept(asked: float, rest_s: float) -> None:
    clock = Clock()
    origins = Origins([HubOrigin("http://127.0.0.1:1")], clock=clock)

    def question(origin: HubOrigin) -> None:
        raise SourceRefused("slow down", status=429, retry_after_s=asked)

    with pytest.raises(OriginAway):
        origins.ask_any(question)
    clock.now += rest_s - 0.5
    assert origins.is_away
    clock.now += 0.5
    assert not origins.is_away


@pytest.mark.parametrize(
    "failure", [RemoteProtocolError("nonsense"), SourceRefused("no JSON", status=200),
                SourceRefused("oops", status=500)],
)  # fmt: skip
def test_origins_when_one_answers_nonsense_then_the_next_but_it_does_not_rest(
    failure: Exception,
) -> None:
    first, second = HubOrigin("http://127.0.0.1:1"), HubOrigin("http://127.0.0.1:2")
    origins = Origins([first, second])

    def question(origin: HubOrigin) -> str:
        if origin is first:
            raise failure
        return "fine"

    assert origins.ask_any(question) == (second, "fine")
    assert not origins.is_away
    assert origins.in_order() == [second, first]


def test_origins_when_refused_then_the_refusal_is_the_answer() -> None:
    first, second = HubOrigin("http://127.0.0.1:1"), HubOrigin("http://127.0.0.1:2")
    origins = Origins([first, second])

    def question(origin: HubOrigin) -> None:
        raise HubNotFound("none", status=404, code="RepoNotFound")

    with pytest.raises(HubNotFound):
        origins.ask_any(question)
    assert origins.in_order() == [first, second]


def test_origins_when_the_first_is_silent_then_the_next_is_asked_beside_it() -> None:
    first, second = HubOrigin("http://127.0.0.1:1"), HubOrigin("http://127.0.0.1:2")
    origins, over = Origins([first, second], late_s=0.01), threading.Event()

    def question(origin: HubOrigin) -> str:
        if origin is first:
            assert over.wait(30)
            raise SourceTooSlow("silent")
        return "fine"

    assert origins.ask_any(question) == (second, "fine")
    over.set()
    until_sync(lambda: origins.in_order() == [second, first])


def test_origins_when_the_first_is_late_then_its_word_goes_before_a_refusal() -> None:
    first, second = HubOrigin("http://127.0.0.1:1"), HubOrigin("http://127.0.0.1:2")
    origins, refused = Origins([first, second], late_s=0.01), threading.Event()

    def question(origin: HubOrigin) -> str:
        if origin is first:
            assert refused.wait(30)
            return "let in"
        try:
            raise HubNotFound("none", status=404, code="RepoNotFound")
        finally:
            refused.set()

    assert origins.ask_any(question) == (first, "let in")


def test_origins_when_the_late_one_fails_then_the_refusal_of_another_is_the_answer() -> None:
    first, second = HubOrigin("http://127.0.0.1:1"), HubOrigin("http://127.0.0.1:2")
    origins, refused = Origins([first, second], late_s=0.01), threading.Event()

    def question(origin: HubOrigin) -> str:
        if origin is first:
            assert refused.wait(30)
            raise SourceGone("no")
        refused.set()
        raise HubNotFound("none", status=404, code="RepoNotFound")

    with pytest.raises(HubNotFound):
        origins.ask_any(question)


def test_origins_when_one_is_slow_then_the_other_goes_first() -> None:
    clock = Clock()
    first, second = HubOrigin("http://127.0.0.1:1"), HubOrigin("http://127.0.0.1:2")
    origins = Origins([first, second], clock=clock)

    def question(origin: HubOrigin) -> None:
        clock.now += 5.0 if origin is first else 0.2

    assert origins.ask_any(question)[0] is first
    assert origins.ask_any(question)[0] is second
    assert origins.in_order() == [second, first]


def test_origins_when_one_is_put_last_then_asked_only_when_no_other_answers(
    hub: StandInHub, held: HeldRepo
) -> None:
    clock = Clock()
    first, second = HubOrigin(hub.url), HubOrigin("http://127.0.0.1:2")
    origins = Origins([first, second], clock=clock)
    origins.put_last({first.origin_id})
    assert origins.in_order() == [second, first]
    assert origins.ask_any(ask) == (first, 200)
    assert origins.in_order() == [first, second]  # one that rests comes after all others
    clock.now += FIRST_REST_S
    assert origins.in_order() == [second, first]
    origins.put_last(())
    assert origins.in_order() == [first, second]


def test_origins_when_one_failed_then_only_that_is_knocked_at_until_it_is_back(
    hub: StandInHub, held: HeldRepo
) -> None:
    clock = Clock()
    origin = HubOrigin(hub.url)
    origins = Origins([origin, HubOrigin("http://127.0.0.1:2")], clock=clock)
    hub.stop()
    with pytest.raises(OriginAway):
        origins.ask_any(ask)
    origins.try_failing()  # they rest
    assert [state.failures for state in origins.states()] == [1, 1]
    assert "refuses" in origins.states()[0].reason
    hub.start()
    clock.now += FIRST_REST_S
    origins.try_failing()
    assert [state.failures for state in origins.states()] == [0, 2]
    assert [logged.had_token for logged in hub.requests()] == [False]
    origins.try_failing()
    assert len(hub.requests()) == 1


def test_origins_when_none_is_configured_then_away() -> None:
    origins = Origins([])
    assert origins.is_away
    with pytest.raises(OriginAway, match="no origin is configured"):
        origins.ask_any(ask)


@pytest.mark.parametrize("url", ["", "huggingface.co", "http://h/?q=1", "http://h/#x", "http://h?"])
def test_origin_when_url_is_none_then_target_error(url: str) -> None:
    with pytest.raises(TargetError):
        HubOrigin(url)


def _answering(status: str, body: bytes = b"", headers: str = "") -> Callable[[Visit], None]:
    def behaviour(visit: Visit) -> None:
        while visit.head():
            visit.answer(body, status=status, headers=headers)

    return behaviour


def test_chain_is_named_to_the_origin_and_not_to_the_cdn(hub: StandInHub, held: HeldRepo) -> None:
    hub.mode = "redirect"
    file = named(held, WEIGHTS)
    origin = HubOrigin(hub.url, own_name="a" * 16)
    with asked_through(("b" * 16,)):
        origin.ask("/api/models/org/model", "")
        source = origin.file_source(REPO, held.sha, file, "")
    lane = source.open_lane()
    assert fetch(lane, MODEL.file, 0, MODEL.file.map.leaves) == MODEL.data
    lane.abort()
    chains = {entry.host: entry.headers.get(HEADER.lower()) for entry in hub.log}
    assert chains == {hub.host: f"{'b' * 16}, {'a' * 16}", hub.cdn_host: None}


def test_origin_that_leads_back_is_skipped_and_rests() -> None:
    def circle(visit: Visit) -> None:
        while visit.head():
            visit.answer(status="508 Loop Detected")

    with raw_server(circle) as other, running_hub() as hub:
        hub.add_model(NAME, {})
        first, second = HubOrigin(other.url, own_name="a" * 16), HubOrigin(hub.url)
        origins = Origins([first, second])
        with pytest.raises(SourceRefused, match=r"leads back to this node.*\[\[origin\]\]"):
            first.ask("/api/models/org/model", "")
        assert origins.ask_any(lambda one: one.ask("/api/models/org/model", ""))[0] is second
        assert origins.in_order() == [second, first]
