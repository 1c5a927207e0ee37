"""The large version of `tests/system/test_crash.py`: many kills over one large download.

`python -m bench.kills --gib 2 --kills 200 --rate 20 --folder /dev/shm`, run from `tests`. Prints
counts and ratios only; takes some seconds a kill.
"""

from __future__ import annotations

import argparse
import filecmp
import random
import tempfile
from pathlib import Path

from support.kills import kill_over_and_over
from support.nodes import run
from support.paced_server import paced_server

MIB = 1 << 20


def main() -> None:
    """Run one download under fire."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=2.0)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--rate", type=float, default=20.0, help="MB/s of the source")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        size = round(asked.gib * 1024) * MIB
        chance = random.Random(asked.seed)
        model, away = folder / "model.bin", folder / "model.away"
        with model.open("wb") as file:
            for _ in range(size // MIB):
                file.write(chance.randbytes(MIB))
        home = folder / "home"
        home.mkdir()
        cid = run(home, "add", model, "--json").record["cid"]
        model.rename(away)  # the tree is known, the bytes are only at the source
        with paced_server(away, asked.rate * 1e6) as server:
            fate = kill_over_and_over(
                home,
                ("get", cid, "-o", folder / "out.bin", "--json", "--no-mdns",
                 "--mirror", server.url),
                server,
                size_bytes=size,
                kills=asked.kills,
                seed=asked.seed,
            )  # fmt: skip
        is_right = fate.last.code == 0 and filecmp.cmp(away, folder / "out.bin", shallow=False)
        print(f"kills            {fate.kills}")
        print(f"file             {size} bytes, {'right' if is_right else 'WRONG'}")
        print(f"sent by source   {fate.sent_bytes} bytes")
        print(f"fetched twice    {fate.twice(size):.2%}")
        print(f"per kill         {(fate.sent_bytes - size) / max(1, fate.kills) / MIB:.3f} MiB")
        print(f"last run resumed {fate.resumed_bytes} bytes")
        if not is_right:
            raise SystemExit(fate.last.stderr or "the file is not the one that was asked for")


if __name__ == "__main__":
    main()
