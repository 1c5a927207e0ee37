"""Our CARs read by @ipld/car, and its CARs imported here."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interop.npm import NotInstalled, installed, program
from mirrornode.content.recipe import UNIXFS_V0_2015, UNIXFS_V1_2025, Recipe
from mirrornode.mirror.add import AddRequest, add_paths
from mirrornode.store.catalog import open_catalog
from support.cars import blocks_of, export, import_files, v2_of
from support.shared_files import SMALL_CHUNKS, content, write

PROGRAM = Path(__file__).with_name("ipld_car.mjs")
TIMEOUT_S = 60.0
Js = Callable[..., Any]


@pytest.fixture
def js(tmp_path: Path) -> Js:
    """Run a verb of the js program and return what it prints."""
    try:
        packages = installed("ipld-car")
    except NotInstalled as exc:
        pytest.skip(f"@ipld/car is not here: {exc}")
    folder = tmp_path / "js"
    folder.mkdir()
    command = program(packages, PROGRAM, folder)

    def run(*arguments: str | Path) -> Any:
        done = subprocess.run(
            [*command, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize(
    "recipe", [SMALL_CHUNKS, UNIXFS_V1_2025, UNIXFS_V0_2015], ids=["small", "v1", "v0"]
)
async def test_car_when_read_and_written_by_js_then_round_trip(
    js: Js, tmp_path: Path, recipe: Recipe
) -> None:
    model = tmp_path / "model"
    write(model / "weights.bin", content(600_000))
    write(model / "config.json", b"{}")
    write(model / "sub" / "empty", b"")
    car, copy, out = tmp_path / "model.car", tmp_path / "copy.car", tmp_path / "out"
    with open_catalog(tmp_path / "origin") as origin:
        [added] = add_paths(origin, AddRequest([model], recipe=recipe))
        export(origin, added.cid, car)
    blocks = blocks_of(car.read_bytes())
    seen = js("copy", car, copy)
    assert seen["version"] == 1
    assert seen["roots"] == [added.cid, str(blocks[-1].cid)]
    expected = [{"cid": str(block.cid), "size": len(block.data)} for block in blocks]
    assert seen["blocks"] == expected[::-1]
    with open_catalog(tmp_path / "home") as catalog:
        [root] = (await import_files(catalog, copy, destination=out)).roots
        assert (root.cid, root.name, root.missing) == (added.cid, "model", ())
        export(catalog, added.cid, tmp_path / "again.car")
    assert (out / "weights.bin").read_bytes() == content(600_000)
    assert (tmp_path / "again.car").read_bytes() == car.read_bytes()


def test_car_when_version_2_then_js_reads_what_our_tests_make(js: Js, tmp_path: Path) -> None:
    with open_catalog(tmp_path / "origin") as origin:
        file = write(tmp_path / "a.bin", content(5000))
        [added] = add_paths(origin, AddRequest([file], recipe=SMALL_CHUNKS))
        export(origin, added.cid, tmp_path / "a.car", names=False)
    made = write(tmp_path / "v2.car", v2_of((tmp_path / "a.car").read_bytes()))
    seen = js("read", made)
    assert (seen["version"], seen["roots"]) == (2, [added.cid])
    assert len(seen["blocks"]) == len(blocks_of(made.read_bytes()))
