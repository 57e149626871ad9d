"""Fusion of the two searches."""

from __future__ import annotations

import pytest

from rag_service.retrieval import fuse


def test_what_both_find_comes_first() -> None:
    assert fuse([(1, 0.9), (2, 0.8), (3, 0.1)], [(4, 7.0), (2, 6.5), (5, 1.0)])[0][0] == 2


def test_scores_are_from_0_to_1_and_ties_are_in_order() -> None:
    assert fuse([(1, 0.9), (2, 0.1)], [(2, 4.0), (1, 1.0)]) == [(1, 0.5), (2, 0.5)]


@pytest.mark.parametrize(("dense", "lexical"), [([(1, 0.3)], []), ([], [(1, 2.0)])])
def test_one_search_alone_counts_half(dense: list[tuple[int, float]], lexical: list[tuple[int, float]]) -> None:
    assert fuse(dense, lexical) == [(1, 0.5)]


def test_nothing_found_gives_nothing() -> None:
    assert fuse([], []) == []
