"""Fetch a model from a script: what takes the place of a hand-written download loop.

A loop over mirror URLs has to know the mirrors, retry, resume, compare hashes and give up well.
Here the CID says what is wanted; the client finds who has it, checks every block, and resumes.

    python docs/examples/download.py CID DEST [MIRROR_URL ...]
"""

from __future__ import annotations

import sys

from mirrornode import Client
from mirrornode.errors import Incomplete, MirrorError, NoProviders
from mirrornode.events import Event, GetProgress, Got


def download(cid: str, dest: str, mirrors: tuple[str, ...] = ()) -> Got:
    """Fetch `cid` to `dest` from peers on the network, and from mirrors for what they lack."""

    def show(event: Event) -> None:
        if isinstance(event, GetProgress) and event.total_bytes:
            print(f"\r{100 * event.done_bytes // event.total_bytes}%", end="", flush=True)

    got = Client().get(cid, dest, mirrors=mirrors, progress=show)
    print()
    return got


def share(path: str) -> str:
    """Make a file or folder fetchable for everyone else, where it lies, and return its CID."""
    [added] = Client().add([path])
    return added.cid


def main() -> int:
    """Fetch what the command line names."""
    cid, dest, *mirrors = sys.argv[1:]
    try:
        got = download(cid, dest, tuple(mirrors))
    except NoProviders as exc:
        print(f"nobody has it right now: {exc}", file=sys.stderr)
        return 10
    except Incomplete as exc:
        print(f"run it again to fetch the rest: {exc.missing}", file=sys.stderr)
        return 3
    except MirrorError as exc:
        print(f"failed: {exc}", file=sys.stderr)
        return 1
    for source, count in got.bytes_by_source.items():
        print(f"{count:>15,} bytes from {source}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
