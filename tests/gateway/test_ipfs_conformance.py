"""The assertions of gateway-conformance against our gateway, with its fixtures on the shelf.

SOURCE: ipfs/gateway-conformance at 22c76440, restated as data in gateway_conformance_vectors.json.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yarl

from mirrornode.content.cid import Cid
from mirrornode.errors import RemoteProtocolError
from mirrornode.store.catalog import Catalog, open_catalog
from support.blocks import car_blocks, read_car
from support.fixtures import fixture_json, fixtures_dir
from support.ipns_names import KnownName, KnownNames
from support.planes import open_gateway, shelf_of

VECTORS = 101

# One vector contradicts the fixture that it names. The record of this name, whose signature is
# right, stands for an identity CID, which is its own content: "v1+v2 with broken signature v1". The
# vector says "v1-v2 …", which no content of that CID can be. So its body is the CID's here.
MISTAKEN_BODY = "76312d763220776974682062726f6b656e207369676e6174757265207631"
IDENTITY_OF_RECORD = "bafkqahtwgevxmmrao5uxi2bamjzg623fnyqhg2lhnzqxi5lsmuqhmmi"


def vectors() -> list[Any]:
    """All vectors; placeholders where the fixtures are absent, so that each is seen as skipped."""
    try:
        found = fixture_json("vectors/gateway_conformance_vectors.json")["vectors"]
    except pytest.skip.Exception:
        return [None] * VECTORS
    assert len(found) == VECTORS
    return list(found)


@pytest.fixture(scope="module")
def conformance_catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """A catalog that keeps the blocks of every fixture."""
    with open_catalog(tmp_path_factory.mktemp("conformance")) as catalog:
        for path in sorted((fixtures_dir() / "gateway-conformance").rglob("*.car")):
            catalog.put_blocks(read_car(path))
        yield catalog


@pytest.fixture
async def url(conformance_catalog: Catalog) -> AsyncIterator[str]:
    names = KnownNames()
    for record in fixture_json("vectors/ipns_vectors.json")["records"]:
        if record["expected"].startswith("valid"):
            names.names[record["name"]] = KnownName(
                record["cbor"]["Value"], record["cbor"]["TTL"] / 1e9, bytes.fromhex(record["hex"])
            )
        else:
            names.names[record["name"]] = RemoteProtocolError(record["expected"])
    async with open_gateway(shelf_of(conformance_catalog), names=names) as url:
        yield url


@pytest.mark.parametrize(
    "vector", vectors(), ids=lambda vector: "absent" if vector is None else vector["name"]
)
async def test_gateway_when_a_conformance_request_comes_then_as_expected(
    url: str, vector: Mapping[str, Any]
) -> None:
    asked = vector["request"]
    target = yarl.URL(url + asked["path"], encoded=True).update_query(asked["query"])
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.request(
            asked["method"], target, headers=asked["headers"], allow_redirects=False
        ) as answer,
    ):
        body = await answer.read()
        expected = vector["expect"]
        failures = [
            failures_of(wanted, answer.status, answer.headers, body)
            for wanted in expected.get("any_of", [expected])
        ]
    assert [] in failures, failures


def failures_of(
    wanted: Mapping[str, Any], status: int, headers: Mapping[str, str], body: bytes
) -> list[str]:
    """What of an expectation does not hold."""
    failed = []
    if "status" in wanted and str(wanted["status"]) not in (str(status), f"{status // 100}xx"):
        failed.append(f"status {status}")
    for name, rule in wanted.get("headers", {}).items():
        value = headers.get(name, "")
        failed += [f"{name}: {value} is not {rule}"] if not header_holds(value, rule) else []
    if "body_hex" in wanted and body.hex() != body_of(wanted):
        failed.append(f"body {body[:200]!r}")
    failed += [
        f"body without {text}"
        for text in wanted.get("body_contains", [])
        if text.encode() not in body
    ]
    if "stored_body_hex" in wanted and body.hex() != wanted["stored_body_hex"]:
        failed.append("another record")
    if any(key.startswith("car_") for key in wanted):
        found = [str(block.cid) for block in car_blocks(body)]
        exact = wanted.get("car_blocks_exact")
        if exact is not None and not wanted.get("car_ordered"):
            exact, found = sorted(exact), sorted(found)
        if exact is not None and exact != found:
            failed.append(f"blocks {found}, not {exact}")
        if not set(wanted.get("car_blocks_contain", [])) <= set(found):
            failed.append(f"blocks {found}")
    return failed


def body_of(wanted: Mapping[str, Any]) -> str:
    """The body that a vector asks for; see `MISTAKEN_BODY`."""
    if wanted["body_hex"] == MISTAKEN_BODY:
        return Cid.parse(IDENTITY_OF_RECORD).digest.hex()
    return str(wanted["body_hex"])


def header_holds(value: str, rule: Mapping[str, Any]) -> bool:
    """Whether a header is as a vector says; a rule that is not known here holds for none."""
    for name, wanted in rule.items():
        if name == "equals":
            holds = value == wanted
        elif name == "contains":
            holds = wanted in value
        elif name == "contains_all":
            holds = all(text in value for text in wanted)
        elif name == "has":
            holds = set(wanted) <= {text.strip() for text in value.split(",")}
        elif name == "regex":
            holds = re.search(wanted, value) is not None
        elif name == "not_empty":
            holds = bool(value)
        elif name == "max_age_at_least":
            age = re.search(r"max-age=(\d+)", value)
            holds = age is not None and int(age[1]) >= wanted
        else:
            holds = False
        if not holds:
            return False
    return True


def test_vectors_when_read_then_every_kind_of_expectation_is_checked() -> None:
    known = {
        "status", "headers", "body_hex", "body_contains", "stored_body_hex", "any_of",
        "car_blocks_exact", "car_ordered", "car_blocks_contain", "body_is_valid_ipns_record_for",
    }  # fmt: skip
    fixtures_dir()
    for vector in vectors():
        for wanted in vector["expect"].get("any_of", [vector["expect"]]):
            assert wanted.keys() <= known


def test_fixtures_when_they_are_there_then_so_is_every_car() -> None:
    fixtures_dir()
    for vector in vectors():
        name = vector["fixture"]
        if name is not None and name.endswith(".car"):
            assert Path(fixtures_dir() / "gateway-conformance" / name).is_file()
