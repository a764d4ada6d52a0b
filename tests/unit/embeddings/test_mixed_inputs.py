"""Inputs of several kinds: on the wire of google-genai, within the model's limits, combined and cached."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path

import numpy as np
import pytest

from omop_emb import EmbeddingClient, EmbeddingRole, Part
from omop_emb.arrays import Vectors
from omop_emb.embeddings import cost_of
from omop_emb.errors import ConfigurationError, InputError, TextRejectedError
from omop_emb.providers.parts import EmbeddingInput
from omop_emb.providers.usage import Usage
from tests.fake_providers import FakeProviders, Fault, fake_vector, media_text
from tests.media_files import jpeg, mp3, pdf, png, wav

DOCUMENT, QUERY = EmbeddingRole.DOCUMENT, EmbeddingRole.QUERY
MODEL = "gemini:gemini-embedding-2"
IMAGE = media_text("image/png", png())


@pytest.fixture
def client(fake: FakeProviders) -> EmbeddingClient:
    return EmbeddingClient(
        MODEL,
        dimensions=768,
        document_prefix="title: none | text: ",
        query_prefix="task: search result | query: ",
    )


def unit(*texts: str) -> Vectors:
    rows = np.array([fake_vector(text, 768) for text in texts])
    scaled: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def test_parts_are_one_content_of_several_parts_between_texts(
    client: EmbeddingClient, fake: FakeProviders
) -> None:
    rows = client.embeddings(
        ["fever", [Part.image(png()), "a panel"], Part.image(jpeg())], embedding_role=QUERY
    )
    (call,) = fake.calls
    assert call.path == "/v1/models/gemini-embedding-2:batchEmbedContents"
    model = {"outputDimensionality": 768, "model": "models/gemini-embedding-2"}

    def blob(media_type: str, data: bytes) -> dict[str, dict[str, str]]:
        return {"inline_data": {"data": base64.urlsafe_b64encode(data).decode(), "mime_type": media_type}}

    prefix = "task: search result | query: "
    assert call.body == {
        "requests": [
            {"content": {"parts": [{"text": f"{prefix}fever"}]}, **model},
            {"content": {"parts": [blob("image/jpeg", jpeg())]}, **model},
            {"content": {"parts": [blob("image/png", png()), {"text": "a panel"}]}, **model},
        ]
    }
    expected = unit(f"{prefix}fever", f"{IMAGE}a panel", media_text("image/jpeg", jpeg()))
    np.testing.assert_allclose(rows, expected, atol=1e-6)


def test_recordings_and_pages_are_sent_as_what_they_are(client: EmbeddingClient, fake: FakeProviders) -> None:
    pytest.importorskip("pypdf", reason="the extra pdf is not installed")
    page = Part.pdf(pdf("GLUC", "NA"), page=2)
    rows = client.embeddings([["NA", page], Part.audio(wav(2)), Part.audio(mp3(3))], embedding_role=DOCUMENT)
    sent = sorted(text for call in fake.calls for text in call.texts)
    texts = [
        f"NA{media_text('application/pdf', page.data)}",
        media_text("audio/wav", wav(2)),
        media_text("audio/mpeg", mp3(3)),
    ]
    assert sent == sorted(texts)
    np.testing.assert_allclose(rows, unit(*texts), atol=1e-6)


def test_the_mean_is_of_each_part_embedded_by_itself(client: EmbeddingClient, fake: FakeProviders) -> None:
    inputs: list[EmbeddingInput] = ["fever", ["a panel", Part.image(png())], [Part.image(png())]]
    rows = client.embeddings(inputs, embedding_role=DOCUMENT, combine="mean")
    prefix = "title: none | text: "
    fever, panel, image = unit(f"{prefix}fever", f"{prefix}a panel", IMAGE)
    mean = (panel + image) / np.linalg.norm(panel + image)
    np.testing.assert_allclose(rows, np.array([fever, mean, image]), atol=1e-6)
    # The image is sent once, though it stands in two inputs.
    assert sorted(text for call in fake.calls for text in call.texts) == sorted(
        [f"{prefix}fever", f"{prefix}a panel", IMAGE]
    )
    with pytest.raises(InputError, match="combine must be 'one' or 'mean'; found 'sum'"):
        client.embeddings(inputs, embedding_role=DOCUMENT, combine="sum")


def test_texts_alone_have_a_mean_with_any_model() -> None:
    packaged = EmbeddingClient("local:all-MiniLM-L6-v2", warn=False)
    fever, pain = packaged.embeddings(["fever", "pain"], embedding_role=QUERY)
    (row,) = packaged.embeddings([["fever", "pain"]], embedding_role=QUERY, combine="mean")
    np.testing.assert_allclose(row, (fever + pain) / np.linalg.norm(fever + pain), atol=1e-6)
    (alone,) = packaged.embeddings([[Part.text("fever")]], embedding_role=QUERY)
    np.testing.assert_array_equal(alone, fever)


@pytest.mark.parametrize("given", [Part.image(png()), ["fever", Part.image(png())], ["fever", "pain"]])
@pytest.mark.parametrize(
    "model", ["ollama:nomic-embed-text", "gemini:gemini-embedding-001", "openai:gemini-embedding-2"]
)
def test_a_model_that_reads_text_only_is_sent_nothing_else(
    fake: FakeProviders, model: str, given: EmbeddingInput
) -> None:
    client = EmbeddingClient(model, dimensions=256)
    with pytest.raises(ConfigurationError) as caught:
        client.embeddings([given], embedding_role=QUERY)
    assert str(caught.value) == (
        f"{model} reads text only: images, PDF pages and recordings need a model that reads them, such as "
        "gemini:gemini-embedding-2 (omop-emb models show says what a model reads)"
    )
    assert fake.calls == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([Part.image(png(n)) for n in range(7)], "it has 7 images, and {} reads at most 6 at once"),
        ([Part.audio(wav(1)), Part.audio(wav(2))], "it has 2 recordings, and {} reads at most 1 at once"),
        (Part.audio(wav(180.1)), "it has 180.1 seconds of sound, and {} reads at most 180 at once: cut it"),
        (Part.file(b"GIF89a"), "a part is image/gif, and {} reads image/png, image/jpeg, application/pdf"),
        (
            Part.image(png() + bytes(15_000_000)),
            "its parts have 14 MiB, and {} is sent at most 13 MiB at once",
        ),
    ],
    ids=["images", "recordings", "seconds", "kind", "bytes"],
)
def test_what_the_model_does_not_read_is_refused_before_anything_is_sent(
    client: EmbeddingClient, fake: FakeProviders, given: EmbeddingInput, expected: str
) -> None:
    with pytest.raises(InputError) as caught:
        client.embeddings(["fever", given], embedding_role=QUERY)
    assert str(caught.value).startswith(f"input 1 cannot be embedded: {expected.format(MODEL)}")
    assert fake.calls == []


def test_no_more_pages_than_the_model_reads_are_sent(client: EmbeddingClient, fake: FakeProviders) -> None:
    pytest.importorskip("pypdf", reason="the extra pdf is not installed")
    with pytest.raises(
        InputError, match=f"it has 7 pages, and {MODEL} reads at most 6 at once: name one page"
    ):
        client.embeddings([Part.pdf(pdf(*"1234567"))], embedding_role=QUERY)
    assert fake.calls == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], "input 0 has no parts"),
        (["fever", 7], "part 1 of input 0 must be a str or a Part; found int"),
        (["fever", " "], "part 1 of input 0 cannot be embedded: the text is blank"),
        ([Part.text(""), "x"], "part 0 of input 0 cannot be embedded: the text is blank"),
        (b"fever", "text 0 must be a str; found bytes"),
    ],
)
def test_an_input_that_is_none_names_its_position(
    client: EmbeddingClient, given: EmbeddingInput, expected: str
) -> None:
    with pytest.raises(InputError, match=f"^{expected}$"):
        client.embeddings([given], embedding_role=QUERY)


def test_a_part_is_no_sequence_of_inputs(client: EmbeddingClient) -> None:
    with pytest.raises(InputError, match="texts must be a sequence of inputs; found Part"):
        client.embeddings(Part.image(png()), embedding_role=QUERY)  # type: ignore[arg-type]  # the mistake


def test_queries_are_cached_by_what_their_parts_are(
    client: EmbeddingClient, fake: FakeProviders, tmp_path: Path
) -> None:
    path = tmp_path / "panel.png"
    path.write_bytes(png())
    first = client.embeddings([["a", Part.image(path)]], embedding_role=QUERY)
    again = client.embeddings([["a", Part.image(png())]], embedding_role=QUERY)
    np.testing.assert_array_equal(first, again)
    assert (len(fake.calls), client.usage.cached_queries) == (1, 1)
    path.write_bytes(png(1))
    changed = client.embeddings([["a", Part.image(path)]], embedding_role=QUERY)
    assert len(fake.calls) == 2
    assert not np.allclose(first, changed)


def test_requests_hold_no_more_bytes_than_the_model_is_sent(
    client: EmbeddingClient, fake: FakeProviders
) -> None:
    inputs = [Part.image(png(n) + bytes(5_000_000)) for n in range(3)]
    client.embeddings([*inputs, "fever"], embedding_role=DOCUMENT)
    assert sorted(len(call.texts) for call in fake.calls) == [1, 3]


@pytest.mark.parametrize(
    ("combine", "expected"),
    [("one", "input 2 cannot be embedded"), ("mean", "part 1 of input 2 cannot be embedded")],
)
def test_a_rejected_part_names_its_position_and_nothing_of_it(
    client: EmbeddingClient,
    fake: FakeProviders,
    caplog: pytest.LogCaptureFixture,
    combine: str,
    expected: str,
) -> None:
    error = {"error": {"code": 400, "message": "Unable to process input image", "status": "INVALID_ARGUMENT"}}
    fake.poison(media_text("image/png", png(9)), Fault(400, json.dumps(error)))
    inputs: list[EmbeddingInput] = ["fever", Part.image(png()), ["panel", Part.image(png(9))], "pain"]
    with caplog.at_level(logging.DEBUG), pytest.raises(TextRejectedError) as caught:
        client.embeddings(inputs, embedding_role=DOCUMENT, combine=combine)
    assert str(caught.value) == f"{expected}: {MODEL} refuses it (HTTP 400)"
    assert caught.value.positions == (2,)
    encoded = base64.b64encode(png(9)).decode()[:40]
    assert encoded not in caplog.text
    assert encoded.replace("+", "-").replace("/", "_") not in caplog.text


def test_the_cost_counts_images_and_seconds_at_their_own_prices(client: EmbeddingClient) -> None:
    client.embeddings([["a panel", Part.image(png())], Part.audio(wav(100))], embedding_role=DOCUMENT)
    usage = client.usage
    assert (usage.image_tokens, usage.audio_tokens) == (258, 2500)
    texts = usage.tokens - 258 - 2500
    assert 0 < texts < 20
    expected = (258 * 0.45 + 2500 * 6.5 + texts * 0.2) / 1e6
    assert cost_of(MODEL, usage) == pytest.approx(expected)
    assert cost_of("openai:text-embedding-3-small", Usage(estimated_tokens=100)) == pytest.approx(2e-6)


def test_vertex_is_sent_one_content_of_several_parts(
    fake: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_API_KEY", "a-key")
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", fake.url)
    client = EmbeddingClient(MODEL, dimensions=768)
    rows = client.embeddings([["a panel", Part.image(png())]], embedding_role=DOCUMENT)
    (call,) = fake.calls
    assert call.path == "/v1beta1/publishers/google/models/gemini-embedding-2:embedContent"
    first, second = call.body["content"]["parts"]
    assert first == {"text": "a panel"}
    assert second == {
        "inlineData": {"data": base64.urlsafe_b64encode(png()).decode(), "mime_type": "image/png"}
    }
    np.testing.assert_allclose(rows, unit(f"a panel{IMAGE}"), atol=1e-6)
