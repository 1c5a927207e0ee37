"""Why a transfer ended without the whole: the one error that says what a user needs to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mirrornode.errors import CidMismatch, Incomplete, MirrorError, NoProviders, SourceGone
from mirrornode.events import Event, Note
from mirrornode.mirror.told import told
from mirrornode.transfer.worker import WRONG_BYTES

if TYPE_CHECKING:
    from mirrornode.mirror.target import Target
    from mirrornode.transfer.manifest import Manifest
    from mirrornode.transfer.session import Outcome

MISSING_SHOWN = 5


def why_unfinished(
    target: Target,
    manifest: Manifest,
    outcome: Outcome,
    impossible: Mapping[str, str],
    *,
    timeout_s: float,
    emit: Callable[[Event], None],
) -> MirrorError:
    """Return the error to raise.

    Args:
        impossible: Paths that this disk refuses, with its reason.
        timeout_s: After which silence was given up.
    """
    missing = tuple(output.file.path for output in outcome.unfinished)
    missing += tuple(impossible)
    total = len(manifest.files) + len(impossible)
    if impossible:
        path, reason = next(iter(impossible.items()))
        emit(Note(f"cannot be written here: {path} ({reason})", "warning"))
    if len(missing) < total:
        shown = ", ".join(missing[:MISSING_SHOWN])
        more = f" and {len(missing) - MISSING_SHOWN} more" if len(missing) > MISSING_SHOWN else ""
        return Incomplete(
            f"{len(missing)} of {total} files are missing: {shown}{more}; "
            "what has arrived is kept, the same command goes on from there",
            missing,
        )
    tried = [state for state in outcome.sources if not state.source_id.startswith("local:")]
    kept = "what has arrived is kept, the same command goes on from there"
    if not tried:
        return NoProviders(f"nobody reachable has the leaves of {target}; {kept}")
    why = told({state.source_id: state.reason or "brought too little" for state in tried})
    if all(state.reason == WRONG_BYTES for state in tried):
        return CidMismatch(target.cid, f"only bad sources were found ({why}); {kept}")
    if outcome.is_hopeless:
        return SourceGone(f"every source that was found lacks it ({why}); {kept}")
    return SourceGone(f"no source delivered for {timeout_s:g} s ({why}); {kept}")
