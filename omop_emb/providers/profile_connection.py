"""Profile connection: the HTTP client for one model of a service that has a profile, over plain httpx."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from omop_emb import config
from omop_emb.errors import ConfigurationError, ProviderError, ProviderRefusedError
from omop_emb.providers.connection import MOST_BYTES, Connection, split_address
from omop_emb.providers.http_errors import http_error
from omop_emb.providers.profiles import Profile, first_variable, profile_of

_NAMES_DIMENSIONS = re.compile(r"dimension|matryoshka", re.I)


class DimensionsRefusedError(ProviderRefusedError):
    """The service names the dimensions as what it refuses."""


class ProfileConnection(Connection):
    """A connection to one model of a service, with the address and the key of its profile's variables."""

    def __init__(self, provider: str, model: str) -> None:
        self.profile = profile = profile_of(provider, model)
        self.extra = profile.extra
        variables = " and ".join(name for name in (profile.url_variable, profile.key_variable) if name)
        self._variables = variables.replace("|", " or ")
        source = f"{provider}:{model}"
        self._url = _address(profile, source).rstrip("/")
        try:
            address = split_address(profile.url_variable, self._url)
            is_address = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
        except ValueError:
            is_address = False
        if not is_address:
            raise ConfigurationError(f"{profile.url_variable} must begin with http:// or https:// and a host")
        self._key = first_variable(profile.key_variable)
        super().__init__(
            model, source=source, server=f"{profile.title} at {address.hostname}", settings=self._variables
        )

    def _open(self, **client_arguments: Any) -> Any:
        import httpx

        profile = self.profile
        if self._key is not None:
            headers = {profile.key_header: f"{profile.key_prefix}{self._key}"}
            return httpx.Client(headers=headers, **client_arguments)
        if profile.auth == "aws":
            from omop_emb.providers.aws_signing import signing

            return httpx.Client(auth=signing(self.source), **client_arguments)
        if profile.needs_key:
            variable = profile.key_variable.partition("|")[0]
            raise ConfigurationError(f"{self.source} needs a key: export {variable}=…")
        return httpx.Client(**client_arguments)

    @contextmanager
    def post(
        self, path: str, body: Mapping[str, Any], timeout_seconds: float, most_bytes: int = MOST_BYTES
    ) -> Iterator[Any]:
        """The JSON that answers a POST; what it lacks within the block counts as an unreadable response."""
        profile = self.profile
        url = f"{self._url}/{path.replace('{model}', quote(self.model, safe=''))}"
        parameters = {name: config.variable(variable) or "" for name, variable in profile.parameters.items()}
        content = {profile.model_field: self.model, **body} if profile.model_field else dict(body)
        with self.client(timeout_seconds, most_bytes=most_bytes) as client:
            response = client.post(url, params=parameters or None, json=content)
            if profile.dimensions_field in body and response.status_code in (400, 422, 500, 501):
                if _NAMES_DIMENSIONS.search(response.text):
                    length = body[profile.dimensions_field]
                    raise DimensionsRefusedError(
                        f"{self.source} refuses to cut its vectors to {length} numbers (HTTP "
                        f"{response.status_code}): unset OMOP_EMB_DIMENSIONS, or, if it is trained for "
                        "shorter vectors, say which model it is with OMOP_EMB_MODEL_FAMILY"
                    )
            if response.status_code != 200:
                raise http_error(
                    self.source,
                    response.status_code,
                    response.text,
                    headers=response.headers,
                    not_found=_not_found(profile),
                    key=profile.key_variable.replace("|", " or ") or "what the server asks for",
                    errors=profile.errors,
                )
            yield json.loads(response.content)

    def _sdk_error(self, error: Exception, headers: Mapping[str, str]) -> ProviderError | None:
        if type(error).__module__.startswith("botocore"):
            return ProviderRefusedError(
                f"{self.source}: the AWS credentials cannot be used ({type(error).__name__}): sign in again"
            )
        return None


def _address(profile: Profile, source: str) -> str:
    address = first_variable(profile.url_variable) or profile.url
    if not address:
        raise ConfigurationError(f"{source} needs an address: export {profile.url_variable}=https://…")

    def value(match: re.Match[str]) -> str:
        found = first_variable(match[1])
        names = match[1].replace("|", " or ")
        if found is None:
            raise ConfigurationError(f"{source} needs {names}: export it")
        if re.fullmatch("[A-Za-z0-9-]+", found) is None:
            raise ConfigurationError(f"{names} may hold letters, digits and hyphens; found something else")
        return found

    return re.sub(r"\{([A-Z_|]+)\}", value, address)


def _not_found(profile: Profile) -> str:
    variable = profile.url_variable
    is_v1 = profile.url.endswith("/v1")
    return f"are {variable}{' (it ends in /v1)' if is_v1 else ''} and the model's name right?"
