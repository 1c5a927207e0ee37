"""Many small files as the body of one answer; see `wire.batch` for the bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mirrornode.content.car import section_head
from mirrornode.content.leaf_form import LeafForm, leaf_block_size, leaf_prefix, leaf_suffix
from mirrornode.errors import SourceGone, SourceRefused
from mirrornode.sources.http_words import SENT_LESS
from mirrornode.sources.ports import DIRECT_BYTES
from mirrornode.sources.refusal import refusal
from mirrornode.wire.batch import PATH, encode_request

if TYPE_CHECKING:
    from mirrornode.sources.http_client import HttpConnection
    from mirrornode.sources.ports import FileOfTransfer


AHEAD_BYTES = 256 * 1024  # read at once: reading each section by itself costs more than hashing it


class BatchReader:
    """Reads the only leaf of each file, in the order asked, out of one response."""

    def __init__(
        self, connection: HttpConnection, source_id: str, files: Sequence[FileOfTransfer]
    ) -> None:
        self._connection = connection
        self._source_id = source_id
        self._leaves = [(file.map.leaf_cid(0), file.map.leaf_form) for file in files]
        self._next = 0
        self._ahead = b""  # what came and was not asked for yet, from `_at` on
        self._at = 0

    def open(self, headers: Mapping[str, str]) -> None:
        """Ask for all leaves and check the head of the answer.

        Raises:
            SourceRefused: Any status but 200.
        """
        body = encode_request([cid for cid, _ in self._leaves])
        response = self._connection.request(PATH, headers, method="POST", body=body)
        if response.status != 200:
            raise refusal(response, self._source_id, "answered to a batch:")

    def read_leaf(self, view: memoryview) -> None:
        """Fill `view` with the file bytes of the next leaf.

        Raises:
            SourceRefused: Status 404: the peer lacks it, the answer ended before it.
            SourceGone: The connection broke.
        """
        cid, form = self._leaves[self._next]
        self._next += 1
        length = len(view)
        self._expect(section_head(cid, leaf_block_size(form, length)) + leaf_prefix(form, length))
        self._read_into(view)
        if form != LeafForm.RAW:
            self._expect(leaf_suffix(form, length))

    def _expect(self, fixed: bytes) -> None:
        """Read bytes that are known beforehand; anything else is another block, or none."""
        if self._at == len(self._ahead) and not self._read_ahead():
            # The answer ends well, and before this block: that is how a peer says no.
            raise SourceRefused("lacks a file", source_id=self._source_id, status=404)
        if not self._ahead.startswith(fixed, self._at):
            found = bytearray(len(fixed))
            self._read_into(memoryview(found))  # it may have been cut by where a read ended
            if found != fixed:
                raise SourceRefused("sent another block than asked", source_id=self._source_id)
            return
        self._at += len(fixed)

    def _read_into(self, view: memoryview) -> None:
        """Fill `view` with what comes next."""
        is_direct = len(view) >= DIRECT_BYTES
        while view:
            if self._at == len(self._ahead):
                if is_direct:
                    self._connection.read_into(view)
                    return
                if not self._read_ahead():
                    raise SourceGone(SENT_LESS, source_id=self._source_id)
            taken = min(len(view), len(self._ahead) - self._at)
            view[:taken] = memoryview(self._ahead)[self._at : self._at + taken]
            self._at += taken
            view = view[taken:]

    def _read_ahead(self) -> bool:
        """Read what is there; False when the answer has ended as it should."""
        self._ahead, self._at = self._connection.read_ahead(AHEAD_BYTES), 0
        return bool(self._ahead)
