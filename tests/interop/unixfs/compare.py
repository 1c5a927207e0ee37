"""Compare CIDs with ipfs-unixfs-importer: `python -m interop.unixfs.compare [COUNT [SEED]]`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from interop.npm import installed, program
from interop.unixfs.cases import Case, generate

IMPORTER = Path(__file__).with_name("importer.mjs")
SHOWN = 10


def differences(cases: Sequence[Case]) -> Iterator[tuple[Case, str, str]]:
    """Yield each case that js names otherwise, with our CID and what js said.

    Raises:
        NotInstalled: The importer cannot be had here.
    """
    packages = installed("unixfs-importer")
    with tempfile.TemporaryDirectory() as folder:
        command = program(packages, IMPORTER, Path(folder))
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        ) as js:
            assert js.stdin is not None
            assert js.stdout is not None
            writer = threading.Thread(target=_ask, args=(js, cases))
            writer.start()
            for case in cases:
                ours = case.cid()
                line = js.stdout.readline()
                if not line:
                    raise RuntimeError("the importer has ended")
                answer = json.loads(line)
                theirs = answer.get("cid") or answer["error"]
                if ours != theirs:
                    yield case, ours, theirs
            writer.join()


def _ask(js: subprocess.Popen[str], cases: Sequence[Case]) -> None:
    assert js.stdin is not None
    for case in cases:
        js.stdin.write(json.dumps(case.question()) + "\n")
    js.stdin.close()


def main(arguments: Sequence[str]) -> int:
    """Compare and tell; 1 when anything differs."""
    count, seed = (int(text) for text in (*arguments, "10000", "1")[:2])
    cases = list(generate(seed, count))
    found = list(differences(cases))
    for case, ours, theirs in found[:SHOWN]:
        sys.stdout.write(f"{case.recipe}\n  {len(case.files)} files, ours {ours}, js {theirs}\n")
    files = sum(len(case.files) for case in cases)
    folders = sum(
        len(case.folders) + (not case.files or bool(case.files[0].path)) for case in cases
    )
    sys.stdout.write(
        f"{count:,} trees, {files:,} files, {folders:,} folders, {len(found):,} mismatches\n"
    )
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
