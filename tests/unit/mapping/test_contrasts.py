"""Contrasts between a term and a concept, and phrases that are none."""

from __future__ import annotations

import pytest

from omop_emb.mapping.retrieval.concept_attributes import concept_attributes
from omop_emb.mapping.terms import contrasts
from omop_emb.mapping.terms.flags import flags
from omop_emb.mapping.terms.words import normalise
from tests.unit.mapping.small_index import small_index

UNSPECIFIED = (
    "Arthritis, not elsewhere classified",
    "Arthritis, NEC",
    "Arthritis NOS",
    "Arthritis, not otherwise specified",
    "Arthritis, unspecified",
    "Arthritis (not stated)",
)


def flagged(term: str, concept: str, domain: str = "Condition", variant: str = "") -> list[str]:
    """The groups in which a term and a concept are said to differ."""
    return [flag.split(":")[0] for flag in flags(term, variant or term, concept, domain)]


@pytest.mark.parametrize("term", UNSPECIFIED)
def test_not_elsewhere_classified_and_the_like_are_no_negation(term: str) -> None:
    assert flagged(term, "Arthritis") == []
    assert flagged("Arthritis", term) == []


def test_a_negation_beside_such_a_phrase_counts() -> None:
    flag = flags("Coma, not elsewhere classified", "Coma", "Injury without coma", "Condition")[0]
    assert flag.startswith("negation: the concept says no")
    assert flagged("Arthritis not present", "Arthritis")


@pytest.mark.parametrize(
    ("term", "concept", "group"),
    [
        ("Fracture of left wrist", "Fracture of right wrist", "laterality"),
        ("L knee OA", "Osteoarthritis of right knee", "laterality"),
        ("Acute bronchitis", "Chronic bronchitis", "course"),
        ("Diabetes with complication", "Diabetes without complication", "negation"),
        ("Diabetes w/o complication", "Diabetes with complication", "negation"),
        ("diabetes sin complicaciones", "Diabetes with complication", "negation"),
        ("Family history of asthma", "History of asthma", "history"),
        ("FHx asthma", "Personal history of asthma", "history"),
        ("Benign tumor of skin", "Malignant tumor of skin", "tumor"),
        ("Open fracture of tibia", "Closed fracture of tibia", "open or closed"),
        ("Type 1 diabetes mellitus", "Type 2 diabetes mellitus", "type"),
        ("Diabetes mellitus type I", "Diabetes mellitus type II", "type"),
        ("Non-insulin dependent diabetes", "Insulin dependent diabetes", "type"),
        ("Female infertility", "Male infertility", "sex"),
        ("Asthma in children", "Adult asthma", "age"),
        ("Fetal distress", "Maternal distress", "age"),
        ("Primary hypertension", "Secondary hypertension", "primary or secondary"),
        ("Hyperparathyroidism", "Primary hyperparathyroidism", "primary or secondary"),
        ("Secondary cancer of lung", "Primary malignant neoplasm of lung", "primary or secondary"),
        ("Peanut IgE", "Peanut IgG", "immunoglobulin"),
        ("IgG4", "Immunoglobulin G", "immunoglobulin"),
        ("IgG subclass 4", "IgG subclass 1", "immunoglobulin"),
        ("Ig M rubella", "Rubella IgG", "immunoglobulin"),
        ("Upper GI bleeding", "Lower GI bleeding", "upper or lower"),
        ("Proximal femur fracture", "Distal femur fracture", "proximal or distal"),
        ("Anterior infarction", "Posterior infarction", "anterior or posterior"),
        ("Medial meniscus tear", "Lateral meniscus tear", "medial or lateral"),
        ("Internal hemorrhoids", "External hemorrhoids", "depth"),
        ("Fracture, initial encounter", "Fracture, subsequent encounter", "encounter"),
        ("Partial hip replacement", "Total hip replacement", "partial or complete"),
        ("Free thyroxine", "Total thyroxine", "free or total"),
        ("Testosterone", "Testosterone Free", "free or total"),
        ("Direct bilirubin", "Unconjugated bilirubin", "direct or indirect"),
        ("Systolic blood pressure", "Diastolic blood pressure", "pressure"),
        ("Temperature max", "Minimum temperature", "statistic"),
        ("Inspired oxygen", "Expired oxygen", "inspiratory or expiratory"),
        ("Hyperkalemia", "Hypokalemia", "high or low"),
        ("High potassium", "Hypokalemia", "high or low"),
        ("Increased appetite", "Decreased appetite", "high or low"),
        ("Suspected pneumonia", "Confirmed pneumonia", "certainty"),
        ("Screening mammography", "Diagnostic mammography", "purpose"),
        ("Insertion of catheter", "Removal of catheter", "action"),
    ],
)
def test_different_values_are_a_contrast(term: str, concept: str, group: str) -> None:
    assert group in flagged(term, concept)


@pytest.mark.parametrize(
    ("term", "concept"),
    [
        ("Diabetes with complication", "Diabetes mellitus with complication"),
        ("Diabetes", "Diabetes with hypertension"),
        ("Free thyroxine", "Thyroxine (T4) free"),
        ("Bilirubin", "Bilirubin total"),
        ("High blood pressure", "Hypertension"),
        ("Conjugated bilirubin", "Direct bilirubin"),
        ("Secondary malignant neoplasm of lung", "Metastatic malignant neoplasm to lung"),
        ("Immunoglobulin E", "IgE"),
        ("Cholesterol", "Cholesterol by Direct assay"),
        ("Spinal stenosis", "Stenosis of spine"),
        ("Respiratory failure", "Failure of lung"),
        ("Hypopharynx cancer", "Cancer of pharynx with hyperplasia"),
        ("Left against medical advice", "Discharge against medical advice"),
        ("Mammography", "Diagnostic mammography"),
        ("Malignant neoplasm of prostate", "Primary malignant neoplasm of prostate"),
        ("Primary prostate cancer", "Primary malignant neoplasm of prostate"),
        ("Acute kidney failure", "Acute kidney injury"),
        ("Non-operative - Anemia", "Anemia"),
        ("Hypertension secondary to drug", "Drug-induced hypertension"),
    ],
)
def test_the_same_in_other_words_is_no_contrast(term: str, concept: str) -> None:
    assert flagged(term, concept) == []


@pytest.mark.parametrize(
    ("term", "variant", "concept"),
    [
        ("COPD", "chronic obstructive pulmonary disease", "Chronic obstructive pulmonary disease"),
        ("h/o asthma", "history of asthma", "History of asthma"),
        ("R knee OA", "right knee osteoarthritis", "Osteoarthritis of right knee"),
        ("AML", "acute myeloid leukemia", "Acute myeloid leukemia"),
        ("NIDDM", "type 2 diabetes mellitus", "Type 2 diabetes mellitus"),
        ("UGIB", "upper gastrointestinal bleeding", "Upper gastrointestinal bleeding"),
        ("akute Bronchitis links", "acute bronchitis left", "Acute bronchitis"),
    ],
)
def test_flags_look_at_the_form_that_matched(term: str, variant: str, concept: str) -> None:
    assert "course" not in flagged(term, concept, variant=variant)
    assert [group for group in flagged(term, concept, variant=variant) if group != "laterality"] == []


def test_a_part_that_matched_does_not_hide_what_the_term_says() -> None:
    assert "laterality" in flagged(
        "Wrist fracture; left", "Fracture of right wrist", variant="Wrist fracture"
    )


@pytest.mark.parametrize(
    ("term", "concept", "is_default"),
    [
        ("Magnesium", "Magnesium [Mass/volume] in Serum or Plasma", True),
        ("Magnesium", "Magnesium [Mass/volume] in Blood", True),
        ("Magnesium", "Magnesium [Mass/volume] in Urine", False),
        ("Magnesium", "Magnesium [Mass/time] in 24 hour Urine", False),
        ("Magnesium", "Magnesium [Mass/mass] in Red Blood Cells", False),
        ("Magnesium", "Magnesium [Mass/volume] in Water", False),
        ("Magnesium", "Magnesium [Mass/mass] in Hair", False),
        ("Glucose", "Glucose [Mass/volume] in Serum or Plasma", True),
        ("Glucose", "Glucose [Mass/volume] in Blood", True),
        ("Glucose", "Glucose [Mass/volume] in Cerebral spinal fluid", False),
        ("Glucose", "Glucose [Mass/volume] in Body fluid", False),
        ("Hemoglobin", "Hemoglobin [Mass/volume] in Blood", True),
        ("Hemoglobin", "Hemoglobin [Mass/volume] in Plasma", False),
        ("Hemoglobin", "Hemoglobin [Presence] in Urine by Test strip", False),
        ("Leukocytes", "Leukocytes [#/volume] in Blood by Automated count", True),
        ("Leukocytes", "Leukocytes [#/volume] in Synovial fluid", False),
        ("Creatinine", "Creatinine [Mass/volume] in Venous blood", True),
        ("Clozapine (blood)", "cloZAPine [Mass/volume] in Serum or Plasma", True),
        ("Hemoglobin (blood)", "Hemoglobin [Mass/volume] in Plasma", False),
        ("ART BP Systolic", "Systolic blood pressure", True),
        ("Spont Resp rate", "Respiratory rate", True),
        ("Lactate", "Lactate [Moles/volume] in Cord blood", False),
        ("U-Magnesium", "Magnesium [Mass/volume] in Urine", True),
        ("Magnesium, urine", "Magnesium [Mass/volume] in Urine", True),
    ],
)
def test_a_concept_of_another_specimen_than_the_default_is_flagged(
    term: str, concept: str, is_default: bool
) -> None:
    assert ("specimen" not in flagged(term, concept, "Measurement")) == is_default


def test_specimens_are_compared_in_measurements_only() -> None:
    assert flagged("Tuberculosis", "Tuberculosis of lung with sputum positive") == []


def test_a_concept_has_the_bits_of_a_term_with_the_same_words() -> None:
    names = [
        *UNSPECIFIED,
        "Injury without coma",
        "Not for use, not elsewhere classified",
        "Left leg",
        "Family history of cancer",
        "Type 2 diabetes with high blood pressure",
        "Hypokalemia of hypopharynx",
        "IgG subclass 4 [Mass/volume] in Serum",
        "Magnesium in Red Blood Cells",
        "Insertion of catheter",
    ]
    index = small_index(
        [{"concept_id": number, "concept_name": name} for number, name in enumerate(names, start=1)]
    )
    bits = concept_attributes(index).contrasts.tolist()
    assert bits == [contrasts.pack(contrasts.bits(normalise(name))).tolist() for name in index.lexicon.names]
    assert [name for name, of_name in zip(names, bits, strict=True) if any(of_name)] == names[-9:]
