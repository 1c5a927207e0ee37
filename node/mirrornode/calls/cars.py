"""The script API's calls for CAR files: the part of `Client` that exports and imports.

A path "-" is standard output or input of this process; the work is done by the daemon all the same.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.calls.caller import Caller
from mirrornode.errors import DaemonGone, PathRefused, TargetError
from mirrornode.events import ignore

if TYPE_CHECKING:
    from mirrornode.events import Progress
    from mirrornode.store.catalog import Catalog

STANDARD = "-"

PathLike = str | os.PathLike[str]


class CarCalls(Caller):
    """What `Client` can do with CAR files."""

    def export(
        self,
        target: str,
        output: PathLike,
        *,
        force: bool = False,
        partial: bool = False,
        names: bool = True,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Write a target that is here into one CAR file and return what was written.

        Args:
            target: A CID, `/ipfs/CID[/path]`, `ipfs://CID[/path]` or `hf:ORG/NAME[@REV][/PATH]`.
            output: The file to write; "-" for standard output.
            force: Replace a file that is there.
            partial: Write what is here when not all is; `missing` in the result says what is not.
            names: Tell inside the file what the root is called.
            progress: Gets `AddProgress` events.

        Raises:
            TargetError: The target cannot be, or the file is there already.
            NotAllHere: Something is missing and `partial` is False.
            CidMismatch: A shared file is not what was added any more.
            StoreError: This machine's disk failed.
        """
        from mirrornode.gateway import car_verbs
        from mirrornode.mirror.spool import outlet

        fields: dict[str, Any] = {
            "target": target,
            "output": _absolute(output),
            "force": force,
            "partial": partial,
            "names": names,
        }

        def here() -> dict[str, Any]:
            return self._with_catalog(
                lambda catalog: car_verbs.export(catalog, fields, progress or ignore)
            )

        if str(output) != STANDARD:
            return dict(self._ask("export", fields, progress, here))
        with outlet(sys.stdout.fileno()) as opened:
            fields["output"] = str(opened.path)

            def here_if_nothing_was_sent() -> dict[str, Any]:
                if opened.sent_bytes:
                    raise DaemonGone("the daemon stopped before it was done; export once more")
                return here()

            try:
                record = dict(self._ask("export", fields, progress, here_if_nothing_was_sent))
            except PathRefused:
                opened.end()
                if opened.failure is None:
                    raise
        if opened.failure is not None:
            reason = opened.failure.strerror or str(opened.failure)
            raise PathRefused(Path(STANDARD), "write", reason) from opened.failure
        return {**record, "path": STANDARD}

    def import_cars(
        self,
        paths: Sequence[PathLike],
        dest: PathLike | None = None,
        *,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Bring what CAR files hold into files, share it, and return what became of each root.

        Args:
            paths: CAR files; "-" for standard input. A DAG may be spread over several.
            dest: Where to write, as for `get`; None for the models folder of the home. With
                several roots each gets a name of its own below it.
            progress: Gets `AddProgress` and `Note` events.

        Raises:
            TargetError: No such file, or the destination cannot be.
            ContentError: A file is no CAR, or is damaged.
            StoreError: This machine's disk failed.

        Interrupting leaves a state that the same call resumes. Roots that lack blocks are no
        error; `complete` and `missing` of each root tell.
        """
        from mirrornode.gateway import car_verbs
        from mirrornode.mirror.active import ActiveTransfers
        from mirrornode.mirror.import_car import ImportPorts
        from mirrornode.mirror.spool import spooled

        if [str(path) for path in paths].count(STANDARD) > 1:
            raise TargetError("standard input can be read once: name - once")
        fields: dict[str, Any] = {
            "dest": str(dest) if dest is not None else None,
            "folder": str(Path.cwd()),
        }

        def here() -> dict[str, Any]:
            def work(catalog: Catalog) -> dict[str, Any]:
                ports = ImportPorts(catalog, ActiveTransfers(), lambda: None)
                return asyncio.run(car_verbs.import_(ports, fields, progress or ignore))

            return self._with_catalog(work)

        with ExitStack() as stack:
            fields["paths"] = [
                str(stack.enter_context(spooled(self.config.home, sys.stdin.fileno())))
                if str(path) == STANDARD
                else str(self._seekable(stack, path))
                for path in paths
            ]
            return dict(self._ask("import", fields, progress, here))

    def _seekable(self, stack: ExitStack, path: PathLike) -> Path:
        """Return the file itself, or a copy of what a FIFO gives."""
        from mirrornode.mirror.spool import spooled

        absolute = Path(_absolute(path))
        try:
            if not stat.S_ISFIFO(os.stat(absolute).st_mode):
                return absolute.resolve()
            with open(absolute, "rb") as fifo:
                return stack.enter_context(spooled(self.config.home, fifo.fileno()))
        except OSError as exc:
            raise TargetError(f"cannot read {absolute}: {exc.strerror or exc}") from exc


def _absolute(path: PathLike) -> str:
    return str(Path(path).expanduser().absolute())
