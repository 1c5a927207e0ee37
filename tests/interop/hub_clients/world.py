"""The repos that the real clients are sent to, and running a client against an endpoint."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interop.hub_clients.environments import Client
from support.hub_origin import ALICE, BOB, StandInHub
from support.hub_repos import Blob, Content

DRIVER = Path(__file__).with_name("driver.py")
RUN_TIMEOUT_S = 60.0
MANY = 5100  # more than one page of ours, several of the Hub's
LARGE_BYTES = 3_000_017
FILES: Mapping[str, Content] = {
    "README.md": b"# a model",
    "config.json": b'{"architectures": []}',
    "model.safetensors": Blob(LARGE_BYTES, 1),
    "copy.safetensors": Blob(LARGE_BYTES, 1),
    "empty.txt": b"",
    "other.txt": b"other",
    "sub dir/part 1 +%.bin": Blob(70_000, 2),
    "sub dir/deeper/\u6a21\u578b.json": b"{}",
}

Results = Mapping[str, Mapping[str, Any]]


def furnish(hub: StandInHub) -> None:
    """Add what the driver's steps ask for."""
    model = hub.add_model("org/name", FILES, licence="apache-2.0")
    first = model.sha
    model.tag("v1.0", first)
    model.commit({"config.json": b'{"architectures": ["x"]}'})
    model.commit({"new.txt": b"new"}, ref="feature/x")
    model.commit({"pr.txt": b"pr"}, ref="refs/pr/1")
    hub.add_model("gpt2", {"config.json": b'{"old": true}'})
    hub.add_model("old/name", {"config.json": b'{"renamed": true}'})
    hub.rename("old/name", "renamed/name")
    hub.add_dataset("org/data", {"a.csv": b"1,2", "b/c.csv": b"3,4", "x.parquet": Blob(5000, 3)})
    hub.add_space("org/app", {"app.py": b"pass"})
    hub.add_model("org/gated", {"w.bin": Blob(4000, 4)}, gated="manual", licence="llama3")
    hub.add_model("org/private", {"w.bin": Blob(4000, 5)}, private=True)
    hub.add_model("org/many", {f"d{n % 7}/f{n:05}.txt": b"" for n in range(MANY)})


def environment(endpoint: str, home: Path) -> dict[str, str]:
    """Return an environment in which a client knows this endpoint and nothing else."""
    dropped = ("HF_", "HUGGING", "PYTHON", "MIRRORNODE")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(dropped) and not name.lower().endswith("_proxy")
    }
    return {
        **kept,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_COLOR": "1",
    }


async def run_steps(
    client: Client, endpoint: str, home: Path, steps: Sequence[str] = (), *, cache: str = "cache"
) -> Results:
    """Run the driver in a client; no steps means all."""
    order = {
        "steps": list(steps),
        "cache": str(home / cache),
        "tokens": {"alice": ALICE, "bob": BOB},
    }
    out = await run(
        [str(client.python), "-I", str(DRIVER)], endpoint, home, json.dumps(order).encode()
    )
    results: Results = json.loads(out)
    return results


async def run(command: Sequence[str], endpoint: str, home: Path, stdin: bytes = b"") -> str:
    """Run a command of a client and return what it wrote to stdout."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment(endpoint, home),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(RUN_TIMEOUT_S):
            out, err = await process.communicate(stdin)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode(errors="replace")[-4000:]
    return out.decode()
