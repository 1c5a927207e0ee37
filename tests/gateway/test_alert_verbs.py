"""Alerts through the client, with no daemon running: what one left, and the webhooks' answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirrornode import Client
from mirrornode.errors import TargetError
from mirrornode.store.alert_records import Alert
from mirrornode.store.catalog import open_catalog
from support.webhook_server import webhook_server

ALERT = Alert("disk", "", "critical", "91 % full", 5.0)


def test_alerts_when_no_daemon_runs_then_those_it_left(tmp_path: Path) -> None:
    with open_catalog(tmp_path) as catalog:
        catalog.save_alerts([ALERT], [])
    (found,) = Client(tmp_path).alerts()
    assert found == {
        "rule": "disk",
        "key": "",
        "severity": "critical",
        "text": "91 % full",
        "since": 5.0,
    }


def test_test_when_no_daemon_runs_then_webhooks_are_told_from_here(tmp_path: Path) -> None:
    with webhook_server() as server:
        (tmp_path / "config.toml").write_text(
            f'[[webhook]]\nurl = "{server.url}"\nkind = "slack"\nname = "ops"\n'
            f'[[webhook]]\nurl = "{server.url}"\nkind = "wecom"\n'
        )
        ops, wecom = Client(tmp_path).test_alerts()
    assert (ops["webhook"], ops["kind"], ops["is_taken"]) == ("ops", "slack", True)
    assert not wecom["is_taken"]  # it answered "ok", which is not what such a robot says
    assert "verysecret" not in repr([ops, wecom])
    assert len(server.posts) == 2


def test_test_when_there_is_no_webhook_then_told_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"\[\[webhook\]\] in config.toml"):
        Client(tmp_path).test_alerts()
