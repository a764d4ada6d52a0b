"""Made-up names: drugs, findings and laboratory tests with the lengths and near-twins of real ones.

A name is a function of its number, so that any part of a vocabulary can be made without the rest. Words of
ingredients, brands and suppliers are syllables; only words that everybody uses are real.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Words = NDArray[np.object_]

DRUG_VARIANTS = 16
"""Drugs of the same ingredients, strength and form, side by side: plain, in boxes, branded, by suppliers."""

_DRUGS_PER_GROUP = 9  # three strengths in three forms, of the same ingredients


def mix(numbers: Numbers | int, salt: int = 0) -> NDArray[np.uint64]:
    """A random 64-bit number for each number and salt, always the same (splitmix64)."""
    with np.errstate(over="ignore"):
        value = np.asarray(numbers).astype(np.uint64) + np.uint64((salt * 0x9E3779B97F4A7C15 + 1) % 2**64)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return value ^ (value >> np.uint64(31))


def pick(words: Words, numbers: Numbers, salt: int) -> Words:
    """A word for each number."""
    return words[mix(numbers, salt) % np.uint64(len(words))]


def _words(text: str) -> Words:
    return np.array(text.split("|"), object)


_SYLLABLES = np.array([a + b for a in "bcdfglmnprstvz" for b in ("a", "e", "i", "o", "u", "y")], object)
_ENDINGS = _words("mab|pril|statin|cillin|olol|azole|idine|amide|oxacin|sartan|tide|vir|one|ine|ate|um")
_FORMS = _words(
    "Oral Tablet|Oral Capsule|Extended Release Oral Tablet|Injectable Solution|Topical Cream|Oral Solution|"
    "Injection|Prefilled Syringe|Oral Suspension|Ophthalmic Solution|Transdermal System|Rectal Suppository|"
    "Metered Dose Inhaler|Topical Ointment|Nasal Spray|Oral Powder"
)
_STRENGTHS = _words(
    "0.5|1|2|2.5|5|7.5|10|12.5|20|25|30|40|50|75|80|100|125|150|200|250|300|400|500|600|800|1000"
)
_BOXES = _words("1|5|6|7|10|14|20|28|30|50|56|60|90|100|200")
_QUANTITIES = _words("0.5|1|2|3|5|10|20|50|100")


def _spelt(numbers: Numbers, salt: int, endings: Words | None) -> Words:
    """Pronounceable words: two or three syllables and an ending."""
    value = mix(numbers, salt)
    count = np.uint64(len(_SYLLABLES))
    word = _SYLLABLES[value % count] + _SYLLABLES[value // count % count]
    third = _SYLLABLES[value // count ** np.uint64(2) % count]
    word = np.where(value >> np.uint64(63), word + third, word)
    if endings is not None:
        word = word + endings[value // count ** np.uint64(3) % np.uint64(len(endings))]
    return word


def drug_names(numbers: Numbers) -> list[str]:
    """Names like those of RxNorm Extension: "10 ML x 5 MG/ML Injection [Y] Box of 10 by Z"."""
    variant, drug = numbers % DRUG_VARIANTS, numbers // DRUG_VARIANTS
    group, kind = drug // _DRUGS_PER_GROUP, drug % _DRUGS_PER_GROUP
    form = pick(_FORMS, group * 3 + kind // 3, 3)
    ingredients = 1 + (mix(group, 1) % np.uint64(20) >= 15).astype(int) + (mix(group, 2) % np.uint64(20) == 0)
    strength = _strengths(group, kind, 0, form)
    text = _spelt(group, 4, _ENDINGS) + strength
    for further in (1, 2):
        other = (mix(group, 4 + further) % (group.astype(np.uint64) + np.uint64(1))).astype(np.int64)
        more = " / " + _spelt(other, 4, _ENDINGS) + _strengths(group, kind, further, form)
        text = np.where(ingredients > further, text + more, text)
    text = text + " " + form
    is_liquid = np.array(["Sol" in one or "Inj" in one or "Syr" in one for one in form])
    has_quantity = is_liquid & (variant % 2 == 1)
    text = np.where(has_quantity, pick(_QUANTITIES, drug, 7) + " ML " + text, text)
    brand = (
        " [" + np.array([one.capitalize() for one in _spelt(group * 4 + variant // 4, 8, None)], object) + "]"
    )
    text = np.where(variant >= 4, text + brand, text)
    text = np.where(variant % 4 != 0, text + " Box of " + pick(_BOXES, drug * 4 + variant % 4, 9), text)
    supplier = mix(numbers, 10).astype(np.int64) % 2000
    by = " by " + np.array([one.capitalize() for one in _spelt(supplier, 11, None)], object)
    return list(np.where(variant >= 8, text + by, text))


def _strengths(group: Numbers, kind: Numbers, ingredient: int, form: Words) -> Words:
    start = mix(group, 20 + ingredient) % np.uint64(len(_STRENGTHS))
    strength = _STRENGTHS[(start + (kind % 3).astype(np.uint64)) % np.uint64(len(_STRENGTHS))]
    unit = np.array([" MG/ML" if "Sol" in one or "Inj" in one else " MG" for one in form], object)
    return " " + strength + unit


_SIDES = {
    "en": _words("left |right |bilateral ||||"),
    "es": _words("izquierdo |derecho |bilateral ||||"),
    "de": _words("linken |rechten |beidseitigen ||||"),
    "fr": _words("gauche |droit |bilatéral ||||"),
}
_FINDINGS = {
    "en": _words(
        "fracture|inflammation|malignant neoplasm|benign neoplasm|ulcer|stenosis|abscess|haemorrhage|pain|"
        "injury|burn|infection|oedema|necrosis|deformity|foreign body|contusion|laceration|atrophy|excision|"
        "repair|biopsy"
    ),
    "es": _words(
        "fractura|inflamación|neoplasia maligna|neoplasia benigna|úlcera|estenosis|absceso|hemorragia|dolor|"
        "lesión|quemadura|infección|edema|necrosis|deformidad|cuerpo extraño|contusión|laceración|atrofia|"
        "escisión|reparación|biopsia"
    ),
    "de": _words(
        "Fraktur|Entzündung|bösartige Neubildung|gutartige Neubildung|Ulkus|Stenose|Abszess|Blutung|Schmerz|"
        "Verletzung|Verbrennung|Infektion|Ödem|Nekrose|Deformität|Fremdkörper|Prellung|Risswunde|Atrophie|"
        "Exzision|Reparatur|Biopsie"
    ),
    "fr": _words(
        "fracture|inflammation|tumeur maligne|tumeur bénigne|ulcère|sténose|abcès|hémorragie|douleur|lésion|"
        "brûlure|infection|œdème|nécrose|déformation|corps étranger|contusion|lacération|atrophie|excision|"
        "réparation|biopsie"
    ),
}
_SITES = {
    "en": _words(
        "femur|tibia|humerus|radius|lung|kidney|liver|stomach|colon|bladder|brain|eye|ear|hand|foot|knee|hip|"
        "shoulder|spine|skin|breast|thyroid|pancreas|heart|artery|vein|tongue|larynx|oesophagus|rectum"
    ),
    "es": _words(
        "fémur|tibia|húmero|radio|pulmón|riñón|hígado|estómago|colon|vejiga|cerebro|ojo|oído|mano|pie|rodilla|"
        "cadera|hombro|columna|piel|mama|tiroides|páncreas|corazón|arteria|vena|lengua|laringe|esófago|recto"
    ),
    "de": _words(
        "Femur|Tibia|Humerus|Radius|Lunge|Niere|Leber|Magen|Kolon|Blase|Gehirn|Auge|Ohr|Hand|Fuß|Knie|Hüfte|"
        "Schulter|Wirbelsäule|Haut|Brust|Schilddrüse|Pankreas|Herz|Arterie|Vene|Zunge|Larynx|Ösophagus|Rektum"
    ),
    "fr": _words(
        "fémur|tibia|humérus|radius|poumon|rein|foie|estomac|côlon|vessie|cerveau|œil|oreille|main|pied|genou|"
        "hanche|épaule|rachis|peau|sein|thyroïde|pancréas|cœur|artère|veine|langue|larynx|œsophage|rectum"
    ),
}
_OF = {"es": " de ", "de": " von ", "fr": " de "}
_QUALIFIERS = _words(
    "Acute |Chronic |Open |Closed |Recurrent |Severe |Traumatic |Congenital |Primary |Secondary |||||"
)
_PARTS = _words("|shaft of |upper part of |lower part of |neck of |wall of |distal end of |proximal end of ")
_CAUSES = _words("|| caused by | due to | following | associated with ")


def finding_names(numbers: Numbers, language: str = "en", variant: int = 0) -> list[str]:
    """Names like SNOMED's: "Acute ulcer of wall of left stomach due to Fevapril"; a variant is a synonym."""
    finding, site = pick(_FINDINGS[language], numbers, 30), pick(_SITES[language], numbers, 33)
    site = pick(_SIDES[language], numbers, 32) + site
    agent = _spelt((mix(numbers, 35) % np.uint64(3000)).astype(np.int64), 36, None)
    if language != "en":
        return [one[:1].upper() + one[1:] for one in finding + _OF[language] + site + ", " + agent]
    site = pick(_PARTS, numbers, 31) + site
    cause = pick(_CAUSES, numbers, 34)
    agent = np.where(cause != "", cause + agent, "")
    # So many causes alone would make twins; a stage or grade tells further ones apart.
    stage = (mix(numbers, 37) % np.uint64(40)).astype(np.int64)
    grade = np.where(stage < 12, " (grade " + stage.astype(str).astype(object) + ")", "")
    text = finding + " of " + site if variant == 0 else site + " " + finding
    text = pick(_QUALIFIERS, numbers, 38) + text + agent + grade
    return [one[:1].upper() + one[1:] for one in text]


_PROPERTIES = _words(
    "Mass/volume|Moles/volume|Presence|Units/volume|Enzymatic activity/volume|Ratio|#/volume"
)
_SYSTEMS = _words("Serum or Plasma|Blood|Urine|Serum|Cerebral spinal fluid|Body fluid|Stool|Saliva|Specimen")
_METHODS = _words(
    "||| by Immunoassay| by Molecular method| by Automated count| by Test strip| by Electrophoresis"
)
_TIMES = _words("|||| --post dose| --1 hour post meal| --baseline| in 24 hour")


def laboratory_names(numbers: Numbers, variant: int = 0) -> list[str]:
    """Names like LOINC's: "Xylase Ab [Presence] in Serum by Immunoassay"; a variant is a synonym."""
    analyte = _spelt(numbers // 7, 40, _words("ase|in|ol| Ab| Ag| RNA|ide|ine"))
    analyte = np.array([one[:1].upper() + one[1:] for one in analyte], object)
    shape = numbers % 7 + numbers // 7 * 3
    system, method = pick(_SYSTEMS, shape, 42), pick(_METHODS, shape, 43)
    if variant:
        return list(analyte + " " + system + method)
    text = analyte + " [" + pick(_PROPERTIES, shape, 41) + "] in " + system + method
    return list(text + pick(_TIMES, shape, 44))


def package_names(numbers: Numbers, drugs: Numbers) -> list[str]:
    """Names of packages, in capitals and abbreviated, of the drugs with these numbers."""
    short = {" MG": "MG", "Oral Tablet": "TAB", "Oral Capsule": "CAPS", "Injectable Solution": "INJ SOLN"}
    names = []
    for number, name in zip(numbers.tolist(), drug_names(drugs - drugs % DRUG_VARIANTS), strict=True):
        for long, shorter in short.items():
            name = name.replace(long, shorter)
        names.append(f"{name.upper()} {number % 977} EA")
    return names
