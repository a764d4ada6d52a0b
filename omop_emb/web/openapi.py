"""OpenAPI: the application's description, with the token that it asks for and the media type of errors."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from omop_emb.web.problems import MEDIA_TYPE

_PROBLEM = {"$ref": "#/components/schemas/Problem"}


class Application(FastAPI):
    """FastAPI's application, whose description clients can be generated from."""

    def openapi(self) -> dict[str, Any]:
        """The description, made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            document["components"]["securitySchemes"] = {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token that `omop-emb serve` prints, or OMOP_EMB_SERVE_TOKEN.",
                }
            }
            document["security"] = [{"token": []}]
            for operations in document["paths"].values():
                for operation in operations.values():
                    _name_media_type(operation)
        return self.openapi_schema or {}


def _name_media_type(operation: dict[str, Any]) -> None:
    """Say that problems are application/problem+json; FastAPI says application/json of every model."""
    for response in operation.get("responses", {}).values():
        content = response.get("content", {})
        if content.get("application/json", {}).get("schema") == _PROBLEM:
            response["content"] = {MEDIA_TYPE: {"schema": _PROBLEM}}
