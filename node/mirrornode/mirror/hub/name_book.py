"""Names as the catalog has them, and asking an origin for what it lacks. Blocking, thread-safe.

Every answer is written down before it is used, with the moment the question was asked, so that
answers which cross cannot turn a name back. When to ask, and who may be told, is `names`' business.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mirrornode.errors import HubRefusal, RemoteProtocolError, SourceRefused
from mirrornode.mirror.hub.licence import licence_of
from mirrornode.mirror.hub.named import Named, canonical_repo, gate_of, is_private
from mirrornode.mirror.hub.recent import Recent
from mirrornode.mirror.hub.refusals import (
    NO_REPO,
    NO_REVISION,
    check_answered,
    is_unknown_token,
)
from mirrornode.store.hub_records import PEER_PREFIX, HubRevision, is_peers_word
from mirrornode.wire.hub import decode_tree, is_commit, without_xet

if TYPE_CHECKING:
    from mirrornode.mirror.hub.grants import Grants
    from mirrornode.mirror.hub.peer_words import HeardWord
    from mirrornode.sources.hub_origin import HubOrigin, Origins
    from mirrornode.store.catalog import Catalog
    from mirrornode.store.hub_records import HubSight
    from mirrornode.wire.hub import HubFile, Repo

log = logging.getLogger(__name__)

MIN_SHORT_HASH = 7  # git's own default; shorter ones are branches or typing errors
MAX_RECENT_SIBLINGS = 50_000  # of all infos kept in memory; some 15 MB
MAX_RECENT_FILES = 200_000  # of all trees kept in memory; some 70 MB

_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Known:
    """What the catalog says of a name.

    Attributes:
        seen_at: When the ref was looked at; for a commit, when its repo was.
        is_fixed: The name is a commit or a short hash: it cannot come to mean another.
        vouched_by: Who said that the name means this commit.
    """

    sight: HubSight | None
    revision: HubRevision
    seen_at: float
    is_fixed: bool
    vouched_by: str

    def named(self, repo: Repo, warning: str = "") -> Named:
        """Return it as a resolved name of `repo`."""
        info, sight = self.revision.info, self.sight
        return Named(
            repo=repo,
            commit=self.revision.commit,
            info=info,
            gated=gate_of(info) if sight is None else sight.gated,
            is_private=sight is not None and sight.is_private,
            licence=licence_of(info),
            vouched_by=self.vouched_by,
            warning=warning,
        )


class NameBook:
    """Reads and writes names; asks origins."""

    def __init__(
        self, catalog: Catalog, origins: Origins, grants: Grants, clock: Callable[[], float]
    ) -> None:
        self._catalog = catalog
        self._origins = origins
        self._grants = grants
        self._clock = clock
        self._infos: Recent[HubRevision] = Recent(MAX_RECENT_SIBLINGS)
        self._trees: Recent[tuple[dict[str, HubFile], str]] = Recent(MAX_RECENT_FILES)

    def look_up(self, repo: Repo, revision: str) -> Known | None:
        """Return what a name meant last; also by a name the repo had before it was renamed."""
        for name in (repo, *self._catalog.hub_former_names(repo)):
            if (known := self._look_up(name, revision)) is not None:
                return known
        return None

    def sight(self, repo: Repo) -> HubSight | None:
        """Return who may see a repo, None when no origin has told."""
        return self._catalog.hub_sight(repo)

    def ask_revision(self, repo: Repo, revision: str, token: str, digest: bytes) -> Named:
        """Ask the origins what a name means now, and write it down.

        Raises:
            HubRefusal, HubNotFound: The Hub's no; what it means for what is kept was done.
            OriginAway, SourceError: Nobody answered.
        """
        asked_at = self._clock()
        target = f"{repo.api_path}/revision/{quote(revision, safe='')}"

        def question(origin: HubOrigin) -> dict[str, Any]:
            answer = origin.ask(target, token)
            check_answered(
                origin,
                answer.status,
                answer.error_code,
                answer.error_message,
                repo=repo,
                subject=f"{repo}@{revision}",
            )
            return _info(origin, answer.json, revision)

        try:
            origin, info = self._origins.ask_any(question)
        except HubRefusal as exc:
            self._take_refusal(repo, revision, exc, digest, asked_at)
            raise
        return self._record(repo, revision, info, origin.origin_id, token, digest, asked_at)

    def tree(self, named: Named) -> tuple[dict[str, HubFile], str] | None:
        """Return the kept tree of a commit by path, and who vouched for it."""
        key = named.repo, named.commit
        if (recent := self._trees.get(key)) is not None:
            return recent
        for repo in (named.repo, *self._catalog.hub_former_names(named.repo)):
            kept = self._catalog.hub_revision(repo, named.commit)
            if kept is None or kept.files is None:
                continue
            tree = {file.path: file for file in kept.files}
            self._trees.put(key, (tree, kept.tree_vouched_by), len(tree) + 1)
            return tree, kept.tree_vouched_by
        return None

    def ask_tree(self, named: Named, token: str, digest: bytes) -> dict[str, HubFile]:
        """Ask the origins for all files of a commit, page by page, and write them down.

        Raises:
            HubRefusal, HubNotFound: The Hub's no.
            OriginAway, SourceError: Nobody answered.
        """
        repo, commit, asked_at = named.repo, named.commit, self._clock()
        target = f"{repo.api_path}/tree/{commit}?recursive=true&expand=false"

        def question(origin: HubOrigin) -> list[HubFile]:
            answer, records = origin.pages(target, token)
            check_answered(
                origin,
                answer.status,
                answer.error_code,
                answer.error_message,
                repo=repo,
                subject=f"{repo}@{commit}",
            )
            try:
                return decode_tree(records)
            except RemoteProtocolError as exc:
                raise SourceRefused(
                    f"{origin.origin_id} sent {exc}", source_id=origin.origin_id
                ) from exc

        try:
            origin, files = self._origins.ask_any(question)
        except HubRefusal as exc:
            self._take_refusal(repo, commit, exc, digest, asked_at)
            raise
        if not self._catalog.put_hub_tree(repo, commit, files, origin.origin_id):
            # Named under a former name of the repo: the files belong to the name asked for now.
            self._catalog.put_hub_revision(
                repo, commit, named.info, origin.origin_id, recorded_at=asked_at
            )
            self._catalog.put_hub_tree(repo, commit, files, origin.origin_id)
        tree = {file.path: file for file in files}
        self._trees.put((repo, commit), (tree, origin.origin_id), len(tree) + 1)
        return tree

    def record_peers_word(self, repo: Repo, revision: str, heard: HeardWord) -> Known:
        """Write down what a trusted peer said, where no origin has spoken, and return it."""
        word, vouched_by = heard.word, f"{PEER_PREFIX}{heard.peer_id}"
        seen_at = min(word.recorded_at, self._clock())
        self._catalog.put_hub_revision(
            repo, word.commit, word.info, vouched_by, recorded_at=seen_at
        )
        if not is_commit(revision):
            self._catalog.put_hub_ref(repo, revision, word.commit, vouched_by, seen_at=seen_at)
        if word.files is not None:
            self._catalog.put_hub_tree(repo, word.commit, word.files, vouched_by)
        self._infos.drop((repo, word.commit))
        self._trees.drop((repo, word.commit))
        kept = self._catalog.hub_revision(repo, word.commit, with_files=False)
        assert kept is not None, "it was written just now"
        sight = self._catalog.hub_sight(repo)
        return Known(sight, kept, seen_at, is_commit(revision), vouched_by)

    def _look_up(self, repo: Repo, revision: str) -> Known | None:
        sight = self._catalog.hub_sight(repo)
        seen_at = sight.checked_at if sight is not None else 0.0
        vouched_by, is_fixed = "", True
        if is_commit(revision):
            commit = revision
        elif (ref := self._catalog.hub_ref(repo, revision)) is not None:
            commit, vouched_by = ref.commit, ref.vouched_by
            is_fixed = _is_short_hash(revision, commit)
            seen_at = seen_at if is_fixed else ref.seen_at
        elif _is_short_hash(revision) and len(
            found := self._catalog.hub_commits_starting(repo, revision)
        ) == 1:  # fmt: skip
            (commit,) = found
        else:
            return None
        key = repo, commit
        if (kept := self._infos.get(key)) is None:
            kept = self._catalog.hub_revision(repo, commit, with_files=False)
            if kept is None:
                return None
            self._keep(kept)
        if is_peers_word(kept.vouched_by):
            vouched_by = kept.vouched_by  # a name is no better than what it leads to
        return Known(sight, kept, seen_at, is_fixed, vouched_by or kept.vouched_by)

    def _record(
        self,
        repo: Repo,
        revision: str,
        info: dict[str, Any],
        origin_id: str,
        token: str,
        digest: bytes,
        asked_at: float,
    ) -> Named:
        private, gated = is_private(info, was_anonymous=not token), gate_of(info)
        closed = self._catalog.put_hub_sight(
            repo,
            canonical=canonical_repo(repo, info),
            is_private=private,
            gated=gated,
            checked_at=asked_at,
        )
        if closed:
            log.warning("repo is not open any more repo=%s files_withdrawn=%d", repo, closed)
        if private and not gated:
            # Who sees a private repo may read it; of a gated one everybody sees the names.
            self._grants.note(digest, repo, is_allowed=True)
        if not is_commit(revision):
            if self._is_behind(repo, revision, info, origin_id):
                log.info("origin is behind repo=%s ref=%s origin=%s", repo, revision, origin_id)
                known = self._look_up(repo, revision)
                assert known is not None, "a name that is compared with is known"
                self._catalog.put_hub_ref(
                    repo, revision, known.revision.commit, known.vouched_by, seen_at=asked_at
                )
                return known.named(repo)
            self._catalog.put_hub_ref(repo, revision, info["sha"], origin_id, seen_at=asked_at)
        kept = HubRevision(repo, info["sha"], info, None, origin_id, asked_at)
        self._catalog.put_hub_revision(repo, kept.commit, info, origin_id, recorded_at=asked_at)
        self._keep(kept)
        sight = self._catalog.hub_sight(repo)
        return Known(sight, kept, asked_at, is_commit(revision), origin_id).named(repo)

    def _is_behind(self, repo: Repo, ref: str, info: dict[str, Any], origin_id: str) -> bool:
        """Tell whether this origin is a copy that has not yet seen what another one told us."""
        known = self._look_up(repo, ref)
        if known is None or known.vouched_by == origin_id or is_peers_word(known.vouched_by):
            return False
        then, now = known.revision.info.get("lastModified"), info.get("lastModified")
        return isinstance(then, str) and isinstance(now, str) and now < then

    def _take_refusal(
        self, repo: Repo, revision: str, refused: HubRefusal, digest: bytes, asked_at: float
    ) -> None:
        """Make a no of the Hub true here, too."""
        if is_unknown_token(refused):
            self._grants.forget_token(digest)
        elif refused.code == NO_REVISION:
            self._catalog.drop_hub_ref(repo, revision, asked_at)
        elif refused.code == NO_REPO and (sight := self._catalog.hub_sight(repo)) is not None:
            # Deleted or made private: either way nothing of it is open from now on.
            closed = self._catalog.put_hub_sight(
                repo,
                canonical=sight.canonical,
                is_private=True,
                gated=sight.gated,
                checked_at=asked_at,
            )
            self._grants.note(digest, repo, is_allowed=False)
            log.info("repo is gone or private repo=%s files_withdrawn=%d", repo, closed)

    def _keep(self, kept: HubRevision) -> None:
        siblings = kept.info.get("siblings")
        weight = len(siblings) if isinstance(siblings, list) else 0
        self._infos.put((kept.repo, kept.commit), kept, weight + 20)


def _info(origin: HubOrigin, value: object, revision: str) -> dict[str, Any]:
    """Return a model-info JSON without xet.

    Raises:
        SourceRefused: It is none, or speaks of another commit.
    """
    try:
        info = without_xet(value)
    except RemoteProtocolError as exc:
        raise SourceRefused(str(exc), source_id=origin.origin_id) from exc
    commit = info.get("sha") if isinstance(info, dict) else None
    if (
        not isinstance(info, dict)
        or not isinstance(commit, str)
        or not is_commit(commit)
        or (is_commit(revision) and commit != revision)
    ):
        raise SourceRefused(
            f"{origin.origin_id} sent no usable description of {revision}",
            source_id=origin.origin_id,
        )
    return info


def _is_short_hash(text: str, commit: str = "") -> bool:
    return (
        MIN_SHORT_HASH <= len(text) < 40
        and _HEX.issuperset(text)
        and (not commit or commit.startswith(text))
    )
