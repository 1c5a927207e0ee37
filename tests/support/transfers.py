"""One transfer of a model from real sources into a folder, without a node around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from mirrornode.events import SourceState
from mirrornode.sources.ports import Source
from mirrornode.store.catalog import Catalog
from mirrornode.transfer.journal import Journal
from mirrornode.transfer.outputs import lay_out
from mirrornode.transfer.session import Offer, Outcome, TransferSession
from support.models import Model
from support.waiting import until

PATIENT_S = 60.0


class Transfer:
    """Brings a model from one troubled source first, and from others when it has shown how."""

    def __init__(
        self, catalog: Catalog, folder: Path, model: Model, *, retry_every_s: float = 60.0
    ) -> None:
        self.model = model
        self.outputs = lay_out(model.manifest, folder / "out")
        self.session = TransferSession(
            model.manifest,
            self.outputs,
            bytearray(model.manifest.leaves),
            Journal(catalog),
            resumed_bytes=0,
            on_progress=lambda event: None,
            check_whole=lambda output: None,
            on_finished=lambda batch: None,
            retry_every_s=retry_every_s,
        )

    def state_of(self, source: Source) -> SourceState:
        return self.session.board.snapshot([source.source_id]).sources[0]

    async def run(
        self, *sources: Source, then: Source | None = None, timeout_s: float = PATIENT_S
    ) -> Outcome:
        """Run to the end; `then` joins as soon as each of `sources` has failed or lied."""

        async def offers() -> AsyncIterator[Offer]:
            for source in sources:
                yield Offer(source)
            if then is not None:
                await until(lambda: all(self.state_of(source).reason for source in sources))
                yield Offer(then)
            await asyncio.Event().wait()

        return await self.session.run(offers(), timeout_s)

    def check(self) -> None:
        """Assert that every file is there and right."""
        for output in self.outputs:
            assert output.path.read_bytes() == self.model.bytes_of(output.file)
