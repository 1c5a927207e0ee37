"""Whole transfers from scripted sources: faults are named, what is right is kept and finished."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mirrornode.content.cid import Cid
from mirrornode.content.recipe import Recipe
from mirrornode.errors import CidMismatch, MirrorError, PathRefused, StoreError
from mirrornode.events import GetProgress
from mirrornode.sources.ports import Source
from mirrornode.store.catalog import Catalog
from mirrornode.transfer import score
from mirrornode.transfer.journal import Journal
from mirrornode.transfer.outputs import OutputFile, lay_out
from mirrornode.transfer.session import TICK_S, Offer, Outcome, TransferSession
from support.models import LEAF, Model, folder_of, model_of
from support.scripted_source import ScriptedLane, ScriptedSource
from support.shared_files import content
from support.waiting import until

MODEL = model_of(20 * LEAF + 3)
PATIENT_S = 60.0
AT_ONCE_S = 0.3


class Job:
    """One transfer of a model into a folder."""

    def __init__(
        self, catalog: Catalog, folder: Path, model: Model = MODEL, **options: Any
    ) -> None:
        self.catalog = catalog
        self.model = model
        self.progress: list[GetProgress] = []
        self.finished: list[str] = []
        self.outputs = lay_out(model.manifest, folder / "out")
        self.options: dict[str, Any] = {"check_whole": lambda output: None, **options}

    def session(self) -> TransferSession:
        manifest = self.model.manifest
        journal = Journal(self.catalog)
        done = bytearray(manifest.leaves)
        for output in self.outputs:
            found = journal.resume(output)
            output.is_finished = found.is_final
            output.begun = found.begun
            done[output.file.first_leaf : output.file.stop_leaf] = found.done
        self.resumed = sum(done)
        return TransferSession(
            manifest,
            self.outputs,
            done,
            journal,
            resumed_bytes=0,
            on_progress=self.progress.append,
            on_finished=lambda batch: self.finished.extend(o.file.path for o in batch),
            **self.options,
        )

    async def run(self, *sources: Source, timeout_s: float = PATIENT_S) -> Outcome:
        return await self.session().run(offers(*sources), timeout_s)

    def check(self) -> None:
        """Assert that every file is there and right, and no part is left."""
        for output in self.outputs:
            assert output.path.read_bytes() == self.model.bytes_of(output.file)
            assert not output.part.exists()


async def offers(*sources: Source | Offer) -> AsyncIterator[Offer]:
    for source in sources:
        yield source if isinstance(source, Offer) else Offer(source)
    await asyncio.Event().wait()


def states(outcome: Outcome) -> dict[str, tuple[str, str]]:
    return {state.source_id: (state.state, state.reason) for state in outcome.sources}


def received(outcome: Outcome) -> dict[str, int]:
    return {state.source_id: state.received_bytes for state in outcome.sources}


@pytest.fixture
def job(catalog: Catalog, tmp_path: Path) -> Job:
    return Job(catalog, tmp_path)


async def test_transfer_from_one_source(job: Job) -> None:
    outcome = await job.run(ScriptedSource("a", MODEL, lanes=3))
    job.check()
    assert outcome.unfinished == ()
    assert received(outcome) == {"fake:a": len(MODEL.data)}
    assert job.finished == [""]
    assert job.progress[-1].done_bytes == len(MODEL.data)
    assert job.catalog.transfers() == []


async def test_transfer_ends_all_its_threads(job: Job) -> None:
    before = set(threading.enumerate())
    await job.run(ScriptedSource("a", MODEL, lanes=4))
    left = [t for t in set(threading.enumerate()) - before if t.name.startswith("lane")]
    assert left == []


@pytest.mark.parametrize("script", ["C", "bbbC", "bbbbbbbbbbC"])
async def test_source_when_it_sends_wrong_bytes_then_banned_and_named(
    job: Job, script: str
) -> None:
    liar = ScriptedSource("liar", MODEL, script + "C" * 99)
    honest = ScriptedSource("honest", MODEL, lanes=2)
    outcome = await job.run(liar, honest)
    job.check()
    if liar.sent[len(script) - 1 :]:
        assert states(outcome)["fake:liar"] == ("banned", "sent wrong bytes")
    assert len(liar.sent) <= len(script)


async def test_source_when_it_is_the_only_one_and_lies_then_unfinished(job: Job) -> None:
    outcome = await job.run(ScriptedSource("liar", MODEL, "bbC"), timeout_s=AT_ONCE_S)
    assert states(outcome) == {"fake:liar": ("banned", "sent wrong bytes")}
    assert [output.path for output in outcome.unfinished] == [job.outputs[0].path]
    assert not job.outputs[0].path.exists()


@pytest.mark.parametrize("script", ["E", "t", "S", "bEbtbSb", "EEtES"])
async def test_source_when_it_fails_for_a_while_then_asked_again(job: Job, script: str) -> None:
    if script == "EEtES":
        outcome = await job.run(
            ScriptedSource("weak", MODEL, script), ScriptedSource("strong", MODEL)
        )
    else:
        outcome = await job.run(ScriptedSource("weak", MODEL, script))
    job.check()
    assert outcome.unfinished == ()


async def test_source_when_it_is_back_then_its_rest_is_over(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that only being offered as one that is back ends the rest.
    for name in ("BACKOFF_FIRST_S", "BACKOFF_MAX_S"):
        monkeypatch.setattr(score, name, 1000.0)
    source, coming = ScriptedSource("weak", MODEL, "E"), asyncio.Queue[Offer]()

    async def come() -> AsyncIterator[Offer]:
        while True:
            yield await coming.get()

    session = job.session()
    running = asyncio.create_task(session.run(come(), PATIENT_S))
    coming.put_nowait(Offer(source))
    await until(lambda: any(one.reason for one in session.sources))
    coming.put_nowait(Offer(source, is_back=True))
    await running
    job.check()


@pytest.mark.parametrize(("word", "reason"), [("F", "forbidden"), ("O", "another size")])
async def test_source_when_it_can_never_help_then_not_asked_again(
    job: Job, word: str, reason: str
) -> None:
    useless = ScriptedSource("useless", MODEL, word * 99)
    outcome = await job.run(useless, timeout_s=AT_ONCE_S)
    assert states(outcome) == {"fake:useless": ("banned", reason)}
    assert outcome.unfinished


async def test_source_when_it_lacks_leaves_then_another_brings_them(job: Job) -> None:
    outcome = await job.run(
        ScriptedSource("lacking", MODEL, "N" * 3), ScriptedSource("full", MODEL)
    )
    job.check()
    assert states(outcome)["fake:lacking"][0] == "idle"


async def test_source_when_all_fail_then_unfinished_and_each_says_why(job: Job) -> None:
    outcome = await job.run(
        ScriptedSource("a", MODEL, "E" * 99),
        ScriptedSource("b", MODEL, "N" * 99),
        timeout_s=AT_ONCE_S,
    )
    assert outcome.unfinished
    assert states(outcome)["fake:a"][1] == "reset"
    assert not job.outputs[0].path.exists()


async def test_source_when_it_has_a_part_only_then_asked_for_nothing_else(job: Job) -> None:
    part = ScriptedSource("part", MODEL)
    available = bytearray(MODEL.file.map.leaves)
    available[5:9] = b"\x01" * 4
    whole = ScriptedSource("whole", MODEL)
    session = job.session()
    outcome = await session.run(offers(Offer(part, available), whole), PATIENT_S)
    job.check()
    assert outcome.unfinished == ()
    assert {leaf for _, leaf in part.sent} <= {5, 6, 7, 8}


async def test_source_when_partial_grows_then_the_rest_comes(job: Job) -> None:
    source = ScriptedSource("growing", MODEL)
    leaves = MODEL.file.map.leaves
    half = bytearray([1] * 10 + [0] * (leaves - 10))
    grow = asyncio.Event()

    async def growing() -> AsyncIterator[Offer]:
        yield Offer(source, half)
        await grow.wait()
        yield Offer(source, None)
        await asyncio.Event().wait()

    session = job.session()
    running = asyncio.create_task(session.run(growing(), PATIENT_S))
    await until(lambda: len(source.sent) == 10)
    assert not running.done()
    grow.set()
    await running
    job.check()


async def test_two_files_when_one_is_not_to_be_had_then_the_other_is_finished(
    catalog: Catalog, tmp_path: Path
) -> None:
    files = {"a.bin": content(3 * LEAF), "b.bin": content(9 * LEAF + 1)}
    folder = folder_of(files)
    job = Job(catalog, tmp_path, folder)
    outcome = await job.run(ScriptedSource("x", _only(folder, "b.bin")), timeout_s=AT_ONCE_S)
    assert [output.file.path for output in outcome.unfinished] == ["a.bin"]
    assert (tmp_path / "out" / "b.bin").read_bytes() == files["b.bin"]
    assert not (tmp_path / "out" / "a.bin").exists()
    assert job.finished == ["b.bin"]
    # The same again finds the second file finished, and fetches the first only.
    full = ScriptedSource("full", folder)
    again = Job(catalog, tmp_path, folder)
    await again.run(full)
    again.check()
    assert {path for path, _ in full.sent} == {"a.bin"}


async def test_two_files_when_one_is_another_there_then_its_source_still_helps(
    catalog: Catalog, tmp_path: Path
) -> None:
    files = {"a.bin": content(3 * LEAF), "b.bin": content(9 * LEAF + 1)}
    folder = folder_of(files)
    changed = ScriptedSource("mirror", folder, "O")
    job = Job(catalog, tmp_path, folder)
    outcome = await job.run(changed, timeout_s=AT_ONCE_S)
    assert states(outcome)["fake:mirror"][0] == "idle"
    assert len(outcome.unfinished) == 1


def _only(model: Model, path: str) -> Model:
    return Model(model.root, {path: model.files[path]}, model.blocks, model.manifest)


async def test_folder_with_empty_files_needs_no_source_for_them(
    catalog: Catalog, tmp_path: Path
) -> None:
    job = Job(catalog, tmp_path, folder_of({"__init__.py": b"", "empty": b""}))
    outcome = await job.run()
    job.check()
    assert outcome.unfinished == ()


async def test_transfer_when_cancelled_in_the_middle_then_the_next_goes_on(
    catalog: Catalog, tmp_path: Path
) -> None:
    model = model_of(300 * LEAF)
    job = Job(catalog, tmp_path, model)
    source = ScriptedSource("slow", model, "b" * 12 + "W" * 99)
    running = asyncio.create_task(job.run(source))
    await asyncio.to_thread(source.waiting.wait)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not any(thread.name.startswith("lane") for thread in threading.enumerate())
    (transfer,) = catalog.transfers()
    assert transfer.part == job.outputs[0].part
    again = Job(catalog, tmp_path, model)
    fresh = ScriptedSource("fresh", model)
    await again.run(fresh)
    again.check()
    assert again.resumed == 12
    assert len(fresh.sent) == 300 - 12


async def test_transfer_when_nothing_comes_for_so_long_then_given_up_with_lanes_ended(
    job: Job,
) -> None:
    stalled = ScriptedSource("stalled", MODEL, "W" * 99, lanes=3)
    outcome = await job.run(stalled, timeout_s=AT_ONCE_S)
    assert outcome.unfinished
    assert not any(thread.name.startswith("lane") for thread in threading.enumerate())


class SlowLine(ScriptedSource):
    """Waits in its first leaf, while a few bytes now and then show that it lives."""

    SIGNS = 12

    def open_lane(self) -> ScriptedLane:
        return SlowLane(self)


class SlowLane(ScriptedLane):
    """Shows another number each time it is looked at; lets the line go on at last."""

    seen = 0

    @property
    def received_bytes(self) -> int:
        if self.seen < SlowLine.SIGNS:
            self.seen += 1
        else:
            self._source.release()
        return self.seen


async def test_transfer_when_a_leaf_takes_long_but_bytes_arrive_then_not_given_up(
    job: Job,
) -> None:
    slow = SlowLine("slow", MODEL, "W")
    outcome = await job.run(slow, timeout_s=SlowLine.SIGNS * TICK_S / 2)
    assert not outcome.unfinished
    job.check()


async def test_transfer_when_the_disk_refuses_then_its_error_ends_it(job: Job) -> None:
    job.outputs[0].part.mkdir(parents=True)
    with pytest.raises(PathRefused):
        await job.run(ScriptedSource("a", MODEL, lanes=2))


async def test_transfer_when_a_lane_has_a_bug_then_it_ends_with_a_message(job: Job) -> None:
    class Broken(ScriptedSource):
        def failure(self, word: str) -> Exception | None:
            return ZeroDivisionError("a bug")

    with pytest.raises(StoreError, match="internal error"):
        await job.run(Broken("broken", MODEL))


async def test_transfer_when_the_offers_break_then_their_error_ends_it(job: Job) -> None:
    async def breaking() -> AsyncIterator[Offer]:
        yield Offer(ScriptedSource("a", MODEL, "W" * 99))
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        await job.session().run(breaking(), PATIENT_S)


@pytest.mark.parametrize("is_there_already", [False, True])
async def test_whole_file_is_checked_before_it_gets_its_name_and_when_it_had_it(
    catalog: Catalog, tmp_path: Path, is_there_already: bool
) -> None:
    def refuse(output: OutputFile) -> None:
        raise CidMismatch(Cid.raw_sha256(b"x" * 32))

    job = Job(catalog, tmp_path, check_whole=refuse)
    if is_there_already:
        job.outputs[0].path.write_bytes(MODEL.data)
    with pytest.raises(CidMismatch):
        await job.run(ScriptedSource("a", MODEL))
    assert job.finished == []
    assert job.outputs[0].path.exists() == is_there_already


async def test_finished_files_are_told_before_a_cancel_takes_effect(
    catalog: Catalog, tmp_path: Path
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(output: OutputFile) -> None:
        entered.set()
        leave.wait()

    job = Job(catalog, tmp_path, check_whole=slow)
    running = asyncio.create_task(job.run(ScriptedSource("a", MODEL)))
    await asyncio.to_thread(entered.wait)
    running.cancel()
    await asyncio.sleep(0)
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    # Renamed and recorded, or neither.
    job.check()
    assert job.finished == [""]


class NarrowLanes(ScriptedSource):
    """Each lane brings a leaf every few milliseconds, however many there are."""

    LEAF_S = 0.01

    def __init__(self, name: str, model: Model) -> None:
        super().__init__(name, model, lanes=16)
        self.opened = 0
        self.ending = threading.Event()

    def open_lane(self) -> ScriptedLane:
        self.opened += 1
        return NarrowLane(self)


class NarrowLane(ScriptedLane):
    """Waits a little before each leaf, like a far server."""

    def read_leaf(self, view: memoryview) -> None:
        assert isinstance(self._source, NarrowLanes)
        self._source.ending.wait(NarrowLanes.LEAF_S)
        super().read_leaf(view)


async def test_transfer_when_more_lanes_bring_more_then_they_are_started(
    catalog: Catalog, tmp_path: Path
) -> None:
    model = model_of(2000 * LEAF)
    far = NarrowLanes("far", model)
    job = Job(catalog, tmp_path, model)
    running = asyncio.create_task(job.run(far))
    await until(lambda: bool(far.sent))
    assert far.opened == 2
    await until(lambda: far.opened >= 4)
    far.ending.set()
    outcome = await running
    job.check()
    assert received(outcome) == {"fake:far": len(model.data)}
    assert not any(thread.name.startswith("lane") for thread in threading.enumerate())


async def test_transfer_in_order_brings_the_first_leaves_first(
    catalog: Catalog, tmp_path: Path
) -> None:
    model = model_of(300 * LEAF)
    job = Job(catalog, tmp_path, model, in_order=True)
    source = ScriptedSource("a", model)
    await job.run(source)
    job.check()
    assert [leaf for _, leaf in source.sent] == list(range(300))


async def test_many_files_from_many_weak_sources(catalog: Catalog, tmp_path: Path) -> None:
    files = {f"{n}.bin": content(n * 700) for n in range(30)}
    folder = folder_of(files)
    scripts: Sequence[str] = ("bbEbbb", "bbbbNbb", "bbbC", "SbbtbE", "")
    sources = [ScriptedSource(str(n), folder, script) for n, script in enumerate(scripts)]
    job = Job(catalog, tmp_path, folder)
    outcome = await job.run(*sources)
    job.check()
    assert sorted(job.finished) == sorted(files)
    assert sum(received(outcome).values()) == folder.manifest.size_bytes


def test_failures_of_a_source_are_mirror_errors() -> None:
    check: Callable[[str], object] = ScriptedSource("a", MODEL).failure
    assert all(isinstance(check(word), MirrorError) for word in "EtNSFO")


@pytest.mark.parametrize("is_right", [True, False])
async def test_leaf_when_a_crash_left_its_beginning_then_only_the_rest_comes(
    catalog: Catalog, tmp_path: Path, is_right: bool
) -> None:
    recipe = Recipe("custom", "size-10000", 4, raw_leaves=True, cid_version=1)
    model = model_of(30_000, recipe)
    job = Job(catalog, tmp_path, model)
    begun = model.data[10_000:16_000] if is_right else b"x" * 6000
    job.outputs[0].part.write_bytes(bytes(10_000) + begun + bytes(14_000))
    source = ScriptedSource("a", model)
    outcome = await job.run(source)
    job.check()
    assert states(outcome)["fake:a"][1] == ""  # nobody is blamed
    assert source.sent_bytes == 30_000 + (-6000 if is_right else 4000)


async def test_leaf_when_its_beginning_lies_inside_a_run_then_it_is_used_too(
    catalog: Catalog, tmp_path: Path
) -> None:
    recipe = Recipe("custom", "size-10000", 8, raw_leaves=True, cid_version=1)
    model = model_of(80_000, recipe)
    job = Job(catalog, tmp_path, model)
    part = bytearray(80_000)
    for leaf in (0, 3, 4, 7):
        part[leaf * 10_000 : leaf * 10_000 + 6000] = model.data[leaf * 10_000 :][:6000]
    job.outputs[0].part.write_bytes(part)
    source = ScriptedSource("a", model)
    await job.run(source)
    job.check()
    assert source.sent_bytes == 80_000 - 4 * 6000


async def test_leaf_when_its_beginning_is_right_and_the_source_lies_then_banned_the_second_time(
    catalog: Catalog, tmp_path: Path
) -> None:
    model = model_of(30_000, Recipe("custom", "size-10000", 4, raw_leaves=True, cid_version=1))
    job = Job(catalog, tmp_path, model)
    job.outputs[0].part.write_bytes(model.data[:6000] + bytes(24_000))
    liar = ScriptedSource("liar", model, "C" * 99)
    outcome = await job.run(liar, ScriptedSource("honest", model))
    job.check()
    assert len(liar.sent) <= 3
    assert received(outcome).get("fake:liar", 0) == 0


async def test_transfer_when_every_source_lacks_the_rest_then_it_ends_soon(
    catalog: Catalog, tmp_path: Path
) -> None:
    job = Job(catalog, tmp_path, hopeless_s=AT_ONCE_S)
    lacking = ScriptedSource("lacking", MODEL, "bb" + "N" * 99)
    banned = ScriptedSource("banned", MODEL, "F")
    outcome = await job.run(lacking, banned, timeout_s=PATIENT_S)
    assert outcome.is_hopeless
    assert outcome.unfinished


@pytest.mark.parametrize("hope", ["one is fetching itself", "one failed and may come back"])
async def test_transfer_when_a_source_may_get_the_rest_then_it_is_waited_for(
    catalog: Catalog, tmp_path: Path, hope: str
) -> None:
    job = Job(catalog, tmp_path, hopeless_s=0.0)
    some = bytearray(MODEL.manifest.leaves)
    if hope == "one is fetching itself":
        other: Source | Offer = Offer(ScriptedSource("partial", MODEL), some)
    else:
        other = ScriptedSource("weak", MODEL, "E" * 99)
    lacking = ScriptedSource("lacking", MODEL, "N" * 99)
    outcome = await job.session().run(offers(lacking, other), 2 * AT_ONCE_S)
    assert not outcome.is_hopeless
    assert outcome.unfinished
