"""MCP server: the tools and resources of an assistant, in the protocol of the official SDK."""

from __future__ import annotations

import difflib
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import (
    ResourceError,
    ResourceNotFoundError,
    ToolError,
    UnexpectedToolError,
)
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, InputRequiredResult, ToolAnnotations
from pydantic import ValidationError

import omop_emb
from omop_emb.errors import OmopEmbError, UnknownConceptError
from omop_emb.service import vocabulary_overview
from omop_emb.web.assistant.assistant_backend import Backend
from omop_emb.web.assistant.assistant_tools import AssistantTools, concept_document
from omop_emb.web.assistant.tool_models import VocabularyDocument

_LOGGER = logging.getLogger("omop_emb.web")
_INSTRUCTIONS = """\
Finds and maps clinical terms to concepts of the OMOP vocabulary that is loaded on this server.

Use search for one term, map_terms for a list of terms to map, and get_concept, get_hierarchy or find_similar
to judge a candidate. Take concept ids from answers only, never from memory. A probability is calibrated and
belongs to the first candidate; null means unknown. Show warnings. Mappings are suggestions that a person
approves.
"""
_READ_ONLY = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
_TITLES = {
    "search": "Find OMOP concepts",
    "fetch": "Read a concept",
    "map_terms": "Suggest mappings",
    "get_concept": "Get a concept",
    "get_hierarchy": "List a concept's relatives",
    "find_similar": "Find similar concepts",
}
_MOST_ERRORS = 3
Shown = Callable[[OmopEmbError], str]


def mcp_server(backend: Backend, *, shown: Shown = str) -> MCPServer[Any]:
    """A server over a backend.

    Args:
        backend: the process's search and database.
        shown: makes the line that clients see of an error; by default its own text.
    """
    # Its records may hold terms, such as those of a request that cannot be read.
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
    tools = AssistantTools(backend)
    server = _Server(
        "omop-emb",
        title="omop-emb",
        description="Finds and maps clinical terms to OMOP concepts.",
        instructions=_INSTRUCTIONS,
        version=omop_emb.__version__,
        tools=[_tool(getattr(tools, name), title, shown) for name, title in _TITLES.items()],
        subscriptions=False,  # nothing changes that a client could wait for
        log_level="CRITICAL",
    )
    _add_resources(server, backend, shown)
    return server


class _Server(MCPServer[Any]):
    """A server whose tools refuse unknown arguments, and whose errors are one plain line."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        schemas = {tool.name: tool.input_schema for tool in await self.list_tools()}
        if name not in schemas:
            raise ToolError(_unknown("tool", name, schemas))
        for argument in arguments:
            if argument not in schemas[name]["properties"]:
                raise ToolError(_unknown("argument", argument, schemas[name]["properties"]))
        try:
            return await super().call_tool(name, arguments, context)
        except UnexpectedToolError as error:
            raise ToolError(_unexpected(error.__cause__)) from error
        except ToolError as error:
            cause = error.__cause__
            if isinstance(cause, ValidationError):
                raise ToolError(_invalid(cause)) from error
            raise ToolError(str(cause or error)) from error


def _tool(function: Callable[..., Awaitable[Any]], title: str, shown: Shown) -> Tool:
    tool = Tool.from_function(
        _readable(function, shown),
        title=title,
        description=inspect.cleandoc(function.__doc__ or ""),
        annotations=_READ_ONLY,
        structured_output=True,
    )
    tool.parameters["additionalProperties"] = False
    return tool


def _readable(function: Callable[..., Awaitable[Any]], shown: Shown) -> Callable[..., Awaitable[Any]]:
    """A tool whose errors of ours are answers for the assistant."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except OmopEmbError as error:
            raise ToolError(_one_line(shown(error))) from error

    call.__name__ = function.__name__
    call.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined] # as wraps()
    return call


def _add_resources(server: MCPServer[Any], backend: Backend, shown: Shown) -> None:
    @server.resource(
        "omop://concept/{concept_id}",
        name="concept",
        title="A concept",
        description="Names, status, mappings and hierarchy of a concept, by its id.",
        mime_type="application/json",
    )
    async def concept(concept_id: str) -> str:
        try:
            found = await backend.query(concept_document, concept_id)
        except UnknownConceptError as error:
            raise ResourceNotFoundError(_one_line(shown(error))) from error
        except OmopEmbError as error:
            raise ResourceError(_one_line(shown(error))) from error
        return found.model_dump_json(indent=2)

    @server.resource(
        "omop://vocabulary",
        name="vocabulary",
        title="The loaded vocabulary",
        description="Its release, and the domains, vocabularies and classes that filters may name.",
        mime_type="application/json",
    )
    async def vocabulary() -> str:
        try:
            found = await backend.query(vocabulary_overview)
        except OmopEmbError as error:
            raise ResourceError(_one_line(shown(error))) from error
        if found is None:
            raise ResourceNotFoundError("no vocabulary is loaded: run omop-emb vocabulary load PATH")
        return VocabularyDocument.model_validate(found).model_dump_json(indent=2)


def _invalid(error: ValidationError) -> str:
    """Which arguments cannot be used and why, without their values."""
    reasons: dict[str, str] = {}
    for one in error.errors(include_url=False, include_input=False):
        # Of what may be a text or an object, pydantic names both forms and why it is neither.
        location = ".".join(str(part) for part in one["loc"] if part != "TermInput" and "[" not in str(part))
        reasons[location] = one["msg"].removeprefix("Value error, ")
    parts = [f"{location}: {reason}" for location, reason in reasons.items()]
    within = {one.partition(": ")[0].rpartition(".")[0] for one in parts}
    parts = [one for one in parts if one.partition(": ")[0] not in within]
    more = f"; and {len(parts) - _MOST_ERRORS:,} more" if len(parts) > _MOST_ERRORS else ""
    return _one_line("; ".join(parts[:_MOST_ERRORS]) + more)


def _unknown(kind: str, name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
    return f"there is no {kind} {_one_line(name)[:60]!r}; {hint}"


def _unexpected(error: BaseException | None) -> str:
    # Its text may hold a term.
    kind = type(error).__name__
    _LOGGER.error("a tool failed: unexpected %s", kind)
    return f"the server failed: unexpected {kind}; report it, with what was asked"


def _one_line(text: str) -> str:
    return " ".join(text.split())
