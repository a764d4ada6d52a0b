"""Review words: what a cell of a reviewer's column says about its row."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from enum import Enum


class Verdict(Enum):
    """What a person said about a row."""

    APPROVED = "approve"
    NO_MATCH = "no match"
    REJECTED = "reject"
    UNDECIDED = ""


# "None" is missing: that is how pandas may write an empty cell. Single letters may be a reviewer's initials.
_WORDS = {
    Verdict.APPROVED: """
        approve; approved; accept; accepted; agree; agreed; confirm; confirmed; correct; right; valid;
        validated; verified; ok; okay; good; yes; y; true; x; 1; +; ✓; ✔; ✅; ☑; √; 👍;
        ja; j; jawohl; wahr; richtig; korrekt; genehmigt; freigegeben; bestätigt;
        akkoord; goedgekeurd; juist; waar; oui; vrai; correcte; approuvé; validé;
        sí; si; verdadero; correcto; aprobado; validado; sim; verdadeiro; correto; aprovado; vero; corretto;
        approvato; kyllä; tosi; oikein; hyväksytty; godkänd; godkendt; godkjent; sant; sand; riktig;
        tak; prawda; ano; da; igen; evet; 是
    """,
    Verdict.NO_MATCH: """
        no match; nomatch; no matching concept; no concept; no standard concept; no mapping; no map;
        not mappable; unmappable; unmapped; not mapped; not in omop; no target;
        kein treffer; keine entsprechung; kein konzept; geen match; geen concept; pas de correspondance;
        aucune correspondance; sin correspondencia; ei vastinetta; ingen match; ingen träff
    """,
    Verdict.REJECTED: """
        reject; rejected; wrong; incorrect; false; no; n; 0; invalid; not ok; bad; disagree; disapproved;
        ✗; ✘; ❌; 👎; nein; falsch; abgelehnt; nee; fout; onjuist; onwaar; afgekeurd; non; faux; rejeté;
        incorrecte; falso; incorrecto; rechazado; não; nao; falsa; errado; rejeitado; errato; ei; väärin;
        epätosi; hylätty; nej; nei; fel; falskt; falsk; avvisad; forkert; feil; nie; ne; nem; 否
    """,
    Verdict.UNDECIDED: """
        -; /; .; na; n/a; nan; null; nil; n.a.; open; todo; to do; to review; review; in review;
        needs review; under review; unreviewed; not reviewed; unchecked; unsure; uncertain; unclear; unknown;
        maybe; later; pending; new; draft; proposed; suggested; candidate; discuss; question; skip; skipped;
        flag; flagged; ignore; ignored; not approved; auto; automatic; auto mapped; auto mapped to 1;
        invalid target; semi approved; offen; unklar; onbekend; open vraag; à revoir; pendiente; avoin; öppen
    """,
}


def _plain(text: str) -> str:
    """A cell without case, marks on letters, and what surrounds words: " No_Match! " is "no match"."""
    letters = unicodedata.normalize("NFKD", text.casefold().replace("\ufe0f", ""))
    without_marks = "".join(letter for letter in letters if not unicodedata.combining(letter))
    words = re.sub(r"[\s_\u00a0\u200b-]+", " ", without_marks).strip().strip("!.;:,'\"()[] ")
    if re.fullmatch(r"[01]\.0+", words):  # a number as pandas writes it in a column with gaps
        words = words[0]
    return words or without_marks.strip()


_VERDICTS = {_plain(word): verdict for verdict, words in _WORDS.items() for word in words.split(";")}


def read_verdict(text: str, approved_values: Collection[str] = ()) -> Verdict | None:
    """What a cell says; None if it says nothing that is understood.

    Args:
        text: the cell; case, spaces and punctuation around it do not matter.
        approved_values: the values that mean approved; all others except "no match" then mean undecided.
    """
    word = _plain(text)
    if "?" in text:
        return Verdict.UNDECIDED
    if approved_values:
        if word in {_plain(value) for value in approved_values}:
            return Verdict.APPROVED
        found = _VERDICTS.get(word)
        return found if found is Verdict.NO_MATCH else Verdict.UNDECIDED
    return _VERDICTS.get(word) if word else Verdict.UNDECIDED
