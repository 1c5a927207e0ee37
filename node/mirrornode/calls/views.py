"""The calls that look: at what is here, at the node, at others, at this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mirrornode.calls.caller import Caller, converse
from mirrornode.errors import DaemonGone
from mirrornode.events import ignore
from mirrornode.version import __version__

if TYPE_CHECKING:
    from mirrornode.events import Progress


class ViewCalls(Caller):
    """Views of a node."""

    def ls_hub(self, target: str = "hf:") -> list[dict[str, Any]]:
        """Return which revisions of repos of the Hub are known, and how much of each is here.

        Args:
            target: "hf:" for all, or `hf:ORG/NAME[@REV]`.

        Raises:
            TargetError: It names no repo.
        """
        from mirrornode.gateway import hub_verbs

        fields = {"target": target}
        return list(
            self._ask(
                "ls",
                fields,
                None,
                lambda: self._with_catalog(lambda c: hub_verbs.list_repos(c, fields)),
            )
        )

    def ls(self) -> list[dict[str, Any]]:
        """Return what is shared, with each item's state as of now."""
        from mirrornode.gateway import verbs

        return list(self._ask("ls", {}, None, lambda: self._with_catalog(verbs.list_roots)))

    def status(self) -> dict[str, Any]:
        """Return how the node of this home is; `running` is False without a daemon."""
        return dict(self._ask("status", {}, None, self._status_here))

    def history(
        self, *, since_s: float | None = None, failed: bool = False, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return downloads, the newest first: what, from whom, how fast, and how it ended.

        Args:
            since_s: Only what runs or ended in the last so many seconds; None for all.
            failed: Only what failed, wholly or in part.

        Raises:
            TargetError: An option makes no sense.
        """
        from mirrornode.gateway.history_verbs import history_when_stopped

        fields = {"since_s": since_s, "failed": failed, "limit": limit}
        records = self._ask(
            "history",
            fields,
            None,
            lambda: self._with_catalog(lambda catalog: history_when_stopped(catalog, fields)),
        )
        return list(records)

    def doctor(self) -> list[dict[str, Any]]:
        """Check what a node of this home needs and return one record per finding.

        Each has `check`, `level` ("ok", "warning", "problem"), `text` and `next_step`. Makes and
        changes nothing, raises nothing, and takes seconds at most.
        """
        from mirrornode.mirror.doctor_checks import diagnose

        def ask(verb: str) -> Any:
            sock = self._connect()
            return None if sock is None else converse(sock, verb, {}, ignore)

        return [finding.to_record() for finding in diagnose(self.config, ask)]

    def peers(self) -> list[dict[str, Any]]:
        """Return the peers the daemon is connected to.

        Raises:
            DaemonGone: No daemon runs for this home.
        """

        def no_daemon() -> list[dict[str, Any]]:
            raise DaemonGone("no node runs for this home; start one with `mirrornode serve`")

        return list(self._ask("peers", {}, None, no_daemon))

    def mirrors(
        self,
        urls: Sequence[str] = (),
        *,
        sample: str | None = None,
        progress: Progress | None = None,
    ) -> list[dict[str, Any]]:
        """Measure mirrors and return one record each, the best first.

        What is found counts for the choice of mirrors in the next `get`.

        Args:
            urls: Gateways, files, or bases; empty for those of the configuration.
            sample: What to fetch a few megabytes of: a CID from gateways, a path from bases.
            progress: Gets a `Note` for each mirror.

        Raises:
            TargetError: No mirror, or one that is not a URL.
        """
        from mirrornode.gateway import verbs

        fields = {"urls": list(urls), "sample": sample}
        records = self._ask(
            "mirrors",
            fields,
            progress,
            lambda: self._with_catalog(
                lambda catalog: verbs.mirrors(catalog, fields, self.config, progress or ignore)
            ),
        )
        return list(records)

    def _status_here(self) -> dict[str, Any]:
        def totals(catalog: Any) -> dict[str, Any]:
            files, size_bytes = catalog.file_totals()
            return {
                "running": False,
                "version": __version__,
                "home": str(self.config.home),
                "roots": len(catalog.roots()),
                "files": files,
                "size_bytes": size_bytes,
            }

        return self._with_catalog(totals)
