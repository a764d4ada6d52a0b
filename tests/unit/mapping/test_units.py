"""Unit keys: everyday spellings of the commonest units of hospitals, and that no two units share a key."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from omop_emb.mapping.records import Variant
from omop_emb.mapping.retrieval.queries import Query
from omop_emb.mapping.terms.units import unit_key, unit_readings
from tests.unit.mapping.small_index import candidates_of, small_index

_TABLE = (Path(__file__).parent / "everyday_units.tsv").read_text(encoding="utf-8")
UNITS = [line.split("\t") for line in _TABLE.splitlines() if not line.startswith("#")]
SPELLINGS = [(code, name, written) for code, name, spellings in UNITS for written in spellings.split("  ")]


def test_the_table_holds_the_two_hundred_commonest_units() -> None:
    assert len(UNITS) >= 200


@pytest.mark.parametrize(("code", "name", "written"), SPELLINGS)
def test_everyday_spellings_have_the_key_of_their_unit(code: str, name: str, written: str) -> None:
    assert unit_key(code) == unit_key(name)
    assert unit_key(written) == unit_key(code)


def test_no_two_of_the_commonest_units_share_a_key() -> None:
    codes = defaultdict(set)
    for code, _, _ in UNITS:
        codes[unit_key(code)].add(code)
    assert [shared for shared in codes.values() if len(shared) > 1] == []


@pytest.mark.parametrize(
    "units",
    [
        "10*-3/dL  10*3/dL  10^-6/dL  10^6/dL  /dL  dL",
        "10^9/L  10^-9/L  10^3/uL  10^9/uL  10^6/L  10^12/L",
        "/fL  fL",
        "/uL  uL  /mm3  mm3",
        "mPa.s  mPa  mPas  Pa",
        "mV  MV  V  uV",
        "m  mm  m2  /m2  m-1",
        "mU/mL  MU/mL  U/mL  uU/mL  kU/mL",
        "mIU/mL  MIU/mL  IU/mL  U/mL",
        "G/L  g/L",
        "T/L  t/L",
        "pH  ph  Ph.u",
        "rad  RAD",
        "Ms  ms",
        "mOsm/kg H2O  mOsm/kg",
        "mg/g creat  mg/g  mg/mmol creat",
        "ug/mL FEU  ug/mL DDU  ug/mL",
        "mg/L  mg.L  mg  /L",
        "mg/24h  mg/12h  mg/h",
        "mil/mm3  million/mm3  thousand/mm3",
        "% w/v  % v/v  % w/w  %",
        "mm/h  mmHg  mm  mmol",
        "{wt}%{vol}  {vol}%{wt}",
        "{AU}  [arb'U]",
        "{hb}  g{HGB}",
        "S  s",
        "log copies/mL  copies/mL  copies/L",
        "mEq/L  Eq/L  ueq/L  mmol/L",
        "nM  nm  nmol",
        "< mg/L  > mg/L  mg/L",
    ],
)
def test_units_that_differ_have_different_keys(units: str) -> None:
    written = units.split("  ")
    assert len({unit_key(unit) for unit in written}) == len(written)


_SYMBOLS = """
    mg g kg ug ng pg L mL dL uL fL mmol umol nmol pmol mol m cm mm s ms min h U kU mU uU MU IU mIU uIU meq
    mosm kat ukat nkat Pa kPa V mV MV uV A mA J kJ MJ W mW Hz kHz MHz kBq MBq Gy mGy cGy
""".split()


@st.composite
def _ucum(draw: st.DrawFn) -> tuple[str, tuple[object, ...]]:
    """A UCUM code, and what it says: power of ten, numerator, denominator with its exponent.

    Units have no power, as OMOP writes a milliunit 10*-3.[U].
    """
    power = draw(st.integers(-12, 12).filter(lambda number: number != 0) | st.none())
    above, below = draw(st.sampled_from(_SYMBOLS) | st.none()), draw(st.sampled_from(_SYMBOLS) | st.none())
    if power is not None and above in ("U", "IU"):
        above = None
    exponent = draw(st.integers(1, 3)) if below else 0
    style = draw(st.sampled_from(["10*{}", "10^{}", "x10E{}", "x10^{}"]))
    factors = ([] if power is None else [style.format(power)]) + ([] if above is None else [above])
    numerator = (" " if style.startswith("x") else ".").join(factors)
    if above in ("U", "IU") and power is not None:
        power, above = (
            None,
            f"{power} {above}",
        )  # OMOP writes mU 10*-3.[U]: it is compared in a test of its own
    denominator = "" if below is None else f"/{below}" + ("" if exponent == 1 else str(exponent))
    return numerator + denominator, (power, above, below, exponent)


@given(_ucum(), _ucum())
def test_two_ucum_codes_share_a_key_only_if_they_say_the_same(
    one: tuple[str, tuple[object, ...]], other: tuple[str, tuple[object, ...]]
) -> None:
    assert (unit_key(one[0]) == unit_key(other[0])) == (one[1] == other[1])


@given(
    st.integers(-15, 15).filter(lambda number: abs(number) > 1),
    st.sampled_from(["10*{}", "10^{}", "x10E{}", "10**{}"]),
)
def test_no_sign_or_exponent_is_lost(power: int, style: str) -> None:
    assert unit_key(f"{style.format(power)}/L") == f"10^{power}/L"


@pytest.mark.parametrize(
    ("written", "keys"),
    [
        ("G", ("G", "g")),
        ("S", ("S", "s")),
        ("H", ("H", "h")),
        ("C", ("C", "Cel")),
        ("mg", ("mg",)),
        ("MG/DL", ("mg/dL",)),
        ("MU", ("MU",)),
        ("G/L", ("G/L",)),
        ("u", ("unified.atomic.mass.unit", "U")),
    ],
)
def test_capitals_that_may_be_shouted_have_both_readings(written: str, keys: tuple[str, ...]) -> None:
    assert unit_readings(written) == keys


def _found(term: str, *units: tuple[int, str, str, str]) -> set[int]:
    """Ids of the units that the retriever of units finds; units: id, vocabulary, code, name."""
    index = small_index(
        [
            {
                "concept_id": concept_id,
                "vocabulary_id": vocabulary,
                "concept_code": code,
                "concept_name": name,
                "domain_id": "Unit",
            }
            for concept_id, vocabulary, code, name in units
        ]
    )
    candidates = candidates_of(Query.of((Variant(term),), "Unit"), index)
    return set(index.lexicon.concept_id[candidates.concept[candidates.found_by["unit"]]].tolist())


def test_a_unit_of_ucum_stands_before_another_vocabularys_of_the_same_name() -> None:
    ucum = (8876, "UCUM", "mm[Hg]", "millimeter mercury column")
    snomed = (4118323, "SNOMED", "259018001", "mmHg")
    assert _found("mm Hg", ucum, snomed) == {8876}
    assert _found("mm Hg", snomed) == {4118323}


def test_another_sign_or_magnitude_is_not_found_as_the_same_unit() -> None:
    units = [(8938, "UCUM", "10*-3/uL", "thousandth per microliter"), (8583, "UCUM", "fL", "femtoliter")]
    assert _found("10*3/uL", *units) == set()
    assert _found("/fL", *units) == set()


@pytest.mark.parametrize("written", ["PUL", "pul", "MGDL", "mmoll", "UL", "MUL", "NGML"])
def test_a_quantity_and_its_volume_without_a_slash_are_read_or_left_alone(written: str) -> None:
    unit_readings(written)  # "pu" of "PUL" is no word: it must not cost the term
