"""What nodes tell each other of Hub repos: round trips, pages, and everything a liar may send."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.content.cid import Cid
from mirrornode.errors import RemoteProtocolError
from mirrornode.wire import hub_peer
from mirrornode.wire.hub import HubFile, Repo
from mirrornode.wire.hub_peer import (
    MAX_ANSWER_BYTES,
    MAX_ETAGS,
    MAX_INFO_BYTES,
    MAX_QUESTION_BYTES,
    EtagHolding,
    EtagQuestion,
    NameQuestion,
    PeerWord,
    TreePages,
    decode_holdings,
    decode_question,
    decode_word,
    encode_holdings,
    encode_question,
    encode_word,
    open_info,
)

COMMIT = "c0" * 20
SHA256 = "5a" * 32
OID = "0d" * 20
ROOT = Cid.v1(0x55, b"\x12\x20" + bytes(32))
QUESTION = NameQuestion(Repo("model", "org/name"), "main")
FILES = (HubFile("a/b c.bin", 5, OID, SHA256), HubFile("config.json", 0, OID))
WORD = PeerWord(COMMIT, {"id": "org/name"}, FILES, "hub:huggingface.co", 1.79e9, 0, 2)


def changed(**changes: Any) -> bytes:
    """Return the answer `WORD` with other values; None takes a key away."""
    record = {**json.loads(encode_word(WORD)), **changes}
    return json.dumps({key: value for key, value in record.items() if value is not None}).encode()


@given(
    st.sampled_from(["model", "dataset", "space"]),
    st.from_regex(r"[a-z]{1,9}(/[A-Za-z0-9_]{1,9})?", fullmatch=True),
    st.sampled_from(["main", "feature/x", "refs/pr/1", "v1.0", "é", COMMIT]),
    st.integers(0, 1_000_000),
)
def test_name_question_round_trips(repo_type: str, name: str, revision: str, start: int) -> None:
    if name.split("/")[0] in ("api", "models", "datasets", "spaces", "kernels"):
        return
    question = NameQuestion(Repo(repo_type, name), revision, start)
    assert decode_question(encode_question(question)) == question


def test_etag_question_round_trips_when_full() -> None:
    question = EtagQuestion((SHA256,) * MAX_ETAGS)
    data = encode_question(question)
    assert len(data) <= MAX_QUESTION_BYTES
    assert decode_question(data) == question


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"\xff", b"null", b"{}", b'{"v":2}', b'{"v":1}', b"[" * 30_000,
        b" " * (MAX_QUESTION_BYTES + 1),
        b'{"v":1,"repo":"org/name"}', b'{"v":1,"repo":1,"revision":"main"}',
        b'{"v":1,"repo":"../x","revision":"main"}', b'{"v":1,"repo":"a/b/c","revision":"main"}',
        b'{"v":1,"repo":"a/b","revision":"a..b"}', b'{"v":1,"repo":"a/b","revision":""}',
        b'{"v":1,"repo":"a/b","revision":"\\ud800"}',
        b'{"v":1,"repo":"a/b","revision":"m","start":-1}',
        b'{"v":1,"repo":"a/b","revision":"m","start":true}',
        b'{"v":1,"repo":"a/b","revision":"m","start":1e3}',
        b'{"v":1,"repo":"a/b","revision":"m","start":9999999}',
        b'{"v":1,"etags":1}', b'{"v":1,"etags":["x"]}', b'{"v":1,"etags":[1]}',
        json.dumps({"v": 1, "etags": [OID] * (MAX_ETAGS + 1)}).encode(),
    ],
)  # fmt: skip
def test_question_when_it_is_none_then_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_question(data)


def test_word_round_trips() -> None:
    assert decode_word(encode_word(WORD), QUESTION) == WORD
    unknown_tree = PeerWord(COMMIT, {}, None, "peer:12D3KooX", 5.5)
    assert decode_word(encode_word(unknown_tree), QUESTION) == unknown_tree
    empty = PeerWord(COMMIT, {}, (), "hub:h", 1.0)
    assert decode_word(encode_word(empty), QUESTION) == empty
    assert decode_word(encode_word(None), QUESTION) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2}, {"commit": "main"}, {"commit": COMMIT.upper()}, {"commit": 1},
        {"vouched_by": None}, {"vouched_by": "me"}, {"vouched_by": "hub:"},
        {"vouched_by": "hub:a b"}, {"vouched_by": "peer:" + "x" * 300}, {"vouched_by": 1},
        {"recorded_at": None}, {"recorded_at": True}, {"recorded_at": -1}, {"recorded_at": "1"},
        {"recorded_at": 1e300}, {"info": None}, {"info": []}, {"info": 1},
        {"files": {}}, {"files": [1]}, {"files": [[]]}, {"files": [["a", 1]]},
        {"files": [["../a", 1, OID]]}, {"files": [["/a", 1, OID]]}, {"files": [["a//b", 1, OID]]},
        {"files": [["a\\b", 1, OID]]}, {"files": [["a\0", 1, OID]]}, {"files": [["", 1, OID]]},
        {"files": [["\ud800", 1, OID]]}, {"files": [["x" * 5000, 1, OID]]},
        {"files": [["a", -1, OID]]}, {"files": [["a", 1.5, OID]]}, {"files": [["a", True, OID]]},
        {"files": [["a", 2**60, OID]]}, {"files": [["a", 1, "x"]]}, {"files": [["a", 1, None]]},
        {"files": [["a", 1, OID, "x"]]}, {"files": [["a", 1, OID, SHA256, 1]]},
        {"files": [["a", 1, OID], ["a", 1, OID]]}, {"files": [["a", 1, OID], ["a/b", 1, OID]]},
        {"total": 1}, {"total": None}, {"total": -1}, {"total": 10**9}, {"start": 1},
        {"start": None}, {"start": "0"},
    ],
)  # fmt: skip
def test_word_when_it_is_none_then_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_word(changed(**changes), QUESTION)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[" * 100_000, b'{"v":1,"x":NaN}', b'{"v":1,"x":1e999}', b"9" * 5000,
     b" " * (MAX_ANSWER_BYTES + 1)],
)  # fmt: skip
def test_word_when_it_is_no_json_then_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_word(data, QUESTION)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_word_when_any_part_is_anything_then_a_word_or_refused(value: object) -> None:
    for key in json.loads(encode_word(WORD)):
        try:
            decode_word(changed(**{key: value}), QUESTION)
        except RemoteProtocolError:
            continue


def test_word_of_another_commit_than_asked_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="another commit"):
        decode_word(encode_word(WORD), NameQuestion(QUESTION.repo, "ab" * 20))


def test_info_keeps_what_is_plain_and_bounded() -> None:
    info = {
        "id": "org/name", "siblings": [1], "tags": ["a"], "private": True, "gated": "auto",
        "author": {"deep": 1}, "xetEnabled": True, "sdk": ["x", 1], "config": {},
        "cardData": {"license": "mit", "license_link": None, "x": "y"},
    }  # fmt: skip
    kept = {"id": "org/name", "tags": ["a"], "cardData": {"license": "mit"}}
    assert open_info(info) == kept
    long = {**info, "tags": ["x" * 1000] * 100}
    assert open_info(long) == {"id": "org/name", "cardData": {"license": "mit"}}
    assert open_info({"cardData": {"license": "x" * MAX_INFO_BYTES}, "id": "y"}) == {}


def test_tree_larger_than_an_answer_comes_in_pages() -> None:
    files = tuple(
        HubFile(f"folder {number // 1000}/{number:06}.safetensors", number, OID, SHA256)
        for number in range(60_000)
    )
    whole = PeerWord(COMMIT, {"id": "org/name"}, files, "hub:h", 1.0, 0, len(files))
    pages = TreePages(QUESTION)
    question: NameQuestion | None = QUESTION
    sizes = []
    while question is not None:
        data = encode_word(whole, question.start)
        sizes.append(len(data))
        word = decode_word(data, question)
        assert word is not None
        question = pages.add(word)
    assert pages.word() == whole
    assert 1 < len(sizes) < 5
    assert max(sizes) <= MAX_ANSWER_BYTES


def test_pages_when_the_peer_changes_its_word_then_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_peer, "MAX_PAGE_FILES", 1)
    first = decode_word(encode_word(WORD), QUESTION)
    assert first is not None
    bad = [
        PeerWord("dd" * 20, {}, FILES[1:], "hub:h", 1.0, 1, 2),
        PeerWord(COMMIT, {}, FILES[1:], "hub:h", 1.0, 1, 3),
        PeerWord(COMMIT, {}, None, "hub:h", 1.0, 1, 2),
        PeerWord(COMMIT, {}, FILES[1:], "hub:h", 1.0, 0, 2),
        PeerWord(COMMIT, {}, (), "hub:h", 1.0, 1, 2),
    ]
    for word in bad:
        pages = TreePages(QUESTION)
        assert pages.add(first) == NameQuestion(QUESTION.repo, COMMIT, 1)
        with pytest.raises(RemoteProtocolError):
            pages.add(word)
    pages = TreePages(QUESTION)
    pages.add(first)
    pages.add(PeerWord(COMMIT, {}, (HubFile("a", 1, OID),), "hub:h", 1.0, 1, 2))
    with pytest.raises(RemoteProtocolError):
        pages.word()


def test_holdings_round_trip_and_only_what_was_asked() -> None:
    question = EtagQuestion((SHA256, OID))
    holdings = [EtagHolding(OID, ROOT, 5), EtagHolding(SHA256, ROOT, 0)]
    assert decode_holdings(encode_holdings(holdings), question) == holdings
    assert decode_holdings(encode_holdings([]), question) == []
    twice = encode_holdings([holdings[0]] * 2)
    with pytest.raises(RemoteProtocolError):
        decode_holdings(twice, question)


@pytest.mark.parametrize(
    "have",
    [None, 1, [1], [[OID, str(ROOT)]], [[OID, "x", 1]], [[OID, 1, 1]], [[OID, str(ROOT), -1]],
     [["x", str(ROOT), 1]], [[SHA256, str(ROOT), 1]], [[OID, "b" * 300, 1]],
     [[OID, str(ROOT), 1], [OID, str(ROOT), 1]]],
)  # fmt: skip
def test_holdings_when_they_are_none_then_refused(have: object) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_holdings(json.dumps({"v": 1, "have": have}).encode(), EtagQuestion((OID,)))
