"""Webhooks that fail, hang or refuse: retried, bounded, and nobody waits for them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Sequence

import pytest

from mirrornode.config_alerts import WebhookConfig
from mirrornode.mirror.alerts_delivery import MAX_TRIES, MAX_WAITING, Deliveries
from mirrornode.mirror.alerts_message import Sender
from mirrornode.mirror.alerts_state import FIRED, Notice
from mirrornode.store.alert_records import Alert
from support.waiting import until
from support.webhook_server import webhook_server

SENDER = Sender("nas", "12D3KooW")
DEAD = "http://127.0.0.1:1/services/T0SECRET/verysecret?access_token=geheim"


def notice(rule: str = "disk") -> Notice:
    return Notice(FIRED, Alert(rule, "", "critical", "91 % full", 1.0), 1.0)


@contextlib.asynccontextmanager
async def running(
    hooks: Sequence[WebhookConfig], first_pause_s: float = 0.01
) -> AsyncIterator[Deliveries]:
    deliveries = Deliveries(hooks, SENDER, first_pause_s=first_pause_s)
    task = asyncio.create_task(deliveries.run())
    try:
        yield deliveries
    finally:
        deliveries.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_put_reaches_every_webhook_in_order() -> None:
    with webhook_server() as one, webhook_server() as two:
        hooks = [WebhookConfig(one.url), WebhookConfig(two.url + "?key=1", "slack")]
        async with running(hooks) as deliveries:
            for rule in ("disk", "slow", "failing"):
                deliveries.put(notice(rule))
            await until(lambda: len(one.posts) == 3 and len(two.posts) == 3)
    assert [body["rule"] for body in one.bodies] == ["disk", "slow", "failing"]
    assert {path for path, _ in two.posts} == {"/services/T0SECRET/verysecret?key=1"}
    assert two.bodies[0] == {"text": "[mirrornode nas] critical: 91 % full"}


async def test_webhook_when_it_fails_then_tried_again_until_it_takes_it() -> None:
    no = '{"errcode":130101,"errmsg":"send too fast"}'
    with webhook_server((500, ""), (200, no), (200, '{"errcode":0}')) as server:
        async with running([WebhookConfig(server.url, "dingtalk", "SECx")]) as deliveries:
            deliveries.put(notice())
            await until(lambda: len(server.posts) == 3)
    assert len({path for path, _ in server.posts}) >= 1
    assert all("sign=" in path for path, _ in server.posts)


async def test_webhook_when_it_never_takes_it_then_given_up_and_the_next_notice_is_tried(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with webhook_server(*[(500, "")] * MAX_TRIES) as server:
        async with running([WebhookConfig(server.url)], first_pause_s=0.0) as deliveries:
            deliveries.put(notice("disk"))
            deliveries.put(notice("slow"))
            await until(lambda: len(server.posts) == MAX_TRIES + 1)
    assert server.bodies[-1]["rule"] == "slow"
    assert "notice given up" in caplog.text
    assert "verysecret" not in caplog.text


async def test_webhook_when_it_hangs_then_others_are_told_and_its_queue_is_bounded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with webhook_server() as stuck, webhook_server() as fine:
        stuck.holds.clear()
        hooks = [WebhookConfig(stuck.url), WebhookConfig(fine.url)]
        async with running(hooks) as deliveries:
            deliveries.put(notice("first"))
            await until(lambda: bool(stuck.posts and fine.posts))
            for number in range(MAX_WAITING):
                deliveries.put(notice(str(number)))
            deliveries.put(notice("last"))  # returns at once: the oldest that waits goes
            assert "notice dropped" in caplog.text
            await until(lambda: fine.bodies[-1]["rule"] == "last")
            assert len(stuck.posts) == 1
            stuck.holds.set()
            await until(lambda: stuck.bodies[-1]["rule"] == "last")
    assert [body["rule"] for body in stuck.bodies[:2]] == ["first", "1"]


async def test_tell_all_says_what_each_answered_and_shows_no_secret() -> None:
    with webhook_server((200, "ok"), (403, "verysecret")) as server:
        hooks = [
            WebhookConfig(server.url, "slack", name="ops"),
            WebhookConfig(DEAD),
        ]
        deliveries = Deliveries(hooks, SENDER)
        told = await deliveries.tell_all(notice())
        again = await deliveries.tell_all(notice())
        deliveries.close()
    assert [(one.webhook, one.is_taken, one.answer) for one in told] == [
        ("ops", True, "answered 200"),
        ("json 127.0.0.1", False, "refuses connections"),
    ]
    assert (again[0].is_taken, again[0].answer) == (False, "answered 403")
    assert not {"verysecret", "geheim"} & set(repr(told + again).replace("/", " ").split())


async def test_close_when_a_webhook_hangs_then_it_is_broken_off() -> None:
    with webhook_server() as server:
        server.holds.clear()
        deliveries = Deliveries([WebhookConfig(server.url)], SENDER)
        telling = asyncio.create_task(deliveries.tell_all(notice()))
        await until(lambda: bool(server.posts))
        began = time.monotonic()
        deliveries.close()
        (told,) = await telling
        assert not told.is_taken
        assert time.monotonic() - began < 8  # not the 10 s of silence that are allowed
