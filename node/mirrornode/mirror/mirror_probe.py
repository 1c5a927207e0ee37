"""Measure mirrors: how long to connect, how long to the first byte, how fast a sample comes.

A mirror is asked for a few megabytes at most, and for a few seconds at most. Samples come one
mirror after the other, so that none takes the line from another. They are not verified: this is
about the line, wrong bytes show in a `get`.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from mirrornode.buffers import page_aligned
from mirrornode.content.cid import Cid
from mirrornode.errors import (
    ContentError,
    MirrorError,
    SourceError,
    SourceRefused,
    SourceTooSlow,
    TargetError,
)
from mirrornode.events import Event, Note
from mirrornode.mirror.mirror_memory import standing_records
from mirrornode.mirror.mirror_score import is_base, mirror_key, score_of
from mirrornode.sources.trustless_gateway import PROBE, RAW_HEADERS
from mirrornode.sources.web import WEB_HEADERS, Moved, WebConnection, public_url, split_url
from mirrornode.store.records import MirrorUse
from mirrornode.wire.ranges import range_header

if TYPE_CHECKING:
    from mirrornode.config import MirrorConfig
    from mirrornode.store.catalog import Catalog

SAMPLE_BYTES: Final = 8 << 20
SAMPLE_S: Final = 5.0
STEP_BYTES: Final = 256 * 1024
AT_ONCE: Final = 8  # mirrors that are connected to together
MAX_MIRRORS: Final = 200

GATEWAY, FOLDER, FILE = "gateway", "folder", "file"


@dataclass(frozen=True, slots=True)
class Measured:
    """What one look at a mirror gave; times in seconds, None where it did not get so far.

    Attributes:
        kind: "gateway", "folder" or "file".
        state: "ok", or one word or two for what failed.
        detail: The reason in full, "" when there is none.
        size_bytes: How much of the sample came.
        seconds: How long that took, after the first byte.
    """

    kind: str = ""
    state: str = "ok"
    detail: str = ""
    connect_s: float | None = None
    first_byte_s: float | None = None
    size_bytes: int = 0
    seconds: float = 0.0


class MirrorProbe:
    """Measures one mirror; used from one thread at a time, `reach` before `sample`."""

    def __init__(
        self, url: str, sample: str, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Prepare.

        Args:
            sample: A CID for gateways, a path for folders; "" asks for no sample but that of a
                mirror that is one file.

        Raises:
            TargetError: Not an http or https URL.
        """
        split_url(url)
        self._url = url
        self._sample = sample
        self._clock = clock
        self._connection = WebConnection(f"mirror:{public_url(url)}", Moved())
        self._kind = "" if is_base(url) else FILE
        self._connect_s: float | None = None
        self._first_byte_s: float | None = None

    def reach(self) -> Measured:
        """Connect, and find out what kind of mirror it is."""
        try:
            began = self._clock()
            self._connection.connect(self._url)
            self._connect_s = self._clock() - began
            if not self._kind:
                self._kind = self._ask_kind()
        except SourceError as exc:
            return self._failed(exc)
        return self._measured()

    def sample(self) -> Measured:
        """Fetch the sample, when there is one for this kind of mirror."""
        url, unfit = self._sample_url()
        if not url:
            return self._measured(detail=unfit)
        size, began = 0, self._clock()
        try:
            wanted = {**WEB_HEADERS, "Range": range_header(0, SAMPLE_BYTES)}
            response = self._connection.request(url, wanted)
            self._first_byte_s = self._clock() - began
            if response.status not in (200, 206):
                raise SourceRefused(
                    f"answered {response.status} to the sample", status=response.status
                )
            left = min(SAMPLE_BYTES, response.length or 0)
            buffer = page_aligned(STEP_BYTES)
            began = self._clock()
            while size < left and self._clock() - began < SAMPLE_S:
                view = buffer[: min(STEP_BYTES, left - size)]
                self._connection.read_into(view)
                size += len(view)
        except SourceError as exc:
            return self._failed(exc)
        finally:
            self._connection.abort()
        return self._measured(size_bytes=size, seconds=self._clock() - began)

    def close(self) -> None:
        """Close the connection."""
        self._connection.abort()

    def _ask_kind(self) -> str:
        began = self._clock()
        response = self._connection.request(self._url.rstrip("/") + PROBE, RAW_HEADERS)
        self._first_byte_s = self._clock() - began
        if response.status >= 500 or response.status == 429:
            raise SourceRefused(f"answered {response.status}", status=response.status)
        if response.status != 200:
            return FOLDER
        try:
            return GATEWAY if not self._connection.read_all(64) else FOLDER
        except SourceRefused:
            return FOLDER  # a page for people, longer than any empty block

    def _sample_url(self) -> tuple[str, str]:
        """Return the sample's URL, or "" and why there is none."""
        if self._kind == FILE:
            return self._url, ""
        if not self._sample:
            return "", ""
        base = self._url.rstrip("/") + "/"
        is_cid = _is_cid(self._sample)
        if self._kind == GATEWAY and is_cid:
            return f"{base}ipfs/{self._sample}", ""
        if self._kind == FOLDER and not is_cid:
            return base + quote(self._sample.lstrip("/")), ""
        wanted = "a CID" if self._kind == GATEWAY else "a path"
        return "", f"a {self._kind} takes {wanted} as --sample; no MB/s measured"

    def _measured(self, **more: Any) -> Measured:
        return Measured(
            self._kind, connect_s=self._connect_s, first_byte_s=self._first_byte_s, **more
        )

    def _failed(self, exc: SourceError) -> Measured:
        self._connection.abort()
        return Measured(
            self._kind,
            state_of(exc),
            str(exc),
            connect_s=self._connect_s,
            first_byte_s=self._first_byte_s,
        )


def measure_mirrors(
    catalog: Catalog, mirrors: Sequence[MirrorConfig], sample: str, emit: Callable[[Event], None]
) -> list[dict[str, Any]]:
    """Measure mirrors, remember it, and return one record each, the best first; blocking.

    Args:
        sample: A CID for gateways, a path for folders, or "".

    Raises:
        TargetError: No mirror at all, too many, or one that is no URL.
    """
    if not mirrors:
        raise TargetError(
            "there are no mirrors to measure; name their URLs, or write them as [[mirror]] in "
            "config.toml"
        )
    if len(mirrors) > MAX_MIRRORS:
        raise TargetError(f"{len(mirrors)} mirrors are too many; at most {MAX_MIRRORS} at once")
    probes = [MirrorProbe(mirror.url, sample) for mirror in mirrors]
    emit(Note(f"connecting to {len(mirrors)} mirror{'s' if len(mirrors) > 1 else ''}"))
    pool = ThreadPoolExecutor(AT_ONCE, "mirrors")
    try:
        found = list(pool.map(MirrorProbe.reach, probes))
        for index, (probe, mirror) in enumerate(zip(probes, mirrors, strict=True)):
            if found[index].state == "ok":
                emit(Note(f"measuring {public_url(mirror.url)}"))
                found[index] = probe.sample()
    finally:
        for probe in probes:
            probe.close()
        pool.shutdown(wait=False, cancel_futures=True)
    now = time.time()
    catalog.note_mirror_uses(
        use
        for mirror, measured in zip(mirrors, found, strict=True)
        if (use := _use(mirror.url, measured, now)) is not None
    )
    history = catalog.mirror_uses({mirror_key(mirror.url) for mirror in mirrors})
    standings = standing_records(catalog)
    records = [
        {
            **_record(mirror, measured, history[mirror_key(mirror.url)], now),
            "standing": standings.get(mirror_key(mirror.url)),
        }
        for mirror, measured in zip(mirrors, found, strict=True)
    ]
    return sorted(records, key=_best_first)


def state_of(exc: MirrorError) -> str:
    """Return in a word or two what failed, for a column of a table."""
    if isinstance(exc, SourceRefused):
        if isinstance(exc.__cause__, ssl.SSLError):
            return "bad certificate"
        words = {401: "no access", 403: "no access", 404: "not there", 410: "not there"}
        if exc.status == 429 or exc.status >= 500:
            return "overloaded"
        return words.get(exc.status, "refused")
    if isinstance(exc, SourceTooSlow):
        return "timeout"
    if isinstance(exc.__cause__, socket.gaierror):
        return "unknown name"
    return "unreachable"


def _use(url: str, measured: Measured, now: float) -> MirrorUse | None:
    """Return what is to be remembered; a sample that is not there says nothing of the mirror."""
    if measured.state in ("not there", "no access", "refused"):
        return None
    return MirrorUse(
        mirror_key(url),
        now,
        measured.size_bytes,
        measured.seconds,
        measured.first_byte_s,
        "ok" if measured.state == "ok" else "failed",
    )


def _record(
    mirror: MirrorConfig, measured: Measured, uses: Sequence[MirrorUse], now: float
) -> dict[str, Any]:
    """Return one line of the answer: what was measured now, and what is known altogether."""
    score = score_of(uses, now)
    rate = measured.size_bytes / measured.seconds if measured.seconds > 0 else None
    return {
        "url": public_url(mirror.url),
        "region": mirror.region,
        "weight": mirror.weight,
        **asdict(measured),
        "rate_bytes_per_s": rate,
        "known_rate_bytes_per_s": score.rate_bytes_per_s,
        "success": score.good / score.uses if score.uses else None,
        "uses": score.uses,
        "score": score.worth(mirror.weight),
    }


def _best_first(record: dict[str, Any]) -> tuple[bool, float, float]:
    first_byte = record["first_byte_s"]
    return (
        record["state"] != "ok",
        -(record["score"] or 0.0),
        float("inf") if first_byte is None else first_byte,
    )


def _is_cid(text: str) -> bool:
    try:
        Cid.parse(text)
    except ContentError:
        return False
    return True
