"""Server, database and people of a review are killed at work: no decision is lost, none is there twice."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

pytest.importorskip("fastapi", reason="the extra web is not installed")

from tests.attack.review_kills import attack, attacked_review, check

SEED = 20261129  # another one tries other moments
KILLS = 100


def attack_and_check(folder: Path, own: Path, kills: int) -> None:
    chance = Random(f"{SEED} {kills}")  # noqa: S311 - nothing secret
    with attacked_review(folder, own) as review:
        done = attack(review, chance, kills)
        asked, decisions = review.answered(), review.decisions()
    check(asked, decisions, "at the end", finished=True)
    requests = [promise for own_requests in asked.values() for promise in own_requests]
    answered = [promise for promise in requests if promise.results is not None]
    results = [result for promise in answered for result in promise.results or ()]
    acknowledged = sum(result["stored"] is not None for result in results)
    print(  # noqa: T201 - shown with -s, for the report
        f"kills: {done}; requests: {len(requests)}, not answered: {len(requests) - len(answered)}, "
        f"decisions acknowledged: {acknowledged}, conflicts: {len(results) - acknowledged}, "
        f"in the database: {len(decisions)}"
    )
    assert acknowledged > 2 * kills
    assert acknowledged <= len(decisions)


def test_no_acknowledged_decision_is_lost_or_doubled_by_a_kill(folder: Path, tmp_path: Path) -> None:
    attack_and_check(folder, tmp_path / "own", 6)


@pytest.mark.long
def test_no_acknowledged_decision_is_lost_or_doubled_by_a_hundred_kills(folder: Path, tmp_path: Path) -> None:
    attack_and_check(folder, tmp_path / "own", KILLS)
