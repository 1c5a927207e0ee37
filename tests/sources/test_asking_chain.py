"""Nodes in the way of a question: what they are called, and when a question goes in a circle."""

from __future__ import annotations

import asyncio

import pytest

from mirrornode.sources.asking_chain import (
    MAX_NODES,
    asked_through,
    chain_of,
    leads_back,
    new_name,
    own_chain,
)

ONE, TWO = "0123456789abcdef", "fedcba9876543210"


def test_name_when_made_twice_then_another() -> None:
    assert new_name() != new_name()
    assert chain_of(new_name()) != ()


@pytest.mark.parametrize(
    ("header", "chain"),
    [("", ()), (ONE, (ONE,)), (f"{ONE}, {TWO}", (ONE, TWO)), (f"{ONE},{TWO}", (ONE, TWO)),
     ("1.1 proxy", ()), (f"{ONE}0, {ONE.upper()}, {TWO}", (TWO,)), (",,,", ())],
)  # fmt: skip
def test_chain_when_read_then_names_of_nodes_only(header: str, chain: tuple[str, ...]) -> None:
    assert chain_of(header) == chain


def test_chain_when_it_is_endless_then_it_leads_back() -> None:
    assert not leads_back(chain_of(",".join([TWO] * MAX_NODES)), ONE)
    endless = chain_of(",".join([TWO] * 100_000))
    assert leads_back(endless, ONE)
    assert len(endless) == MAX_NODES + 1


async def test_question_when_asked_for_another_node_then_names_it_in_tasks_and_threads() -> None:
    with asked_through((ONE,)):
        task = asyncio.create_task(asyncio.to_thread(own_chain, TWO))
    assert await task == f"{ONE}, {TWO}"
    assert own_chain(TWO) == TWO
