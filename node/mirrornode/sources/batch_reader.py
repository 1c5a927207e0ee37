"""Many small files as the body of one answer; see `wire.batch` for the bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mirrornode.content.car import section_head
from mirrornode.content.leaf_form import leaf_block_size, leaf_prefix, leaf_suffix
from mirrornode.errors import SourceRefused
from mirrornode.sources.refusal import refusal
from mirrornode.wire.batch import PATH, encode_request

if TYPE_CHECKING:
    from mirrornode.sources.http_client import HttpConnection
    from mirrornode.sources.ports import FileOfTransfer


class BatchReader:
    """Reads the only leaf of each file, in the order asked, out of one response."""

    def __init__(
        self, connection: HttpConnection, source_id: str, files: Sequence[FileOfTransfer]
    ) -> None:
        self._connection = connection
        self._source_id = source_id
        self._files = files
        self._next = 0

    def open(self, headers: Mapping[str, str]) -> None:
        """Ask for all leaves and check the head of the answer.

        Raises:
            SourceRefused: Any status but 200.
        """
        body = encode_request([file.map.leaf_cid(0) for file in self._files])
        response = self._connection.request(PATH, headers, method="POST", body=body)
        if response.status != 200:
            raise refusal(response, self._source_id, "answered to a batch:")

    def read_leaf(self, view: memoryview) -> None:
        """Fill `view` with the file bytes of the next leaf.

        Raises:
            SourceRefused: Status 404: the peer lacks it, the answer ended before it.
            SourceGone: The connection broke.
        """
        file_map = self._files[self._next].map
        self._next += 1
        form, length = file_map.leaf_form, len(view)
        head = section_head(file_map.leaf_cid(0), leaf_block_size(form, length))
        self._expect(head + leaf_prefix(form, length))
        self._connection.read_into(view)
        self._expect(leaf_suffix(form, length))

    def _expect(self, fixed: bytes) -> None:
        """Read bytes that are known beforehand; anything else is another block, or none."""
        if not fixed:
            return
        found = bytearray(len(fixed))
        if not self._connection.read_next(memoryview(found)):
            # The answer ends well, and before this block: that is how a peer says no.
            raise SourceRefused("lacks a file", source_id=self._source_id, status=404)
        if found != fixed:
            raise SourceRefused("sent another block than asked", source_id=self._source_id)
