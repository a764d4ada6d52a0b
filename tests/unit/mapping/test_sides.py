"""Which letters, abbreviations and words of other languages are a side of the body."""

from __future__ import annotations

import pytest

from omop_emb.mapping.terms.sides import write_sides


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("L knee OA", "left knee OA"),
        ("R. hip fracture", "right hip fracture"),
        ("r breast cancer", "right breast cancer"),
        ("OA knee L", "OA knee left"),
        ("OA knee, R", "OA knee, right"),
        ("X-ray knee (R)", "X-ray knee right"),
        ("XR knee [L]", "XR knee left"),
        ("XR-L-KNEE", "XR left KNEE"),
        ("Lt lower lobe pneumonia", "left lower lobe pneumonia"),
        ("fracture rt radius", "fracture right radius"),
        ("Rt-sided hemiparesis", "right sided hemiparesis"),
        ("bilat knee pain", "bilateral knee pain"),
        ("B/L hydronephrosis", "bilateral hydronephrosis"),
        ("L main coronary artery", "left main coronary artery"),
        ("Knie li.", "Knie left"),
        ("Shoulder Li", "Shoulder left"),
        ("Upper leg Re", "Upper leg right"),
        ("Li foot", "left foot"),
        ("R FEM ART", "right FEM ART"),
        ("Schulter re.", "Schulter right"),
        ("Fraktur Knie links", "Fraktur Knie left"),
        ("Heup rechts", "Heup right"),
        ("vasen polvi", "left polvi"),
        ("oikea käsi", "right käsi"),
        ("rodilla izq.", "rodilla left"),
        ("rodilla dcha", "rodilla right"),
        ("ambos ojos", "bilateral ojos"),
        ("mano dx", "mano right"),
        ("genu sin.", "genu left"),
        ("Gonarthrosis dx", "Gonarthrosis right"),
        ("frattura polso sx", "frattura polso left"),
        ("cataract OD", "cataract right"),
        ("visual acuity OS", "visual acuity left"),
        ("IOP OU", "IOP bilateral"),
        ("höger knä", "right knä"),
        ("genou gauche", "genou left"),
        ("fractura de mano sin desplazamiento", "fractura de mano without desplazamiento"),
        ("diabetes sin complicaciones", "diabetes without complicaciones"),
    ],
)
def test_a_side_is_written_out(written: str, meant: str) -> None:
    assert write_sides(written) == meant


@pytest.mark.parametrize(
    "text",
    [
        "dx: pneumonia",
        "Dx of diabetes",
        "knee dx",
        "new dx breast cancer",
        "Hand DX",
        "Tibia and Fibula DX",
        "Hoger onderwijs",
        "Nasal-Li",
        "Li-Albumin",
        "re-entry tachycardia",
        "fractuur van os sacrum",
        "L4 fracture",
        "L-dopa",
        "Vit D",
        "R wave",
        "OD on heroin",
        "1 tab OD",
        "OS",
        "RT-PCR",
        "RT for prostate cancer",
        "5 L of fluid",
        "2 l/min oxygen",
        "Aspirin (R)",
        "Volume (L)",
        "vas deferens",
        "re-admission",
        "der Patient",
        "sx of infection",
        "Hep B",
        "L5/S1 disc",
        "L-asparaginase",
        "sin",
        "R",
        "L",
    ],
)
def test_what_is_no_side_stays_as_it_is(text: str) -> None:
    assert write_sides(text) == text
