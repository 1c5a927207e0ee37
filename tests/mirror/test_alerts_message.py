"""What webhooks of each kind are sent, which answers mean yes, and that nothing secret is shown."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from mirrornode.config_alerts import WebhookConfig
from mirrornode.mirror.alerts_message import (
    MAX_ANSWER_TEXT,
    MAX_TEXT,
    Sender,
    label_of,
    message_for,
    shown,
    verdict_of,
)
from mirrornode.mirror.alerts_state import FIRED, RECOVERED, TEST, Notice
from mirrornode.store.alert_records import Alert

NOW = 1_700_000_000.5
URL = "https://user:passwort@hooks.example/robot/send/0123456789abcdef?access_token=geheim&k=v1"
SENDER = Sender("nas", "12D3KooW")
ALERT = Alert("slow", "http://m/", "warning", "mirror <m> & co is slow", NOW - 600)
FIRST = Notice(FIRED, ALERT, NOW)


def body(kind: str, notice: Notice = FIRST, secret: str = "") -> dict[str, Any]:
    hook = WebhookConfig(URL, kind, secret)
    found: dict[str, Any] = json.loads(message_for(hook, notice, SENDER, NOW).body)
    return found


def test_json_is_the_whole_record() -> None:
    assert body("json") == {
        "source": "mirrornode",
        "event": "fired",
        "rule": "slow",
        "key": "http://m/",
        "severity": "warning",
        "text": "mirror <m> & co is slow",
        "since": NOW - 600,
        "at": NOW,
        "host": "nas",
        "peer_id": "12D3KooW",
    }


def test_chat_rooms_get_one_line_in_their_own_form() -> None:
    text = "[mirrornode nas] warning: mirror <m> & co is slow"
    slack = "[mirrornode nas] warning: mirror &lt;m&gt; &amp; co is slow"
    assert body("slack") == {"text": slack}
    assert body("feishu") == {"msg_type": "text", "content": {"text": text.replace("<", "(")}}
    assert body("dingtalk") == {"msgtype": "text", "text": {"content": text}}
    assert body("wecom") == {"msgtype": "text", "text": {"content": text}}


@pytest.mark.parametrize(
    ("event", "word"), [(RECOVERED, "recovered after 10 min"), (TEST, "test"), (FIRED, "warning")]
)
def test_text_says_what_has_happened(event: str, word: str) -> None:
    assert f"] {word}: mirror" in body("wecom", Notice(event, ALERT, NOW))["text"]["content"]


def test_text_when_it_is_long_then_cut() -> None:
    long = Notice(FIRED, Alert("slow", "", "warning", "x" * 5000, NOW), NOW)
    assert len(body("slack", long)["text"]) == MAX_TEXT


def test_feishu_when_it_has_a_secret_then_signed_in_the_body() -> None:
    found = body("feishu", secret="SECx")
    digest = hmac.new(b"1700000000\nSECx", b"", hashlib.sha256).digest()
    assert found["timestamp"] == "1700000000"
    assert found["sign"] == base64.b64encode(digest).decode()
    assert "sign" not in body("feishu")


def test_dingtalk_when_it_has_a_secret_then_signed_in_the_query() -> None:
    message = message_for(WebhookConfig(URL, "dingtalk", "SECx"), FIRST, SENDER, NOW)
    query = parse_qs(message.query)
    digest = hmac.new(b"SECx", b"1700000000500\nSECx", hashlib.sha256).digest()
    assert query == {"timestamp": ["1700000000500"], "sign": [base64.b64encode(digest).decode()]}
    assert message_for(WebhookConfig(URL, "wecom", "SECx"), FIRST, SENDER, NOW).query == ""


@pytest.mark.parametrize(
    ("kind", "status", "answer", "expected"),
    [
        ("json", 204, b"", (True, "answered 204")),
        ("json", 200, b'{"code": 7}', (True, "answered 200")),
        ("json", 302, b"", (False, "answered 302")),
        ("slack", 200, b"ok", (True, "answered 200")),
        ("slack", 404, b"no_service", (False, "answered 404")),
        ("feishu", 200, b'{"code":0,"msg":"success"}', (True, "answered 200")),
        ("feishu", 200, b'{"StatusCode":0,"StatusMessage":"success"}', (True, "answered 200")),
        ("feishu", 200, b'{"code":19024,"msg":"Key Words Not Found"}',
         (False, "answered 200, code 19024: Key Words Not Found")),
        ("dingtalk", 200, b'{"errcode":0,"errmsg":"ok"}', (True, "answered 200")),
        ("dingtalk", 200, b'{"errcode":310000,"errmsg":"sign not match"}',
         (False, "answered 200, errcode 310000: sign not match")),
        ("wecom", 200, b'{"errcode":45009,"errmsg":null}',
         (False, "answered 200, errcode 45009: ")),
        ("wecom", 200, b"<html>", (False, "answered 200, but not like a wecom robot")),
        ("wecom", 200, b"[]", (False, "answered 200, but not like a wecom robot")),
        ("wecom", 200, b'{"x":1}', (False, "answered 200, but not like a wecom robot")),
        ("dingtalk", 200, b"[" * 100_000, (False, "answered 200, but not like a dingtalk robot")),
        ("dingtalk", 500, b'{"errcode":0}', (False, "answered 500")),
    ],
)  # fmt: skip
def test_verdict(kind: str, status: int, answer: bytes, expected: tuple[bool, str]) -> None:
    assert verdict_of(WebhookConfig(URL, kind), status, answer) == expected


def test_shown_when_an_answer_repeats_the_url_then_its_secrets_are_hidden() -> None:
    hook = WebhookConfig(URL, "wecom", "signing-key")
    words = f"{URL} 0123456789abcdef geheim passwort signing-key /robot/send/0123456789abcdef"
    answer = json.dumps({"errcode": 1, "errmsg": f"{words} \x1b[2J bad"}).encode()
    _, detail = verdict_of(hook, 200, answer)
    for secret in ("0123456789abcdef", "geheim", "passwort", "signing-key", "\x1b"):
        assert secret not in detail
    assert detail.endswith("bad")
    assert len(shown(hook, "x" * 9999)) == MAX_ANSWER_TEXT


def test_label_and_repr_show_nothing_secret() -> None:
    hook = WebhookConfig(URL, "slack", "signing-key")
    assert label_of(hook) == "slack hooks.example"
    assert label_of(WebhookConfig(URL, name="ops")) == "ops"
    for secret in ("0123456789abcdef", "geheim", "passwort", "signing-key"):
        assert secret not in repr(hook)
