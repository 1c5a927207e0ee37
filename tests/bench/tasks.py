"""The tasks and who takes part: each contender prepares, is timed, and cleans up after itself.

A contender is a function that does one run and returns its sample; a task is a list of contenders
that do the same work. Rivals that are not installed are left out by name.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import rivals
from bench.measure import CommandFailed, Sample, Series, timed, warm_pages
from bench.nodes import COMMAND, Node

BIG = "big.bin"
SMALL = "small"
SMALL_FILES = 2000
SMALL_FILE_BYTES = 20 * 1024
MIB = 1 << 20
TLS = "TLS"
PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do a task; `run` does it once."""

    series: Series
    run: Callable[[], Sample]


@dataclass(frozen=True, slots=True)
class Task:
    """Contenders that do the same; the first is what the others are compared with."""

    title: str
    contenders: tuple[Contender, ...]


class Arena:
    """The folder with the content, the servers, and the contenders."""

    def __init__(self, scratch: Path, size_bytes: int, stack: ExitStack) -> None:
        self._scratch = scratch
        self._size_bytes = size_bytes
        self._content = scratch / "content"
        self._content.mkdir()
        _write_random(self._content / BIG, size_bytes)
        (self._content / SMALL).mkdir()
        for number in range(SMALL_FILES):
            _write_random(self._content / SMALL / f"{number:05}.bin", SMALL_FILE_BYTES)
        # A node that the seeds can announce to, so that they are done with it before the rounds.
        anchor = stack.enter_context(Node(scratch / "anchor"))
        self._seeds: dict[tuple[str, str], Node] = {}
        self._cids: dict[str, str] = {}
        for name, mode in ((name, mode) for name in (BIG, SMALL) for mode in (TLS, PLAIN)):
            home = scratch / f"seed-{name}-{mode}"
            seed = stack.enter_context(Node(home, plain=mode == PLAIN, bootstrap=anchor.address))
            seed.wait_connected()
            self._cids[name] = seed.add(self._content / name)
            self._seeds[name, mode] = seed
        self._nginx: rivals.Nginx | None = None
        if rivals.program("nginx") and rivals.program("openssl"):
            self._nginx = stack.enter_context(rivals.Nginx(scratch / "nginx", self._content))
        self._runs = 0

    def tasks(self) -> list[Task]:
        """Return all tasks with the contenders that can run here."""
        return [self._hash_task(), self._big_task(), self._small_task()]

    def missing(self) -> list[str]:
        """Return the rival programs that are not installed."""
        return [n for n in ("nginx", "aria2c", "curl", "openssl") if not rivals.program(n)]

    def _hash_task(self) -> Task:
        size = self._size_bytes
        contenders = [
            Contender(Series("mirrornode add", size, "hash, CID, catalog"), self._run_add)
        ]
        if rivals.program("openssl"):
            command = rivals.openssl_sha256(self._content / BIG)
            contenders.append(
                Contender(
                    Series("openssl dgst -sha256", size, "one hash, one core"),
                    partial(timed, [command]),
                )
            )
        return Task(f"share one file of {size / MIB:,.0f} MiB", tuple(contenders))

    def _big_task(self) -> Task:
        size = self._size_bytes
        contenders = [
            Contender(
                Series(f"mirrornode get ({mode})", size, "fetched and verified"),
                partial(self._run_get, mode, BIG, size),
            )
            for mode in (TLS, PLAIN)
        ]
        if (nginx := self._nginx) is not None:
            url = nginx.url(BIG)
            commands: dict[str, Callable[[Path], list[str | Path]]] = {
                "aria2c": lambda out: rivals.aria2c(url, out, BIG),
                "curl": lambda out: rivals.curl(url, out / BIG),
            }
            contenders += [
                Contender(
                    Series(f"nginx, {name}, openssl", size, "fetched, then SHA-256, no TLS"),
                    partial(self._run_rival, nginx, fetch, [Path(BIG)], BIG, size),
                )
                for name, fetch in commands.items()
                if rivals.program(name)
            ]
        return Task(f"fetch one file of {size / MIB:,.0f} MiB from one peer", tuple(contenders))

    def _small_task(self) -> Task:
        size = SMALL_FILES * SMALL_FILE_BYTES
        contenders = [
            Contender(
                Series(f"mirrornode get ({mode})", size, "fetched and verified"),
                partial(self._run_get, mode, SMALL, size),
            )
            for mode in (TLS, PLAIN)
        ]
        if (nginx := self._nginx) is not None:
            names = sorted(path.name for path in (self._content / SMALL).iterdir())
            urls = [nginx.url(f"{SMALL}/{name}") for name in names]
            aria_list = self._scratch / "aria2.list"
            aria_list.write_text("".join(f"{url}\n" for url in urls))
            curl_list = self._scratch / "curl.config"
            curl_list.write_text(
                "".join(
                    f'url = "{url}"\noutput = "{name}"\n'
                    for url, name in zip(urls, names, strict=True)
                )
            )
            commands: dict[str, Callable[[Path], list[str | Path]]] = {
                "aria2c": lambda out: rivals.aria2c_many(aria_list, out),
                "curl": lambda out: rivals.curl_many(curl_list),
            }
            contenders += [
                Contender(
                    Series(f"nginx, {name}, openssl", size, "fetched, then SHA-256, no TLS"),
                    partial(self._run_rival, nginx, fetch, names, SMALL, size),
                )
                for name, fetch in commands.items()
                if rivals.program(name)
            ]
        title = f"fetch a folder of {SMALL_FILES:,} files of {SMALL_FILE_BYTES / 1024:.0f} KiB"
        return Task(f"{title} from one peer", tuple(contenders))

    def _run_add(self) -> Sample:
        with self._fresh("add") as folder:
            home = folder / "home"
            command: list[str | Path] = [COMMAND, "add", self._content / BIG, "--json"]
            command += ["--home", home]
            return timed([command])

    def _run_get(self, mode: str, name: str, size_bytes: int) -> Sample:
        seed = self._seeds[name, mode]
        # A node that has the content would answer from its disk: each run gets a new one.
        with (
            self._fresh("get") as folder,
            Node(folder / "home", bootstrap=seed.address) as node,
        ):
            node.wait_connected()
            seed.wait_idle()
            out = folder / name
            warm_pages(folder, size_bytes)
            command: list[str | Path] = [COMMAND, "get", self._cids[name], "-o", out, "--json"]
            command += ["--home", node.home]
            sample = timed([command], client_pids=[node.pid], server_pids=[seed.pid])
            self._compare(name, out)
            return sample

    def _run_rival(
        self,
        nginx: rivals.Nginx,
        fetch: Callable[[Path], list[str | Path]],
        to_check: Sequence[str | Path],
        name: str,
        size_bytes: int,
    ) -> Sample:
        with self._fresh("rival") as folder:
            warm_pages(folder, size_bytes)
            sample = timed(
                [fetch(folder), rivals.openssl_sha256(*to_check)],
                server_pids=[nginx.pid],
                cwd=folder,
            )
            self._compare(name, folder / name if name == BIG else folder)
            return sample

    def _compare(self, name: str, out: Path) -> None:
        """Check the result against the content, outside the timed part."""
        wanted = self._content / name
        if name == BIG:
            same = _sha256(wanted) == _sha256(out)
        else:
            names = [path.name for path in wanted.iterdir()]
            same = filecmp.cmpfiles(wanted, out, names, shallow=False)[0] == names
        if not same:
            raise CommandFailed(f"{out} differs from {wanted}")

    @contextmanager
    def _fresh(self, purpose: str) -> Iterator[Path]:
        self._runs += 1
        folder = self._scratch / f"{purpose}-{self._runs}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


def _sha256(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _write_random(path: Path, size_bytes: int) -> None:
    with path.open("wb") as stream:
        for start in range(0, size_bytes, MIB):
            stream.write(os.urandom(min(MIB, size_bytes - start)))
