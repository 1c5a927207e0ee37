"""The table from errors to answers: complete, and with what clients of the Hub go by."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirrornode import errors
from mirrornode.gateway.hub_errors import ANSWERS, header_text, refuse


def _tree(cls: type[errors.MirrorError]) -> set[type[errors.MirrorError]]:
    found = {cls}
    for sub in cls.__subclasses__():
        if sub.__module__ == errors.__name__:
            found |= _tree(sub)
    return found


def test_table_when_an_error_class_is_added_then_it_must_name_it() -> None:
    assert set(ANSWERS) == _tree(errors.MirrorError)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.HubNotFound("x", status=404, code="RevisionNotFound"), 404, "RevisionNotFound"),
        (errors.HubNotFound("x", status=401, code="RepoNotFound"), 401, "RepoNotFound"),
        (errors.HubNotFound("x", status=404), 404, "RepoNotFound"),
        (errors.HubNotFound("x", status=404, commit="a" * 40), 404, "EntryNotFound"),
        (errors.HubRefusal("x", status=401, code="GatedRepo"), 401, "GatedRepo"),
        (errors.HubRefusal("x", status=403), 403, "GatedRepo"),
        # Without a code, as the Hub answers an invalid token.
        (errors.HubRefusal("Invalid credentials in Authorization header", status=401), 401, None),
        (errors.HubRefusal("x", status=302), 502, None),
        (errors.OriginAway("x"), 504, None),
        (errors.LicenceRefused("x"), 403, "GatedRepo"),
        (errors.SourceGone("x"), 502, None),
        (errors.SourceTooSlow("x"), 504, None),
        (errors.CidMismatch("x"), 502, None),
        (errors.DiskFull(Path("/home/alice"), 2, 1), 507, None),
    ],
)
def test_refuse_when_asked_then_status_code_and_message(
    error: errors.MirrorError, status: int, code: str | None
) -> None:
    answer = refuse(error)
    assert (answer.status, answer.headers.get("X-Error-Code")) == (status, code)
    assert answer.headers["X-Error-Message"]
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


@pytest.mark.parametrize(
    "error",
    [
        errors.HubRefusal(
            "hub.example refused x: Invalid credentials in Authorization header", status=401
        ),
        errors.SourceRefused("the server answered 401", status=401),
    ],
)
def test_refuse_when_the_token_is_invalid_then_the_very_words_of_the_hub(
    error: errors.MirrorError,
) -> None:
    answer = refuse(error)
    assert answer.status == 401
    assert answer.headers["X-Error-Message"] == "Invalid credentials in Authorization header"


def test_refuse_when_an_entry_is_missing_then_the_commit_is_named() -> None:
    error = errors.HubNotFound("x", status=404, code="EntryNotFound", commit="b" * 40)
    assert refuse(error).headers["X-Repo-Commit"] == "b" * 40


def test_refuse_when_the_origin_asks_to_wait_then_clients_are_told() -> None:
    busy = errors.SourceRefused("busy", status=429, retry_after_s=7.6)
    assert (refuse(busy).status, refuse(busy).headers["Retry-After"]) == (429, "7")
    endless = errors.SourceRefused("busy", status=429, retry_after_s=1e12)
    assert refuse(endless).headers["Retry-After"] == "3600"
    assert refuse(errors.SourceRefused("busy", status=429)).headers["Retry-After"] == "1"


CLIENT = "unknown/None; hf_hub/2.4.0; python/3.11.7; torch/2.13.0"
COMMAND = "huggingface-cli/1.33.0; hf_hub/1.33.0; python/3.12.1; agent/x"
LIBRARY = f"{CLIENT}; transformers/4.57.1; session_id/0a1b"


def test_refuse_when_the_origin_is_away_then_only_a_snapshot_hears_a_code() -> None:
    away = errors.OriginAway("hub.example cannot be reached")
    assert refuse(away, kind="revision").headers["X-Error-Code"] == "RepoNotFound"
    for kind in ("resolve", "model-info", "tree"):
        assert "X-Error-Code" not in refuse(away, kind=kind, agent=CLIENT).headers
        assert "cannot be reached" in refuse(away, kind=kind).headers["X-HF-Warning"]


@pytest.mark.parametrize(
    ("agent", "is_told"),
    [(CLIENT, True), (COMMAND, True), (LIBRARY, False), ("diffusers/0.36; hf_hub/1.0", False),
     ("curl/8.5", False), ("", False)],
)  # fmt: skip
def test_refuse_when_a_repo_is_unheard_of_then_the_client_but_no_library_is_told(
    agent: str, is_told: bool
) -> None:
    unheard_of = errors.NotKnownHere("org/x is not known here and hub.example cannot be asked")
    answer = refuse(unheard_of, kind="resolve", agent=agent)
    assert answer.status == (404 if is_told else 504)
    assert answer.headers.get("X-Error-Code") == ("RepoNotFound" if is_told else None)
    assert "cannot be asked" in answer.headers["X-Error-Message"]


def test_refuse_when_this_machine_fails_then_its_paths_stay_here() -> None:
    error = errors.PathRefused(Path("/home/alice/secret"), "read", "denied")
    answer = refuse(error)
    assert "alice" not in str(answer.headers)
    assert isinstance(answer.text, str)
    assert "alice" not in answer.text


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\r\nSet-Cookie: b", "a Set-Cookie: b"), ("模型 x", "x"), ("y" * 5000, "y" * 800 + "...")],
)
def test_header_text_when_it_could_break_a_header_then_one_plain_line(text: str, line: str) -> None:
    assert header_text(text) == line
