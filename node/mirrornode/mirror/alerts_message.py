"""What a webhook is sent, and whether its answer means yes. Pure.

Slack wants `text`, Feishu (Lark), DingTalk and WeCom robots a text message each in their own way;
those three answer 200 to anything and say in the body whether they took it. "json" is the record
itself, for programs.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote_plus, urlsplit

from mirrornode.mirror.alerts_state import RECOVERED, TEST

if TYPE_CHECKING:
    from mirrornode.config_alerts import WebhookConfig
    from mirrornode.mirror.alerts_state import Notice

MAX_TEXT: Final = 1500  # letters; WeCom takes 2048 bytes
MAX_ANSWER_TEXT: Final = 200
HIDDEN: Final = "…"
SECRET_LETTERS: Final = 6  # shorter parts of a URL, such as "send", are no secrets

# The field of an answer that is 0 when the robot took the message.
_CODES: Final[Mapping[str, tuple[str, ...]]] = {
    "feishu": ("code", "StatusCode"),
    "dingtalk": ("errcode",),
    "wecom": ("errcode",),
}


@dataclass(frozen=True, slots=True)
class Sender:
    """Which node speaks."""

    host: str
    peer_id: str


@dataclass(frozen=True, slots=True)
class Message:
    """One POST: `query` is added to that of the URL, `body` is JSON."""

    query: str
    body: bytes


def message_for(hook: WebhookConfig, notice: Notice, sender: Sender, now: float) -> Message:
    """Return what a webhook is sent.

    Args:
        now: Unix seconds, for the signature.
    """
    query = ""
    content: dict[str, Any]
    text = text_of(notice, sender)
    if hook.kind == "slack":
        content = {"text": _escaped(text)}
    elif hook.kind == "feishu":
        # Its text knows tags such as <at user_id="all">.
        content = {"msg_type": "text", "content": {"text": text.replace("<", "(")}}
        if hook.secret:
            stamp = str(int(now))
            content |= {"timestamp": stamp, "sign": _sign(f"{stamp}\n{hook.secret}", "")}
    elif hook.kind in ("dingtalk", "wecom"):
        content = {"msgtype": "text", "text": {"content": text}}
        if hook.kind == "dingtalk" and hook.secret:
            stamp = str(int(now * 1000))
            sign = quote_plus(_sign(hook.secret, f"{stamp}\n{hook.secret}"))
            query = f"timestamp={stamp}&sign={sign}"
    else:
        content = record_of(notice, sender)
    return Message(query, json.dumps(content, ensure_ascii=False).encode())


def record_of(notice: Notice, sender: Sender) -> dict[str, Any]:
    """Return the record of kind "json"."""
    alert = notice.alert
    return {
        "source": "mirrornode",
        "event": notice.event,
        "rule": alert.rule,
        "key": alert.key,
        "severity": alert.severity,
        "text": alert.text,
        "since": alert.since,
        "at": notice.at,
        "host": sender.host,
        "peer_id": sender.peer_id,
    }


def text_of(notice: Notice, sender: Sender) -> str:
    """Return the message for people, in one line."""
    word = notice.alert.severity
    if notice.event == TEST:
        word = "test"
    elif notice.event == RECOVERED:
        minutes = max(0.0, notice.at - notice.alert.since) / 60
        word = f"recovered after {minutes:.0f} min"
    return f"[mirrornode {sender.host}] {word}: {notice.alert.text}"[:MAX_TEXT]


def verdict_of(hook: WebhookConfig, status: int, body: bytes) -> tuple[bool, str]:
    """Return whether a webhook took a message, and what it answered, fit to be shown."""
    is_taken = 200 <= status < 300
    detail = f"answered {status}"
    try:
        answer = json.loads(body) if body else None
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and is_taken:
        for name in _CODES.get(hook.kind, ()):
            if name in answer:
                is_taken = answer[name] == 0
                if not is_taken:
                    words = answer.get("errmsg") or answer.get("msg") or ""
                    detail += f", {name} {answer[name]}: {words}"
                break
        else:
            if hook.kind in _CODES:
                is_taken, detail = False, f"{detail}, but not like a {hook.kind} robot"
    elif is_taken and hook.kind in _CODES:
        is_taken, detail = False, f"{detail}, but not like a {hook.kind} robot"
    return is_taken, shown(hook, detail)


def label_of(hook: WebhookConfig) -> str:
    """Return what a webhook is called where people see it."""
    return hook.name or f"{hook.kind} {urlsplit(hook.url).hostname}"


def shown(hook: WebhookConfig, text: str) -> str:
    """Return a text in one line of bounded length, without anything secret of the webhook's."""
    parts = urlsplit(hook.url)
    secrets = [hook.url, hook.secret, parts.path, parts.query, parts.password, parts.username]
    secrets += [part for part in parts.path.split("/") if len(part) >= SECRET_LETTERS]
    secrets += [value for _, value in parse_qsl(parts.query)]
    for secret in sorted({one for one in secrets if one and one != "/"}, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return line[:MAX_ANSWER_TEXT]


def _sign(key: str, text: str) -> str:
    return base64.b64encode(hmac.digest(key.encode(), text.encode(), hashlib.sha256)).decode()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
