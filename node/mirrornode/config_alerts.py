"""Settings of alerts: `[alerts]`, the rules with their defaults, and `[[webhook]]`, who is told.

The URL of a webhook is a secret, as whoever knows it can write to the room behind it: no error and
no `repr` shows it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from mirrornode.errors import ConfigError

WEBHOOK_KINDS: Final = ("json", "slack", "feishu", "dingtalk", "wecom")
SIGNING_KINDS: Final = ("feishu", "dingtalk")
_MAX_COUNT: Final = 50  # what the catalog keeps of a mirror
_SHARES: Final = ("alerts.failed_share", "alerts.disk_used", "alerts.announce_share")


@dataclass(frozen=True, slots=True)
class AlertsConfig:
    """When somebody is told that something is wrong, and whether the node helps itself."""

    slow_downloads: int = 3  # so many in a row below `slow_rate`; 0 = never
    slow_rate: int = 1_000_000  # bytes a second; 0 = nothing is slow
    slow_after_s: float = 3.0  # a download that took less is not called slow
    failed_share: float = 0.2  # more than this part of a day's downloads failed; 1 = never
    failed_least: int = 5  # downloads of a day; of fewer nothing is said
    disk_used: float = 0.9  # more than this part of the home's disk is used; 1 = never
    origin_failures: int = 3  # so many questions in a row without an answer; 0 = never
    wrong_bytes: bool = True  # whenever a source sent wrong bytes
    announce_share: float = 0.1  # more than this part waits to be announced; 1 = never
    announce_late_s: float = 3600.0  # ...for so long without becoming less
    switch: bool = True  # mirrors and origins at fault are put aside for the next best
    rest_s: float = 300.0  # for how long, at first; it doubles up to twelve times this
    prove: int = 2  # good downloads in a row bring one back
    calm_s: float = 60.0  # an alert ends when all was well for so long


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """One URL that is told when an alert begins and ends."""

    url: str = field(default="", repr=False)
    kind: str = "json"  # one of `WEBHOOK_KINDS`
    secret: str = field(default="", repr=False)  # feishu, dingtalk: signs messages; "" = unsigned
    name: str = ""  # what it is called in logs and tables; "" = kind and host


def check_alert_setting(name: str, value: Any, origin: str) -> None:
    """Refuse a value of `[alerts]` or `[[webhook]]` that has the right type and makes no sense.

    Raises:
        ConfigError: Names the key; never shows the URL or the secret of a webhook.
    """
    wish = ""
    if name in _SHARES and not 0 < value <= 1:
        wish = "give a part from above 0 to 1, such as 0.2; 1 means never"
    elif name in ("alerts.slow_downloads", "alerts.origin_failures"):
        wish = "" if _is_count(value, 0) else f"give a number from 0 to {_MAX_COUNT}; 0 means never"
    elif name in ("alerts.failed_least", "alerts.prove"):
        wish = "" if _is_count(value, 1) else f"give a number from 1 to {_MAX_COUNT}"
    elif name == "webhook.url" and not _is_web_url(value):
        wish = "give an http:// or https:// URL"
    elif name == "webhook.kind" and value not in WEBHOOK_KINDS:
        wish = f"give one of {', '.join(WEBHOOK_KINDS)}"
    elif name == "webhook.name" and not (len(value) <= 60 and value.isprintable()):
        wish = "give at most 60 letters"
    if wish:
        raise ConfigError(f"{name} in {origin}: {wish}", key=name, origin=origin)


def _is_count(value: Any, least: int) -> bool:
    return not isinstance(value, bool) and least <= value <= _MAX_COUNT


def _is_web_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
