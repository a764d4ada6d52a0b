"""Connections: one client for all calls, closed with its owner, whose exceptions become our errors."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest

from omop_emb.errors import ConfigurationError, MissingExtraError, ProviderUnavailableError
from omop_emb.providers.connection import Connection
from omop_emb.providers.ollama import OllamaConnection
from omop_emb.providers.profile_connection import ProfileConnection


class Client:
    """Stands for an SDK's client."""

    closed = False

    def close(self) -> None:
        self.closed = True


class OwnConnection(Connection):
    extra = "own"

    def _open(self, **client_arguments: Any) -> Client:
        return Client()


class Uninstalled(OwnConnection):
    def _open(self, **client_arguments: Any) -> Client:
        raise ImportError


def test_the_client_is_opened_once_and_closed_with_its_connection() -> None:
    connection = OwnConnection("m", server="the server")
    with connection.client(1) as first, connection.client(1) as second:
        assert first is second
    del connection
    gc.collect()
    assert first.closed


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (IndexError("no choice in the answer"), "own:m: the server answered with something other"),
        (KeyError("data"), "something other than embeddings"),
        (httpx.DecodingError("bad gzip"), r"the connection to the server broke \(DecodingError\)"),
        (ConnectionError(), "the server cannot be reached"),
    ],
)
def test_an_answer_that_cannot_be_read_is_an_outage(error: Exception, message: str) -> None:
    connection = OwnConnection("m", server="the server")
    with pytest.raises(ProviderUnavailableError, match=message), connection.client(1):
        raise error


def test_other_exceptions_pass_through() -> None:
    with pytest.raises(ZeroDivisionError), OwnConnection("m", server="the server").client(1):
        raise ZeroDivisionError


def test_a_missing_library_names_the_extra_that_installs_it() -> None:
    with (
        pytest.raises(MissingExtraError, match="the model own:m needs the extra 'own'"),
        Uninstalled("m", server="the server").client(1),
    ):
        pass


PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@pytest.mark.parametrize("variable", PROXIES)
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "api.localhost", "[::1]", "127.0.1.1"])
@pytest.mark.parametrize("provider", ["ollama", "openai"])
def test_a_server_on_this_machine_is_asked_without_a_proxy(
    provider: str, host: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "http://proxy.example:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("OLLAMA_HOST", f"http://{host}:9")
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://{host}:9/v1")
    connection = OllamaConnection("m") if provider == "ollama" else ProfileConnection("openai", "m")
    with connection.client(1) as client:
        http = client if provider == "openai" else client._client
        for scheme in ("http", "https"):
            assert http._transport_for_url(httpx.URL(f"{scheme}://{host}:9/v1")) is http._transport
        elsewhere = httpx.URL(f"{'https' if 'https' in variable.lower() else 'http'}://gpu.example/v1")
        assert http._transport_for_url(elsewhere) is not http._transport


@pytest.mark.parametrize("sign", ["/", "#", "?", "@/", "/@", "?@", "1/", "://"])
@pytest.mark.parametrize("form", ["http://u:xqzj{}wvkj@127.0.0.1:9/v1", "http://xqzj{}wvkj@127.0.0.1:9/v1"])
@pytest.mark.parametrize("kind", [OllamaConnection, partial(ProfileConnection, "openai")])
def test_no_part_of_a_password_becomes_a_host_that_is_asked(
    kind: Callable[[str], Connection], form: str, sign: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", form.format(sign))
    monkeypatch.setenv("OPENAI_BASE_URL", form.format(sign))
    with pytest.raises(ConfigurationError) as raised:
        kind("m")
    assert not [part for part in ("xqzj", "wvkj") if part in str(raised.value)]
