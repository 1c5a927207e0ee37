"""What the command returns to the shell: one table from error class to exit code.

    0    done
    1    a local failure: disk full, damaged catalog, a bug
    2    usage: a flag, a setting or a target that cannot be
    3    partial: some files of a folder are missing
    10   not found, or no source could deliver
    11   the home is locked by another process, or its node is ending
    12   integrity: bytes that are not what their name promises
    13   refused: policy, token, licence or file permissions
    130  interrupted

The table names every class of `mirrornode.errors`; a test proves that none is missing.
"""

from __future__ import annotations

from collections.abc import Mapping

from mirrornode import errors

DONE = 0
LOCAL = 1
USAGE = 2
PARTIAL = 3
NOT_FOUND = 10
LOCKED = 11
INTEGRITY = 12
REFUSED = 13
INTERRUPTED = 130

EXIT_CODES: Mapping[type[errors.MirrorError], int] = {
    errors.MirrorError: LOCAL,
    errors.TargetError: USAGE,
    errors.ConfigError: USAGE,
    errors.ContentError: INTEGRITY,
    errors.CidMismatch: INTEGRITY,
    # Text that is no CID is a typing mistake; a bad CID inside a block is a MalformedNode.
    errors.MalformedCid: USAGE,
    errors.MalformedNode: INTEGRITY,
    errors.UnsafeName: INTEGRITY,
    errors.MalformedCar: INTEGRITY,
    errors.HashNotAllowed: INTEGRITY,
    errors.LimitExceeded: INTEGRITY,
    errors.StoreError: LOCAL,
    errors.BlockNotFound: NOT_FOUND,
    errors.NotAllHere: NOT_FOUND,
    errors.FileChanged: LOCAL,
    errors.DiskFull: LOCAL,
    errors.PathRefused: REFUSED,
    errors.HomeLocked: LOCKED,
    errors.CatalogUnusable: LOCAL,
    errors.SourceError: NOT_FOUND,
    errors.SourceGone: NOT_FOUND,
    errors.SourceTooSlow: NOT_FOUND,
    errors.SourceRefused: NOT_FOUND,
    errors.OriginChanged: NOT_FOUND,
    errors.ProtocolError: LOCAL,
    errors.LocalProtocolError: LOCAL,
    errors.RemoteProtocolError: NOT_FOUND,
    errors.NoProviders: NOT_FOUND,
    errors.AccessRefused: REFUSED,
    errors.LicenceRefused: REFUSED,
    errors.HubRefusal: REFUSED,
    errors.HubNotFound: NOT_FOUND,
    errors.OriginAway: NOT_FOUND,
    errors.NotKnownHere: NOT_FOUND,
    errors.Incomplete: PARTIAL,
    errors.Stopped: INTERRUPTED,
    errors.DaemonGone: LOCAL,
    errors.NodeEnding: LOCKED,
}


def exit_code_of(error: errors.MirrorError) -> int:
    """Return the exit code of an error, by its nearest class in the table."""
    for cls in type(error).__mro__:
        if cls in EXIT_CODES:
            return EXIT_CODES[cls]
    return LOCAL
