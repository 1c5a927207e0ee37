"""A source whose answers are scripted, one letter a leaf; passes the same contract as the real.

    b  the leaf            C  corrupt bytes         E  the connection breaks
    t  it stalls (raised)  N  404: not here         S  503: overloaded
    F  403: refused        O  the file there changed
    W  waits until `release` is called or the lane is aborted, then breaks
After its script a source sends leaves for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from mirrornode.errors import OriginChanged, SourceGone, SourceRefused, SourceTooSlow
from mirrornode.sources.ports import FileOfTransfer
from support.models import Model


class ScriptedSource:
    """Leaves of one model, with faults."""

    def __init__(self, name: str, model: Model, script: str = "", *, lanes: int = 1) -> None:
        self.source_id = f"fake:{name}"
        self.max_lanes = lanes
        self.max_batch = 0
        self.sent: list[tuple[str, int]] = []
        self.sent_bytes = 0
        self.waiting = threading.Event()
        self.waits = 0
        self.model = model
        self._script = script
        self._lock = threading.Lock()
        self._released = threading.Event()

    def open_lane(self) -> ScriptedLane:
        return ScriptedLane(self)

    def release(self) -> None:
        """Let the lanes go on that wait."""
        self._released.set()

    def next_word(self) -> str:
        with self._lock:
            word, self._script = self._script[:1] or "b", self._script[1:]
            return word

    def wait(self, aborted: threading.Event) -> None:
        with self._lock:
            self.waits += 1
        self.waiting.set()
        while not self._released.wait(0.005) and not aborted.is_set():
            pass

    def failure(self, word: str) -> Exception | None:
        source_id = self.source_id
        return {
            "E": SourceGone("reset", source_id=source_id),
            "W": SourceGone("broken off", source_id=source_id),
            "t": SourceTooSlow("stalled", source_id=source_id),
            "N": SourceRefused("not here", source_id=source_id, status=404),
            "S": SourceRefused("busy", source_id=source_id, status=503, retry_after_s=0.0),
            "F": SourceRefused("forbidden", source_id=source_id, status=403),
            "O": OriginChanged("another size", source_id=source_id),
        }.get(word)


class ScriptedLane:
    """One lane of a scripted source."""

    def __init__(self, source: ScriptedSource) -> None:
        self._source = source
        self._file: FileOfTransfer | None = None
        self._data = b""
        self._next = 0
        self._skip_bytes = 0
        self._aborted = threading.Event()

    @property
    def received_bytes(self) -> int:
        return 0

    def begin(self, file: FileOfTransfer, first: int, stop: int, skip_bytes: int = 0) -> None:
        self._aborted.clear()
        if file.path not in self._source.model.files:
            raise SourceRefused("not here", source_id=self._source.source_id, status=404)
        self._data = self._source.model.files[file.path]
        self._file, self._next, self._skip_bytes = file, first, skip_bytes

    def begin_batch(self, files: Sequence[FileOfTransfer]) -> None:
        raise AssertionError("max_batch is 0")

    def read_leaf(self, view: memoryview) -> None:
        assert self._file is not None
        word = self._source.next_word()
        if word == "W":
            self._source.wait(self._aborted)
        if (failure := self._source.failure(word)) is not None:
            raise failure
        start = self._file.map.starts[self._next] + self._skip_bytes
        self._skip_bytes = 0
        view[:] = self._data[start : start + len(view)]
        if word == "C":
            view[0] ^= 1
        self._source.sent.append((self._file.path, self._next))
        self._source.sent_bytes += len(view)
        self._next += 1

    def end(self) -> None:
        self._file = None

    def abort(self) -> None:
        self._aborted.set()
