"""Site preferences: a site's conventions as a small correction of the shipped ranker's scores.

They are learned from what the site approved, from the first approval on, or chosen by hand.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from omop_emb.arrays import Doubles, Floats, Ints, Mask
from omop_emb.errors import UnknownValueError
from omop_emb.mapping.ranking.preference_columns import COLUMNS, preference_columns

CHOSEN_WEIGHT = 2.0
"""What a preference that is chosen by hand adds to a score; a learned one is seldom larger."""

_PENALTY = 1.0
"""Precision of the normal prior around 0: how many approvals it outweighs. Of 1, 3 and 10 the best at every
number of approvals, each family ranked by what the others taught."""

_YES_OR_NO = ("brand", "package", "method", "timing")
_APPLIES = {"brand": "drug", "package": "drug", "method": "property", "timing": "property"}
_LEVEL_WORDS = {
    "ingredient": "ingredients",
    "strength": "ingredients with a strength",
    "dose form": "ingredients with a dose form",
    "strength and dose form": "drugs with strength and dose form",
}
_KIND_WORDS = {
    "brand": "brand names",
    "package": "packages",
    "method": "tests with a stated method",
    "timing": "tests with a stated time",
    "use": "much used concepts",
}


@dataclass(frozen=True, eq=False)
class PreferenceExample:
    """The candidates of an approved name that the shipped ranker puts first, and those that were approved."""

    columns: Floats  # (p, len(COLUMNS))
    scores: Floats  # (p,) the shipped ranker's, without the memory
    is_target: Mask  # (p,)


@dataclass(frozen=True, eq=False)
class SitePreferences:
    """Weights of COLUMNS, added to a ranker's scores, and how often each holds for what was approved."""

    weights: Floats  # (columns,)
    counts: Ints  # (columns,) approved names whose concept has it
    chosen: tuple[str, ...] = ()  # by hand, such as "drug=ingredient"

    def score(self, features: Floats, domains: Sequence[str]) -> Floats:
        """(p,) what they add to the scores of (p, features) of candidates in the given domains."""
        active = np.flatnonzero(self.weights)
        return preference_columns(features, domains, active) @ self.weights[active]

    def reasons(self, own: tuple[Floats, str], rival: tuple[Floats, str] | None) -> dict[str, float]:
        """By reason, what they add to a candidate's score against its rival's; both as for compare()."""
        rows = [one for one in (own, rival) if one is not None]
        table = preference_columns(np.stack([features for features, _ in rows]), [name for _, name in rows])
        table = np.vstack([table, np.zeros((2 - len(rows), len(COLUMNS)), np.float32)])
        difference = (table[0] - table[1]) * self.weights
        result: dict[str, float] = {}
        for kind in dict.fromkeys(column.kind for column in COLUMNS):
            of_kind = [number for number, column in enumerate(COLUMNS) if column.kind == kind]
            total = float(difference[of_kind].sum())
            holder = table[0] if total > 0 or len(rows) == 1 else table[1]
            if total:
                # Of what the preferred one has if it has any, else of what the other one has.
                holders = (holder, table[1] if holder is table[0] else table[0])
                held = [[n for n in of_kind if one[n] and COLUMNS[n].value] for one in holders]
                result[self._reason(kind, held[0] or held[1])] = total
        return result

    def _reason(self, kind: str, held: Sequence[int]) -> str:
        by_hand = [text for text in self.chosen if text.startswith(f"{kind}=")]
        if by_hand:
            return f"chosen: {', '.join(by_hand)}"
        if not held or kind in ("use", "specimen"):
            return f"this site's preference: {_KIND_WORDS.get(kind, kind)}"
        column = COLUMNS[held[0]]
        same = [n for n, one in enumerate(COLUMNS) if (one.kind, one.value) == (kind, column.value)]
        basis = _APPLIES.get(kind, kind)
        whole = [n for n, one in enumerate(COLUMNS) if one.kind == basis and one.value]
        if column.domain:
            same, whole = ([n for n in part if COLUMNS[n].domain == column.domain] for part in (same, whole))
        count, total = (
            int(self.counts[[n for n in part if not COLUMNS[n].refines]].sum()) for part in (same, whole)
        )
        share = f"{count} of {max(count, total)}"
        if kind == "drug":
            return f"this site maps drugs to {_LEVEL_WORDS[column.value]}: {share}"
        if kind in _YES_OR_NO:
            return f"this site's {_KIND_WORDS[kind]}: {share}"
        where = f" in {column.domain}" if column.domain else ""
        return f"this site's {kind} {column.value}{where}: {share}"

    def choose(self, preferences: Sequence[str]) -> SitePreferences:
        """The same with preferences chosen by hand, each "kind=value"; see preference_values()."""
        weights = self.weights.copy()
        for text in preferences:
            kind, _, value = text.partition("=")
            sign = -1 if value == "no" else 1
            for number, column in enumerate(COLUMNS):
                if column.kind == kind and column.value in (value, "yes") and not column.refines:
                    weights[number] = sign * CHOSEN_WEIGHT
        return replace(self, weights=weights, chosen=tuple(preferences))


NO_PREFERENCES = SitePreferences(np.zeros(len(COLUMNS), np.float32), np.zeros(len(COLUMNS), np.int64))
"""With which the shipped ranker's scores stay as they are."""


def preference_values() -> list[str]:
    """Every preference that can be chosen by hand, such as "drug=ingredient" or "brand=no"."""
    values: dict[str, None] = {}
    for column in COLUMNS:
        if column.value:
            values[f"{column.kind}={column.value}"] = None
            if column.kind in _YES_OR_NO:
                values[f"{column.kind}=no"] = None
    return list(values)


def check_preferences(preferences: Sequence[str]) -> tuple[str, ...]:
    """The preferences as preference_values() spells them; UnknownValueError names the nearest known ones."""
    by_key = {value.casefold(): value for value in preference_values()}
    for text in preferences:
        if (key := str(text).casefold()) not in by_key:
            first_of_kind = {value.partition("=")[0]: value for value in reversed(by_key)}
            near = difflib.get_close_matches(key, by_key, n=3) or list(first_of_kind.values())[::-1]
            raise UnknownValueError("preference", str(text), [by_key[value] for value in near])
    return tuple(dict.fromkeys(by_key[text.casefold()] for text in preferences))


def learn_preferences(examples: Sequence[PreferenceExample]) -> SitePreferences:
    """The most likely weights: softmax over each name's candidates, normal prior around 0.

    Without an example, or with none that has an approved concept among its candidates, all are 0.
    """
    examples = [example for example in examples if example.is_target.any()]
    if not examples:
        return NO_PREFERENCES
    from scipy.optimize import minimize

    sizes = [len(example.scores) for example in examples]
    start = np.cumsum([0, *sizes[:-1]])
    owner = np.repeat(np.arange(len(examples)), sizes)
    columns = np.concatenate([example.columns for example in examples])
    base = np.concatenate([example.scores for example in examples]).astype(np.float64)
    is_target = np.concatenate([example.is_target for example in examples])

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        scores = base + columns @ weights.astype(np.float32)
        exponential = np.exp(scores - np.maximum.reduceat(scores, start)[owner])
        total = np.add.reduceat(exponential, start)
        targets = np.where(is_target, exponential, 0)
        hit = np.maximum(np.add.reduceat(targets, start), 1e-12)
        gap = (exponential / total[owner] - targets / hit[owner]).astype(np.float32)
        value = -np.log(hit / total).sum() + 0.5 * _PENALTY * (weights**2).sum()
        return float(value), np.asarray(gap @ columns + _PENALTY * weights, np.float64)

    solution = minimize(loss, np.zeros(len(COLUMNS)), jac=True, method="L-BFGS-B", options={"maxiter": 50})
    held = [example.columns[example.is_target].max(axis=0) > 0 for example in examples]
    return SitePreferences(solution.x.astype(np.float32), np.sum(held, axis=0, dtype=np.int64))
