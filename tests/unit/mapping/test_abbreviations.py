"""Abbreviations, however they are written, and words that are none."""

from __future__ import annotations

import pytest

from omop_emb.mapping.terms.variants import query_variants


def meanings(text: str, domain: str | None = None) -> list[str]:
    return [variant.text.lower() for variant in query_variants(text, domain=domain, limit=12)]


# Meaning -> spellings, separated by "|", each with the domain after ">" if it needs one.
KNOWN = {
    "atrial fibrillation": "A.Fib|a fib|A-fib|AFib|AFIB|A. fib|a.fib.",
    "history of asthma": "h/o asthma|H/O asthma|h.o. asthma|H.O asthma",
    "status post mastectomy": "s/p mastectomy|s.p. mastectomy|S.P. mastectomy",
    "complaining of cough": "c/o cough|C/O COUGH",
    "rule out asthma": "r/o asthma|R.O. asthma",
    "asthma with cough": "asthma w/ cough|asthma w/cough",
    "asthma without cough": "asthma w/o cough|ASTHMA W/O COUGH",
    "congestive heart failure": "CHF|C.H.F.|C.H.F|C H F|c.h.f.|C-H-F",
    "type 2 diabetes mellitus": "T2DM|T 2 DM|T2 DM|T-2-DM|DM2|DM-2|dm 2",
    "diabetes mellitus type 2": "D.M. type 2|DM type 2",
    "hypertension": "HTN|H.T.N|H.T.N.|h t n",
    "chronic obstructive pulmonary disease": "COPD|C.O.P.D.|copd",
    "blood pressure": "BP|B.P.|B P|b.p",
    "cancer antigen 125": "CA-125|CA125|CA 125|ca 125",
    "hepatitis b": "Hep-B|hep b|HepB|Hep. B",
    "helicobacter pylori": "H. pylori|H pylori|h-pylori",
    "escherichia coli": "E. coli|E.coli|E-coli",
    "clostridioides difficile": "C.diff|c diff|C-diff",
    "cesarean section": "C-section|c section",
    "lumbar spine fracture": "L-spine fracture|L spine fracture",
    "congestive heart failure/chronic obstructive pulmonary disease": "CHF/COPD",
    "twice daily": "b.i.d.>Drug|BID>Drug|b i d>Drug",
    "intravenous": "i.v.>Drug|IV>Procedure",
    "once daily": "o.d.>Drug|OD>Drug",
    "overdose": "o.d.>Condition|OD>Condition",
    "nausea and vomiting": "n/v|N/V",
    "natriuretic peptide b prohormone n-terminal": "NT-proBNP|NT proBNP|NTproBNP",
    "alkaline phosphatase": "alk phos|alk. phos.|ALK-PHOS",
    "severe aortic stenosis": "Severe AS>Condition|SEVERE AS>Condition",
    "ultrasonography abdomen": "US abdomen>Procedure|U/S abdomen",
    "acute lymphoblastic leukemia in remission": "ALL in remission>Condition",
    "left knee osteoarthritis": "L knee OA|(L) knee OA|Lt. knee O.A.",
    "right hip osteoarthritis": "R. hip OA|rt hip OA",
    "systemic lupus erythematosus": "SLE|S.L.E.|s. l. e.",
    "myocardial infarction": "M.I.>Condition|MI>Condition",
}


@pytest.mark.parametrize(
    ("written", "meaning"),
    [(written, meaning) for meaning, spellings in KNOWN.items() for written in spellings.split("|")],
)
def test_an_abbreviation_is_known_however_it_is_written(written: str, meaning: str) -> None:
    text, _, domain = written.partition(">")
    assert meaning in meanings(text, domain or None)


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("a fibroma", None),
        ("pain in r leg", None),
        ("as above", "Condition"),
        ("such as asthma", "Condition"),
        ("PAIN OR SWELLING", None),
        ("ALL EXTREMITIES COLD", "Condition"),
        ("pain in all joints", "Condition"),
        ("he is well", None),
        ("it hurts", None),
        ("am cortisone", None),
        ("or if needed", None),
        ("Aspirin 500 mg", "Measurement"),
        ("Glucose mg/dL", "Measurement"),
        ("Cancer stage IV", "Drug"),
        ("factor II", None),
        ("he pain", None),
        ("vitamin as tablets", "Condition"),
    ],
)
def test_words_units_and_numbers_are_no_abbreviation(text: str, domain: str | None) -> None:
    assert [
        variant for variant in query_variants(text, domain=domain) if variant.rule == "abbreviation"
    ] == []


def test_initials_that_no_table_knows_are_joined() -> None:
    assert "xyz syndrome" in meanings("X.Y.Z. syndrome")
    assert meanings("B.cepacia")[0] == "b.cepacia"
