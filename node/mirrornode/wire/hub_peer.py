"""What nodes tell each other of Hub repos: which commit a name stands for, and its files.

Protocol `/mirrornode/hub/1.0.0`: over a libp2p stream the asker sends one JSON question and gets
one JSON answer. A question names a repo and a revision, or contents by their etags. Only open
repos are spoken of, and a word is what the peer says, not a proof. Format: docs/formats/hub.md.

This module only encodes and decodes; who answers what, and who is believed, is decided elsewhere.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mirrornode.content.cid import Cid
from mirrornode.errors import ContentError, RemoteProtocolError, TargetError
from mirrornode.wire.hub import Repo, check_revision, is_commit, parse_repo
from mirrornode.wire.hub_tree import MAX_FILE_BYTES, HubFile, check_tree, decode_file, is_etag

PROTOCOL = "/mirrornode/hub/1.0.0"
MAX_QUESTION_BYTES = 32 * 1024
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_PAGE_FILES = 50_000  # in one answer; the bytes of an answer may allow fewer
MAX_TREE_FILES = 1_000_000
MAX_ETAGS = 256
MAX_INFO_BYTES = 64 * 1024

INFO_KEYS = (
    "id", "author", "lastModified", "createdAt", "disabled", "tags", "pipeline_tag",
    "library_name", "sdk",
)  # fmt: skip
LICENCE_KEYS = ("license", "license_name", "license_link")

_VERSION = 1
_VOUCHER = re.compile(r"(?:hub|peer):[\x21-\x7e]{1,250}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NameQuestion:
    """What does `revision` of `repo` stand for, and which files has it from number `start` on?"""

    repo: Repo
    revision: str
    start: int = 0


@dataclass(frozen=True, slots=True)
class EtagQuestion:
    """Which of these contents have you, and under which root? At most `MAX_ETAGS`."""

    etags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PeerWord:
    """What a peer says of one revision of an open repo.

    Attributes:
        commit: 40 hex.
        info: As much of the origin's model info as `open_info` leaves.
        files: Those from number `start` on, by path; None when the peer does not know the tree.
        start: 0 unless a later page was asked for.
        total_files: Of the whole tree; 0 when it is not known.
        vouched_by: Who told the peer: "hub:HOST" or "peer:ID".
        recorded_at: When the peer heard it, Unix seconds.
    """

    commit: str
    info: Mapping[str, Any]
    files: tuple[HubFile, ...] | None
    vouched_by: str
    recorded_at: float
    start: int = 0
    total_files: int = 0


@dataclass(frozen=True, slots=True)
class EtagHolding:
    """A content that a peer has: `root` is what to fetch, the etag what to check at the end."""

    etag: str
    root: Cid
    size_bytes: int


@dataclass(slots=True)
class TreePages:
    """Joins the pages of one tree.

    Attributes:
        question: The one that was asked first.
    """

    question: NameQuestion
    _first: PeerWord | None = None
    _files: list[HubFile] = field(default_factory=list)

    def add(self, word: PeerWord) -> NameQuestion | None:
        """Take the next answer and return the question for the one after, None for the last.

        Raises:
            RemoteProtocolError: The pages do not belong together.
        """
        first = self._first = self._first or word
        if word.start != len(self._files):
            raise RemoteProtocolError("a page of a tree that was not asked for")
        if (word.commit, word.total_files, word.files is None) != (
            first.commit, first.total_files, first.files is None,
        ):  # fmt: skip
            raise RemoteProtocolError("a peer that changed its word between two pages")
        if word.files is None:
            return None
        self._files += word.files
        if len(self._files) == word.total_files:
            return None
        if not word.files:
            raise RemoteProtocolError("an empty page in the middle of a tree")
        return NameQuestion(self.question.repo, word.commit, len(self._files))

    def word(self) -> PeerWord:
        """Return the whole word; only after `add` has returned None.

        Raises:
            RemoteProtocolError: The files cannot lie in one folder.
        """
        assert self._first is not None
        if self._first.files is None:
            return self._first
        check_tree(self._files)
        return replace(self._first, files=tuple(self._files))


def open_info(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of model info that peers are told: names, dates, tags and the licence.

    The siblings are in the files; what is too long is left out, tags first.
    """
    kept: dict[str, Any] = {key: info[key] for key in INFO_KEYS if _is_plain(info.get(key))}
    card = info.get("cardData")
    if isinstance(card, Mapping):
        kept["cardData"] = {key: card[key] for key in LICENCE_KEYS if _is_plain(card.get(key))}
    for key in ("", "tags", *INFO_KEYS, "cardData"):
        kept.pop(key, None)
        if len(_dump(kept)) <= MAX_INFO_BYTES:
            break
    return kept


def encode_question(question: NameQuestion | EtagQuestion) -> bytes:
    """Return the bytes of a question."""
    if isinstance(question, EtagQuestion):
        assert len(question.etags) <= MAX_ETAGS
        return _dump({"v": _VERSION, "etags": list(question.etags)})
    record: dict[str, Any] = {
        "v": _VERSION,
        "repo": str(question.repo),
        "revision": question.revision,
    }
    if question.start:
        record["start"] = question.start
    return _dump(record)


def decode_question(data: bytes) -> NameQuestion | EtagQuestion:
    """Return what is asked.

    Raises:
        RemoteProtocolError: Not such a question.
    """
    record = _load(data, MAX_QUESTION_BYTES)
    if "etags" in record:
        etags = record["etags"]
        if not isinstance(etags, list) or len(etags) > MAX_ETAGS:
            raise RemoteProtocolError("hub question without a usable list of etags")
        return EtagQuestion(tuple(_etag(etag) for etag in etags))
    repo, revision = record.get("repo"), record.get("revision")
    start = _count(record.get("start", 0), MAX_TREE_FILES)
    if not isinstance(repo, str) or not isinstance(revision, str):
        raise RemoteProtocolError("hub question without a repo and a revision")
    try:
        return NameQuestion(parse_repo(repo), check_revision(revision), start)
    except TargetError as exc:
        raise RemoteProtocolError("hub question for what cannot be") from exc


def encode_word(word: PeerWord | None, start: int = 0) -> bytes:
    """Return the answer to a `NameQuestion`, None for one that cannot be answered.

    Args:
        word: With all files of the tree, sorted by path; as many as fit are told.
        start: The number of the first one asked for.
    """
    if word is None:
        return _dump({"v": _VERSION})
    record: dict[str, Any] = {
        "v": _VERSION,
        "commit": word.commit,
        "info": open_info(word.info),
        "vouched_by": word.vouched_by,
        "recorded_at": word.recorded_at,
    }
    if word.files is not None:
        record |= {"start": start, "total": len(word.files), "files": []}
        room = MAX_ANSWER_BYTES - len(_dump(record))
        record["files"] = list(_fitting(word.files[start : start + MAX_PAGE_FILES], room))
    return _dump(record)


def decode_word(data: bytes, question: NameQuestion) -> PeerWord | None:
    """Return the answer to a `NameQuestion`, None when the peer does not know.

    Raises:
        RemoteProtocolError: Malformed, or it answers what was not asked.
    """
    record = _load(data, MAX_ANSWER_BYTES)
    commit = record.get("commit")
    if commit is None:
        return None
    if not isinstance(commit, str) or not is_commit(commit):
        raise RemoteProtocolError("hub word without a usable commit")
    if is_commit(question.revision) and commit != question.revision:
        raise RemoteProtocolError("hub word of another commit than asked")
    voucher, recorded_at = record.get("vouched_by"), record.get("recorded_at")
    if not isinstance(voucher, str) or not _VOUCHER.fullmatch(voucher):
        raise RemoteProtocolError("hub word that nobody vouches for")
    if (
        isinstance(recorded_at, bool)
        or not isinstance(recorded_at, int | float)
        or not 0 < recorded_at < 1e11
    ):
        raise RemoteProtocolError("hub word without a usable time")
    info = record.get("info")
    if not isinstance(info, dict):
        raise RemoteProtocolError("hub word without usable info")
    known = PeerWord(commit, open_info(info), None, voucher, float(recorded_at))
    if "files" not in record:
        return known
    start = _count(record.get("start"), MAX_TREE_FILES)
    total = _count(record.get("total"), MAX_TREE_FILES)
    records = record["files"]
    if not isinstance(records, list) or len(records) > MAX_PAGE_FILES:
        raise RemoteProtocolError("hub word without a usable list of files")
    if start != question.start or start + len(records) > total:
        raise RemoteProtocolError("hub word with other files than asked")
    files = tuple(_file(item) for item in records)
    check_tree(files)
    return replace(known, files=files, start=start, total_files=total)


def encode_holdings(holdings: Iterable[EtagHolding]) -> bytes:
    """Return the answer to an `EtagQuestion`."""
    have = [[item.etag, str(item.root), item.size_bytes] for item in holdings]
    assert len(have) <= MAX_ETAGS
    return _dump({"v": _VERSION, "have": have})


def decode_holdings(data: bytes, question: EtagQuestion) -> list[EtagHolding]:
    """Return the answer to an `EtagQuestion`; what the peer has not is left out.

    Raises:
        RemoteProtocolError: Malformed, or it answers what was not asked.
    """
    have = _load(data, MAX_ANSWER_BYTES).get("have")
    if not isinstance(have, list) or len(have) > len(question.etags):
        raise RemoteProtocolError("hub word without a usable list of holdings")
    asked = set(question.etags)
    holdings = []
    for item in have:
        if not isinstance(item, list) or len(item) != 3:
            raise RemoteProtocolError("a holding that is none")
        etag, root, size = item
        if _etag(etag) not in asked:
            raise RemoteProtocolError("a holding that was not asked for, or twice")
        asked.discard(etag)
        holdings.append(EtagHolding(etag, _cid(root), _count(size, MAX_FILE_BYTES)))
    return holdings


def _is_plain(value: object) -> bool:
    """Tell whether a value is a text, a truth or a list of texts: nothing deep, nothing odd."""
    return isinstance(value, str | bool) or (
        isinstance(value, list) and all(isinstance(item, str) for item in value)
    )


def _fitting(files: Sequence[HubFile], room: int) -> Iterable[list[Any]]:
    for file in files:
        item = [file.path, file.size_bytes, file.git_oid, *([file.sha256] if file.sha256 else [])]
        room -= len(_dump(item)) + 1
        if room < 0:
            return
        yield item


def _file(item: object) -> HubFile:
    if not isinstance(item, list) or len(item) not in (3, 4):
        raise RemoteProtocolError("a file of a hub word that is none")
    return decode_file(item[0], item[1], item[2], item[3] if len(item) == 4 else "")


def _etag(etag: object) -> str:
    if not isinstance(etag, str) or not is_etag(etag):
        raise RemoteProtocolError("an etag that is none")
    return etag


def _cid(text: object) -> Cid:
    if not isinstance(text, str) or len(text) > 256:
        raise RemoteProtocolError("a CID is not a text")
    try:
        return Cid.parse(text)
    except ContentError as exc:
        raise RemoteProtocolError(f"not a CID: {text[:80]!a}") from exc


def _count(value: object, limit: int) -> int:
    if type(value) is not int or not 0 <= value <= limit:
        raise RemoteProtocolError("a number that cannot be")
    return value


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _load(data: bytes, limit: int) -> dict[str, Any]:
    if len(data) > limit:
        raise RemoteProtocolError("hub message is too long")
    try:
        record = json.loads(data, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as exc:
        raise RemoteProtocolError("hub message is not JSON") from exc
    if not isinstance(record, dict) or record.get("v") != _VERSION:
        raise RemoteProtocolError("hub message of an unknown version")
    return record


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not a number of JSON")
    return value
