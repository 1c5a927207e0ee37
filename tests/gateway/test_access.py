"""Who may read, who may change, and what an origin is shown: over real HTTP on loopback."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from mirrornode.config import GatewayConfig
from mirrornode.errors import ConfigError, StoreError
from mirrornode.gateway.access import (
    ACCESS,
    SESSION_S,
    GatewayAccess,
    guard,
    load_or_create_token,
)
from mirrornode.gateway.credentials import (
    client_behind,
    parse_address,
    parse_networks,
    parse_tokens,
    shown_by,
    userinfo_of,
)
from mirrornode.gateway.listeners import Address, bind, listening

OWN = "mn_own-token-of-the-node-0123456789"
TEAM = "mn_team-token"
PLAIN = "a-token-without-prefix"


def sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def settings_of(
    allow: tuple[str, ...] = (), proxies: tuple[str, ...] = (), names: tuple[str, ...] = ()
) -> GatewayConfig:
    tokens = (f"team:{sha256(TEAM)}", f"ci:{sha256(PLAIN)}")
    return GatewayConfig(allow=allow, tokens=tokens, trusted_proxies=proxies, names=names)


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


class Site:
    """A gateway that answers with what it thinks of a request."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.http = http

    async def get(self, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        async with self.http.get(f"{self.url}/x", headers=headers or {}) as answer:
            return answer.status, await answer.text()

    async def may_change(self, headers: Mapping[str, str] | None = None) -> bool:
        async with self.http.post(f"{self.url}/change", headers=headers or {}) as answer:
            return answer.status == 200

    async def log_in(self, token: str, headers: Mapping[str, str] | None = None) -> str:
        """Return the Set-Cookie of a login, "" when refused."""
        async with self.http.post(f"{self.url}/in", data=token, headers=headers or {}) as answer:
            return answer.headers.get("Set-Cookie", "")


@asynccontextmanager
async def site_of(access: GatewayAccess) -> AsyncIterator[Site]:
    async def answer(request: web.Request) -> web.Response:
        token = request.app[ACCESS].origin_token(request)
        text = f"{request.remote} {request.scheme}://{request.host} {token}"
        return web.Response(text=text, headers={"Cache-Control": "public, max-age=60"})

    async def change(request: web.Request) -> web.Response:
        return web.Response(status=200 if access.may_change(request) else 403)

    async def log_in(request: web.Request) -> web.Response:
        response = web.Response()
        if not access.log_in(request, await request.text(), response):
            raise web.HTTPForbidden
        return response

    async def log_out(request: web.Request) -> web.Response:
        response = web.Response()
        access.log_out(request, response)
        return response

    app = web.Application()
    guard(app, access)
    app.router.add_get("/x", answer)
    app.router.add_get("/healthz", answer)
    app.router.add_post("/change", change)
    app.router.add_post("/in", log_in)
    app.router.add_post("/out", log_out)
    sock = bind(Address("127.0.0.1", 0, is_default=False), "test")
    jar = aiohttp.DummyCookieJar()
    async with (
        listening(app, sock) as port,
        aiohttp.ClientSession(cookie_jar=jar) as http,
    ):
        yield Site(f"http://127.0.0.1:{port}", http)


async def test_read_when_nothing_is_configured_then_everybody_may() -> None:
    async with site_of(GatewayAccess()) as site:
        assert (await site.get())[0] == 200


async def test_read_when_restricted_then_only_by_token_or_from_an_allowed_network() -> None:
    async with site_of(GatewayAccess(settings_of(allow=("10.0.0.0/8",)), own_token=OWN)) as site:
        assert (await site.get())[0] == 401
        async with site.http.get(f"{site.url}/x") as answer:
            assert answer.headers["X-Error-Message"]
            assert answer.headers["WWW-Authenticate"].startswith("Basic")
            assert answer.headers["Cache-Control"] == "no-store"
        for wrong in ("Bearer ", "Bearer x", "Bearer team", basic("team", "x"), "Basic !", "mn"):
            assert (await site.get({"Authorization": wrong}))[0] == 401
        for right in (TEAM, PLAIN, OWN, f"{TEAM}:hf_x"):
            assert (await site.get({"Authorization": f"Bearer {right}"}))[0] == 200
            assert (await site.get({"Authorization": basic("any", right)}))[0] == 200
        assert (await site.get({"X-Mirrornode-Token": TEAM}))[0] == 200
        # Its SHA-256, which a config file shows, is no token.
        assert (await site.get({"Authorization": f"Bearer {sha256(TEAM)}"}))[0] == 401
        async with site.http.get(f"{site.url}/healthz") as answer:
            assert answer.status == 200
    async with site_of(GatewayAccess(settings_of(allow=("127.0.0.1",)))) as site:
        assert (await site.get())[0] == 200


async def test_origin_when_tokens_of_ours_are_shown_then_never_passed_on() -> None:
    async with site_of(GatewayAccess(settings_of(allow=("127.0.0.0/8",)), own_token=OWN)) as site:

        async def passed_on(headers: Mapping[str, str]) -> str:
            status, text = await site.get(headers)
            assert status == 200
            return text.split(" ", 2)[2]

        assert await passed_on({}) == ""
        assert await passed_on({"Authorization": "Bearer hf_mine"}) == "hf_mine"
        for ours in (TEAM, PLAIN, OWN, "mn_withdrawn-long-ago"):
            assert await passed_on({"Authorization": f"Bearer {ours}"}) == ""
            assert await passed_on({"Authorization": f"Bearer {ours}:hf_mine"}) == "hf_mine"
            assert await passed_on({"X-Mirrornode-Token": ours}) == ""
            both = {"X-Mirrornode-Token": TEAM, "Authorization": f"Bearer {ours}"}
            assert await passed_on(both) == ""
        assert await passed_on({"Authorization": basic("me", f"{TEAM}:hf_mine")}) == "hf_mine"
        assert await passed_on({"Authorization": basic("me", "unknown:hf_mine")}) == ""
        both = {"X-Mirrornode-Token": TEAM, "Authorization": "Bearer hf_mine"}
        assert await passed_on(both) == "hf_mine"


async def test_answer_when_a_token_was_shown_then_no_cache_keeps_it() -> None:
    async with site_of(GatewayAccess()) as site:
        for headers, expected in (
            ({}, "public, max-age=60"),
            ({"Authorization": "Bearer hf_x"}, "private, no-store"),
            ({"X-Mirrornode-Token": "x"}, "private, no-store"),
            ({"Cookie": "mirrornode_session=x"}, "private, no-store"),
        ):
            async with site.http.get(f"{site.url}/x", headers=headers) as answer:
                assert answer.headers["Cache-Control"] == expected


async def test_client_when_behind_a_trusted_proxy_then_it_is_the_one_that_counts() -> None:
    forwarded = {
        "X-Forwarded-For": "10.1.1.1, 192.0.2.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "models.lan",
    }
    async with site_of(GatewayAccess(settings_of(allow=("10.0.0.0/8",)))) as site:
        assert (await site.get(forwarded))[0] == 401  # nobody has to believe loopback
    settings = settings_of(allow=("192.0.2.0/24",), proxies=("127.0.0.1",), names=("Models.lan",))
    async with site_of(GatewayAccess(settings)) as site:
        status, text = await site.get(forwarded)
        assert (status, text) == (200, "192.0.2.9 https://models.lan ")
        assert (await site.get())[0] == 401  # the proxy does not say who asks
        assert (await site.get({"X-Forwarded-For": "192.0.2.9, 10.1.1.1"}))[0] == 401
        assert (await site.get({**forwarded, "X-Forwarded-Host": "evil.example"}))[0] == 403


async def test_change_when_the_token_is_shown_then_only_the_nodes_own_and_from_no_other_site() -> (
    None
):
    async with site_of(GatewayAccess(settings_of(allow=("0.0.0.0/0",)), own_token=OWN)) as site:
        bearer = {"Authorization": f"Bearer {OWN}"}
        assert not await site.may_change()
        assert await site.may_change(bearer)
        assert await site.may_change({"X-Mirrornode-Token": OWN})
        assert not await site.may_change({"Authorization": f"Bearer {TEAM}"})
        # What a browser sends by itself does not count.
        assert not await site.may_change({"Authorization": basic("me", OWN)})
        assert await site.may_change({**bearer, "Origin": site.url})
        for origin in ("null", "http://evil.example", "http://127.0.0.1:1", "", "http://[",
                       site.url.replace("http:", "https:")):  # fmt: skip
            assert not await site.may_change({**bearer, "Origin": origin})
        assert not await site.may_change({**bearer, "Host": "evil.example"})


async def test_session_when_logged_in_then_our_own_page_may_change_until_it_ends() -> None:
    now = [0.0]
    access = GatewayAccess(settings_of(allow=("10.0.0.0/8",)), own_token=OWN, clock=lambda: now[0])
    async with site_of(access) as site:
        # Reading is closed to this machine, so the page shows the token to log in, too.
        known = {"Authorization": f"Bearer {OWN}"}
        for wrong in ("", "x", TEAM, OWN + "x"):
            assert await site.log_in(wrong, known) == ""
        assert await site.log_in(OWN, {**known, "Origin": "http://evil.example"}) == ""
        given = await site.log_in(f"{OWN}\n", {**known, "Origin": site.url})
        assert "HttpOnly" in given
        assert "SameSite=Strict" in given
        assert "Path=/" in given
        assert OWN not in given
        cookie = {"Cookie": given.partition(";")[0]}
        ours = {**cookie, "Origin": site.url}
        assert (await site.get(cookie))[0] == 200
        assert await site.may_change(ours)
        assert not await site.may_change(cookie)
        assert not await site.may_change({**cookie, "Origin": "http://evil.example"})
        now[0] = SESSION_S - 1
        assert await site.may_change(ours)
        now[0] = SESSION_S
        assert not await site.may_change(ours)
        again = await site.log_in(OWN, known)
        ours["Cookie"] = again.partition(";")[0]
        assert await site.may_change(ours)
        async with site.http.post(f"{site.url}/out", headers=ours) as answer:
            assert answer.status == 200
        assert not await site.may_change(ours)


def test_own_token_when_made_then_private_and_the_same_ever_after(tmp_path: Path) -> None:
    token = load_or_create_token(tmp_path)
    path = tmp_path / "gateway.token"
    assert path.stat().st_mode & 0o777 == 0o600
    assert token.startswith("mn_")
    assert len(token) > 40
    path.chmod(0o644)
    assert load_or_create_token(tmp_path) == token
    assert path.stat().st_mode & 0o777 == 0o600
    for damaged in ("", "short", "two words are not a token at all", "x" * 20 + ":" + "y" * 20):
        path.write_text(damaged)
        with pytest.raises(StoreError, match=r"gateway\.token"):
            load_or_create_token(tmp_path)
        assert path.read_text() == damaged


def test_tokens_when_listed_in_a_file_then_read_with_their_names(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"# team\nann:{sha256('a')}\n\nbob:{sha256('b')} # laptop\n")
    found = parse_tokens((f"ci:{sha256('c')}",), "tokens", tmp_path)
    assert sorted(found.values()) == ["ann", "bob", "ci"]
    assert GatewayAccess(GatewayConfig(token_file="tokens"), home=tmp_path).is_restricted


@pytest.mark.parametrize(
    "settings",
    [GatewayConfig(allow=("10.0.0.0/33",)), GatewayConfig(allow=("10.0.0.1/8",)),
     GatewayConfig(trusted_proxies=("nginx",)), GatewayConfig(tokens=("mn_secret",)),
     GatewayConfig(tokens=("a:mn_secret",)), GatewayConfig(token_file="missing")],
)  # fmt: skip
def test_settings_when_wrong_then_refused_without_showing_a_token(settings: GatewayConfig) -> None:
    with pytest.raises(ConfigError, match=r"^gateway\.") as caught:
        GatewayAccess(settings)
    assert "mn_secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("hops", "expected"),
    [(["192.0.2.1"], "192.0.2.1"), (["9.9.9.9, 192.0.2.1"], "192.0.2.1"),
     (["9.9.9.9", "192.0.2.1, 10.0.0.2"], "192.0.2.1"), (["192.0.2.1:5555"], "192.0.2.1"),
     (["[2001:db8::1]:5555"], "2001:db8::1"), (["::ffff:192.0.2.1"], "192.0.2.1"),
     (["garbage"], None), (["192.0.2.1, garbage"], None), ([], None), (["10.0.0.7"], "10.0.0.7"),
     ([", ".join(["9.9.9.9"] + ["10.0.0.2"] * 40)], "10.0.0.2")],
)  # fmt: skip
def test_client_when_forwarded_then_the_last_that_no_trusted_proxy_is(
    hops: list[str], expected: str | None
) -> None:
    trusted = parse_networks(["10.0.0.0/24"], "test")
    found = client_behind(parse_address("10.0.0.1"), hops, trusted)
    assert found == parse_address(expected)
    stranger = parse_address("8.8.8.8")
    assert client_behind(stranger, hops, trusted) == stranger


def test_shown_when_longer_than_any_token_then_nothing_is() -> None:
    assert shown_by(f"Bearer {'x' * 5000}", "").gateway == ""
    assert shown_by("", "x" * 5000).gateway == ""


def test_userinfo_when_the_client_shows_basic_then_it_is_in_links_to_it() -> None:
    assert userinfo_of(basic("me", "mn_x:hf_y")) == "me:mn_x%3Ahf_y@"
    assert userinfo_of("Bearer x") == ""
    assert userinfo_of("Basic !!") == ""
