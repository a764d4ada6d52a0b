"""Pages: the search page and the concept card, for people; fragments of them for the page's own script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse

from omop_emb.errors import OmopEmbError
from omop_emb.records import ConceptFilter
from omop_emb.service import Completion, concept_card
from omop_emb.web.page_templates import render
from omop_emb.web.problems import KINDS, problem_of
from omop_emb.web.rest.parameters import ConceptId
from omop_emb.web.state import ServerState, server_state

router = APIRouter(include_in_schema=False)

_HITS, _MOST_HITS = 10, 100
_COMPLETIONS = 8
_RELATIVES = 15

_Text = Annotated[str, Query(max_length=1_000)]
_Values = Annotated[list[str] | None, Query(max_length=50)]


class Question:
    """What the search form asks: a text and a filter, as a query of an address."""

    def __init__(
        self,
        q: _Text = "",
        domain: _Values = None,
        vocabulary: _Values = None,
        concept_class: _Values = None,
        standard: bool = True,
        k: Annotated[int, Query(ge=1, le=_MOST_HITS)] = _HITS,
    ) -> None:
        self.text, self.k, self.standard = q.strip(), k, standard
        self.values = {"domain": domain, "vocabulary": vocabulary, "concept_class": concept_class}

    def selected(self, name: str) -> tuple[str, ...]:
        """The values of a filter that are chosen."""
        return tuple(filter(None, self.values[name] or ()))

    @property
    def concept_filter(self) -> ConceptFilter:
        """The filter."""
        return ConceptFilter(
            domains=self.selected("domain") or None,
            vocabularies=self.selected("vocabulary") or None,
            concept_classes=self.selected("concept_class") or None,
            standard_only=self.standard,
            valid_only=self.standard,
        )

    @property
    def is_filtered(self) -> bool:
        """Whether the filter leaves anything out that is standard."""
        return any(map(self.selected, self.values))

    def address(self, root: str, **changed: Any) -> str:
        """The page's address for this question, with some values changed."""
        pairs = [("q", self.text), *((name, one) for name in self.values for one in self.selected(name))]
        if not self.standard:
            pairs.append(("standard", "false"))
        kept = [(name, value) for name, value in pairs if name not in changed]
        return f"{root}/?{urlencode([*kept, *changed.items()])}"


@router.get("/")
async def search_page(request: Request, question: Annotated[Question, Depends()]) -> HTMLResponse:
    """The search page, with results if there is a question."""
    state = server_state(request)
    contents, results, status = None, {}, 200
    try:
        contents = await state.run(state.finder.contents)
        results = await _results(request, state, question)
    except OmopEmbError as error:
        kind, problem = problem_of(error)
        results, status = _no_results(request, question) | {"problem": problem}, KINDS[kind].status
    html = render(
        request,
        "search.html",
        query=question.text,
        standard=question.standard,
        release=contents.vocabulary if contents else "",
        filters=[
            {
                "name": name,
                "label": label,
                "options": getattr(contents, attribute) if contents else question.selected(name),
                "selected": question.selected(name),
            }
            for name, label, attribute in (
                ("domain", "Domain", "domains"),
                ("vocabulary", "Vocabulary", "vocabularies"),
                ("concept_class", "Class", "concept_classes"),
            )
        ],
        **results,
    )
    return HTMLResponse(html, status)


@router.get("/results")
async def results_fragment(request: Request, question: Annotated[Question, Depends()]) -> HTMLResponse:
    """The results alone."""
    return HTMLResponse(
        render(request, "results.html", **await _results(request, server_state(request), question))
    )


@router.get("/completions")
async def completions(request: Request, question: Annotated[Question, Depends()]) -> dict[str, Any]:
    """Names that begin as the text does."""
    state = server_state(request)
    found: Sequence[Completion] = ()
    if question.text:
        found = await state.run(
            state.finder.complete, question.text, concept_filter=question.concept_filter, k=_COMPLETIONS
        )
    return {
        "completions": [
            {
                "id": str(one.concept.concept_id),
                "text": one.text,
                "name": one.concept.concept_name,
                "domain": one.concept.domain_id,
            }
            for one in found
        ]
    }


@router.get("/concept/{concept_id}")
async def concept_page(request: Request, concept_id: ConceptId) -> HTMLResponse:
    """A concept as a page of its own."""
    state = server_state(request)
    card, problem, status = None, "", 200
    try:
        card = await state.query(concept_card, concept_id, limit=_RELATIVES)
    except OmopEmbError as error:
        kind, problem = problem_of(error)
        status = KINDS[kind].status
    return HTMLResponse(render(request, "concept.html", release="", card=card, problem=problem), status)


@router.get("/concept/{concept_id}/card")
async def concept_fragment(request: Request, concept_id: ConceptId) -> HTMLResponse:
    """The card alone."""
    card = await server_state(request).query(concept_card, concept_id, limit=_RELATIVES)
    return HTMLResponse(render(request, "card.html", card=card))


def _no_results(request: Request, question: Question) -> dict[str, Any]:
    root = request.scope.get("root_path", "")
    return {
        "found": None,
        "more": None,
        "problem": "",
        "filtered": question.is_filtered,
        "link": lambda **changed: question.address(root, **changed),
    }


async def _results(request: Request, state: ServerState, question: Question) -> dict[str, Any]:
    results = _no_results(request, question)
    if question.text:
        found = await state.run(
            state.finder.find,
            question.text,
            concept_filter=question.concept_filter,
            k=question.k,
            explain=True,
        )
        results["found"] = found
        if len(found.concepts) == question.k < _MOST_HITS:
            results["more"] = min(question.k + _HITS, _MOST_HITS)
    return results
