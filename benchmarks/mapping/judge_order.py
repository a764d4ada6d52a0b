"""What a simulated judge of known accuracy does to recall@1, always first or weighed against the ranker.

    PYTHONPATH=. python benchmarks/mapping/judge_order.py

Prints the mean over seeds, for judges that know the answer for a share of terms and for some that know
nothing. Nothing is read or sent.
"""

from __future__ import annotations

import numpy as np

from omop_emb.mapping.judge.judge_calibration import learn_judge
from tests.unit.mapping.test_judge_calibration import judged_terms, rights

_SEEDS, _LEARNED_FROM, _MEASURED_ON = 6, (150, 1_000), 3_000
_JUDGES: dict[str, tuple[float | None, str]] = {
    **{f"knows {share:.0%}": (share, "") for share in (0.2, 0.3, 0.5, 0.7, 0.9)},
    "picks similar names": (None, "similar"),
    "picks by place": (None, "first"),
    "picks anything": (None, ""),
}


def main() -> None:
    """Measure every judge and print a table."""
    print("judge                approvals  ranker  always first  weighed  worst gain")
    for judge, (accuracy, pick) in _JUDGES.items():
        for count in _LEARNED_FROM:
            before, always, after = np.array([_measure(accuracy, pick, count, n) for n in range(_SEEDS)]).T
            print(
                f"{judge:20} {count:9,} {before.mean():7.3f} {always.mean():13.3f} {after.mean():8.3f} "
                f"{(after - before).min():+11.3f}"
            )


def _measure(accuracy: float | None, pick: str, count: int, seed: int) -> tuple[float, float, float]:
    calibration, _ = learn_judge(judged_terms(count, accuracy, seed=100 + seed, pick=pick))
    terms = judged_terms(_MEASURED_ON, accuracy, seed=200 + seed, pick=pick)
    before, after = rights(terms, calibration)
    always = [
        bool(own if term.chosen is None else term.is_target[term.chosen])
        for term, own in zip(terms, before, strict=True)
    ]
    return float(before.mean()), float(np.mean(always)), float(after.mean())


if __name__ == "__main__":
    main()
