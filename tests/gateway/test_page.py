"""The page over HTTP: its files, its feed, and who may change what through it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mirrornode.errors import NoProviders
from mirrornode.gateway import page_feed
from mirrornode.gateway.access import COOKIE
from mirrornode.gateway.page import FILES, SCRIPTS
from support.page_scene import COMMIT, MODEL, SECRET, TOKEN, Scene, arriving, scene
from support.waiting import until


class Feed:
    """One open tab, read event by event; `sections` holds what it was told so far."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.sections: dict[str, Any] = {}

    async def next(self) -> tuple[str, dict[str, Any]]:
        """Return kind and data of the next event."""
        kind, fields = "", {}
        while line := (await self.answer.content.readline()).decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                fields = json.loads(value)
        if kind == "change":
            self.sections.update(fields)
        return kind, fields

    async def told(self, *names: str) -> dict[str, Any]:
        """Read on until all these sections were told."""
        while not self.sections.keys() >= set(names):
            await self.next()
        return self.sections

    async def running(self, count: int) -> list[dict[str, Any]]:
        """Read on until so many downloads run."""
        while len((await self.told("transfers"))["transfers"]["rows"]) != count:
            await self.next()
        rows: list[dict[str, Any]] = self.sections["transfers"]["rows"]
        return rows


@pytest.fixture
async def busy(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path, is_busy=True) as made:
        yield made


@pytest.fixture
async def client(busy: Scene) -> AsyncIterator[aiohttp.ClientSession]:
    jar = aiohttp.CookieJar(unsafe=True)  # of an address
    async with aiohttp.ClientSession(busy.url, cookie_jar=jar) as session:
        yield session


async def logged_in(client: aiohttp.ClientSession, made: Scene) -> aiohttp.ClientResponse:
    answer = await client.post("/ui/login", json={"token": TOKEN}, headers={"Origin": made.url})
    assert answer.status == 200
    return answer


# -- files ---------------------------------------------------------------------------------------


async def test_page_is_served_with_a_strict_policy(client: aiohttp.ClientSession) -> None:
    for name, (_, content_type) in FILES.items():
        answer = await client.get(f"/ui/{name}")
        assert answer.status == 200
        assert answer.headers["Content-Type"] == content_type
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        again = await client.get(f"/ui/{name}", headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status == 304


async def scripts_of(client: aiohttp.ClientSession) -> str:
    """Return all scripts of the page, each of which the page or another one loads."""
    texts = {name: await (await client.get(f"/ui/{name}")).text() for name in SCRIPTS}
    loaded = set(re.findall(r'from "\./([\w.]+)";', "".join(texts.values()))) | {"page.js"}
    assert loaded == set(SCRIPTS)
    return "".join(texts.values())


async def test_page_has_nothing_inline_and_loads_nothing_from_elsewhere(
    client: aiohttp.ClientSession,
) -> None:
    html = await (await client.get("/ui/")).text()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?! src=)", html)
    script = await scripts_of(client)
    assert not re.search(r"innerHTML\s*=|insertAdjacentHTML|document\.write|\beval\(", script)
    sheet = await (await client.get("/ui/page.css")).text()
    for text in (html, script, sheet):
        shown = text.replace("http://www.w3.org/2000/svg", "").replace("mirror.example.com", "")
        assert not re.search(r"(src|href|import|url\()\W*https?://", shown)


async def test_words_of_the_page_are_all_there_in_both_languages(
    client: aiohttp.ClientSession,
) -> None:
    html = await (await client.get("/ui/")).text()
    script = await scripts_of(client)
    english, chinese = re.findall(r"^  (?:en|zh): \{\n(.*?)^  \},$", script, re.M | re.S)
    words = [set(re.findall(r"(?:^    |, )(\w+): \"", text, re.M)) for text in (english, chinese)]
    assert words[0] == words[1]
    used = set(re.findall(r"data-t(?:-label|-placeholder)?=\"(\w+)\"", html))
    used |= set(re.findall(r"\bt\(\"(\w+)\"", script))
    assert used <= words[0]


async def test_root_sends_browsers_to_the_page_and_nobody_else(
    client: aiohttp.ClientSession,
) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml"}
    answer = await client.get("/", headers=browser, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (302, "ui/")
    assert (await client.get("/", headers=browser)).url.path == "/ui/"
    assert (await client.get("/ui", headers=browser)).url.path == "/ui/"
    assert (await client.get("/")).status == 404


# -- the feed ------------------------------------------------------------------------------------


async def test_feed_tells_everything_and_then_what_changes(
    client: aiohttp.ClientSession, busy: Scene
) -> None:
    async with client.get("/ui/events") as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        feed = Feed(answer)
        kind, hello = await feed.next()
        assert (kind, hello["may_change"]) == ("hello", False)
        told = await feed.told("node", "shared", "links", "mirrors", "alerts", "disk", "downloads")
        names = {one["name"]: one for one in told["shared"]["rows"]}
        assert names["Qwen/Qwen3-30B-A3B"]["licence"] == "apache-2.0"
        assert names["deepseek-ai/DeepSeek-V3.2"]["pins"][0]["name"] == "sync:team"
        assert told["alerts"]["rows"][0]["rule"] == "origin_unreachable"
        near, far = told["mirrors"]["rows"]
        assert (near["uses"], near["standing"], far["uses"]) == (26, None, 26)
        assert (far["standing"]["state"], far["standing"]["rule"]) == ("aside", "failing")
        assert told["disk"]["quota_bytes"] == 2_000_000_000_000
        busy.said["peers"] = []
        _, change = await feed.next()
        while "links" not in change:
            _, change = await feed.next()
        assert "shared" not in change
        assert not any(link["is_connected"] for link in change["links"]["rows"])


async def test_download_that_begins_is_told_before_the_next_snapshot(
    client: aiohttp.ClientSession, busy: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that only being told of the start can bring it.
    monkeypatch.setattr(page_feed, "SNAPSHOT_S", 1000.0)
    async with client.get("/ui/events") as answer:
        feed = Feed(answer)
        await feed.told("transfers")
        async with arriving(busy):
            (row,) = await feed.running(1)
            assert row["target"] == "hf:deepseek-ai/DeepSeek-V3.2"
        assert await feed.running(0) == []


async def test_nothing_is_looked_at_while_no_tab_is_open(
    client: aiohttp.ClientSession, busy: Scene
) -> None:
    async with arriving(busy):
        pass
    assert busy.page.tabs == 0
    async with client.get("/ui/events") as answer:
        await Feed(answer).next()
        assert busy.page.tabs == 1
    await until(lambda: busy.page.tabs == 0)


async def test_one_tab_too_many_is_turned_away(
    client: aiohttp.ClientSession, busy: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_feed, "MAX_TABS", 1)
    async with client.get("/ui/events") as answer:
        await Feed(answer).next()
        assert (await client.get("/ui/events")).status == 503
    await until(lambda: busy.page.tabs == 0)
    async with client.get("/ui/events") as answer:
        assert answer.status == 200


async def test_reader_is_not_told_what_is_not_public(
    client: aiohttp.ClientSession, busy: Scene
) -> None:
    target = f"hf:{SECRET}"
    async with busy.recorder.recording("hub", target) as ended:
        ended.root = f"{target}@{COMMIT}"
    async with arriving(busy, target) as running, client.get("/ui/events") as answer:
        running.out = "/data/out.bin"
        feed = Feed(answer)
        await feed.told("node", "shared", "downloads")
        assert (await feed.running(1))[0]["target"] == ""
        text = json.dumps(feed.sections)
        for hidden in (SECRET, "/data/", "/srv/mirrornode", "192.168.", "meta-llama"):
            assert hidden not in text
        assert MODEL in text


async def test_owner_is_told_all_of_it(client: aiohttp.ClientSession, busy: Scene) -> None:
    await logged_in(client, busy)
    async with arriving(busy, f"hf:{SECRET}"), client.get("/ui/events") as answer:
        feed = Feed(answer)
        assert (await feed.next())[1]["may_change"] is True
        told = await feed.told("node", "shared")
        assert (await feed.running(1))[0]["target"] == f"hf:{SECRET}"
        assert told["node"]["home"] == "/srv/mirrornode"
        rows = {one["name"]: one for one in told["shared"]["rows"]}
        assert rows[SECRET]["is_open"] is False


async def test_feed_of_an_owner_ends_with_the_session(
    client: aiohttp.ClientSession, busy: Scene
) -> None:
    await logged_in(client, busy)
    async with client.get("/ui/events") as answer:
        await Feed(answer).told("node")
        await client.post("/ui/logout", json={}, headers={"Origin": busy.url})
        busy.said["peers"] = []
        async for _ in answer.content:
            pass
    assert busy.page.tabs == 0


# -- changing things -----------------------------------------------------------------------------


async def test_login_gives_a_cookie_that_scripts_and_other_sites_do_not_have(
    client: aiohttp.ClientSession, busy: Scene
) -> None:
    cookie = (await logged_in(client, busy)).cookies[COOKIE]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    assert TOKEN not in cookie.value


async def test_login_with_a_wrong_token_gives_nothing(
    client: aiohttp.ClientSession, busy: Scene
) -> None:
    answer = await client.post("/ui/login", json={"token": "x" * 40}, headers={"Origin": busy.url})
    assert answer.status == 403
    assert not answer.cookies


async def test_owner_pins_unpins_and_stops(client: aiohttp.ClientSession, busy: Scene) -> None:
    await logged_in(client, busy)
    ours = {"Origin": busy.url}
    wanted = {"target": MODEL, "name": "kept", "token": "hf_of_another"}
    assert (await client.post("/ui/pin", json=wanted, headers=ours)).status == 200
    assert (await client.post("/ui/unpin", json={"target": MODEL}, headers=ours)).status == 200
    assert busy.called == [
        ("pin", {"target": MODEL, "name": "kept"}),
        ("unpin", {"target": MODEL}),
    ]

    async def bring() -> None:
        async with arriving(busy):
            await asyncio.Event().wait()

    task = asyncio.create_task(bring())
    await until(lambda: any(one.number for one in busy.recorder.running))
    number = busy.recorder.running[0].number
    assert (await client.post("/ui/cancel", json={"id": number}, headers=ours)).status == 200
    await asyncio.gather(task, return_exceptions=True)
    assert busy.catalog.downloads()[0].outcome == "cancelled"
    assert (await client.post("/ui/cancel", json={"id": number}, headers=ours)).status == 404
    await client.post("/ui/logout", json={}, headers=ours)
    assert (await client.post("/ui/pin", json=wanted, headers=ours)).status == 403


@pytest.mark.parametrize("path", ["/ui/pin", "/ui/unpin", "/ui/cancel", "/ui/logout"])
@pytest.mark.parametrize(
    "headers",
    [
        {},  # no page names itself: a browser always does with a POST
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "{url}", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "{url}", "Host": "evil.example"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
async def test_session_is_of_no_use_to_other_sites(
    client: aiohttp.ClientSession, busy: Scene, path: str, headers: dict[str, str]
) -> None:
    await logged_in(client, busy)
    sent = {name: value.format(url=busy.url) for name, value in headers.items()}
    answer = await client.post(path, json={"target": MODEL, "id": 1}, headers=sent)
    assert answer.status == 403
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert busy.called == []


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_what_a_form_can_send_is_refused(
    client: aiohttp.ClientSession, busy: Scene, content_type: str
) -> None:
    await logged_in(client, busy)
    headers = {"Origin": busy.url, "Content-Type": content_type}
    answer = await client.post("/ui/pin", data=b'{"target":"x"}', headers=headers)
    assert answer.status == 415
    assert busy.called == []


async def test_program_with_the_token_needs_no_session(
    client: aiohttp.ClientSession, busy: Scene
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert (await client.post("/ui/pin", json={"target": MODEL}, headers=headers)).status == 200
    wrong = {"Authorization": f"Bearer {'x' * 40}"}
    assert (await client.post("/ui/pin", json={"target": MODEL}, headers=wrong)).status == 403


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"id":"1"}', b"{" + b" " * 20_000 + b"}"])
async def test_call_that_makes_no_sense_is_refused(
    client: aiohttp.ClientSession, body: bytes
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    assert (await client.post("/ui/cancel", data=body, headers=headers)).status == 400


async def test_pin_that_fails_says_why(client: aiohttp.ClientSession, busy: Scene) -> None:
    async def failing(fields: object, emit: object) -> object:
        raise NoProviders("nobody has it")

    busy.verbs["pin"] = failing
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = await client.post("/ui/pin", json={"target": MODEL}, headers=headers)
    assert answer.status == 409
    assert (await answer.json())["message"] == "nobody has it"
