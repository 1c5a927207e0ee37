"""What a repo's licence is called, and the policy."""

from __future__ import annotations

from typing import Any

import pytest

from mirrornode.config import HubConfig
from mirrornode.errors import LicenceRefused
from mirrornode.mirror.hub.licence import check_licence, licence_names, licence_of
from mirrornode.mirror.hub.named import Named, gate_of, is_private
from mirrornode.wire.hub import Repo


def named(info: dict[str, Any]) -> Named:
    repo = Repo("model", "org/name")
    return Named(repo, "0" * 40, info, "", False, licence_of(info), "hub:huggingface.co")


@pytest.mark.parametrize(
    ("info", "names", "shown"),
    [
        ({}, (), ""),
        ({"cardData": {"license": "MIT"}}, ("mit",), "mit"),
        ({"tags": ["license:apache-2.0", "x"]}, ("apache-2.0",), "apache-2.0"),
        ({"cardData": {"license": ["mit", "gpl"]}}, ("mit", "gpl"), "mit, gpl"),
        (
            {"cardData": {"license": "other", "license_name": "llama3"}, "tags": ["license:other"]},
            ("llama3", "other"),
            "llama3",
        ),
        ({"cardData": {"license": "other"}}, ("other",), "other"),
        ({"cardData": {"license": "unknown"}}, (), ""),
        ({"cardData": None, "tags": "license:mit"}, (), ""),
        ({"cardData": {"license": {"odd": 1}}, "tags": [7]}, (), ""),
        ({"cardData": {"license": "a\r\nX-Evil: 1"}}, ("a--x-evil:-1",), "a--x-evil:-1"),
    ],
)
def test_licence_names(info: dict[str, Any], names: tuple[str, ...], shown: str) -> None:
    assert licence_names(info) == names
    assert licence_of(info) == shown


@pytest.mark.parametrize(
    ("licence", "allow", "deny", "setting"),
    [
        ("mit", (), (), ""),
        ("mit", ("mit", "apache-2.0"), (), ""),
        ("cc-by-nc-4.0", (), ("CC-BY-NC*",), "licence_deny"),
        ("cc-by-nc-4.0", ("*",), ("cc-by-nc*",), "licence_deny"),
        ("gpl", ("mit",), (), "licence_allow"),
        ("", ("mit",), (), "licence_allow"),
        ("", (), ("unknown",), "licence_deny"),
        ("", ("unknown",), (), ""),
        ("", (), (), ""),
    ],
)
def test_check_licence(
    licence: str, allow: tuple[str, ...], deny: tuple[str, ...], setting: str
) -> None:
    policy = HubConfig(licence_allow=allow, licence_deny=deny)
    one = named({"cardData": {"license": licence}} if licence else {})
    if not setting:
        check_licence(policy, one)
        return
    with pytest.raises(LicenceRefused) as caught:
        check_licence(policy, one)
    for word in (setting, "org/name", licence or "not stated"):
        assert word in str(caught.value)


def test_check_licence_when_several_then_one_allowed_is_enough_and_one_denied_too_much() -> None:
    dual = named({"cardData": {"license": ["mit", "gpl"]}})
    check_licence(HubConfig(licence_allow=("mit",)), dual)
    with pytest.raises(LicenceRefused):
        check_licence(HubConfig(licence_deny=("gpl",)), dual)


@pytest.mark.parametrize(
    ("value", "gate"),
    [(False, ""), (None, ""), ("auto", "auto"), ("manual", "manual"), (True, "manual"),
     ("odd", "manual"), (0, "manual"), ([], "manual")],
)  # fmt: skip
def test_gate_of_when_strange_then_rather_gated(value: object, gate: str) -> None:
    assert gate_of({"gated": value}) == gate


@pytest.mark.parametrize(
    ("info", "was_anonymous", "private"),
    [({"private": False}, False, False), ({"private": True}, True, True), ({}, True, False),
     ({}, False, True), ({"private": "no"}, True, True)],
)  # fmt: skip
def test_is_private_when_not_said_then_who_could_ask_decides(
    info: dict[str, Any], was_anonymous: bool, private: bool
) -> None:
    assert is_private(info, was_anonymous=was_anonymous) is private
