"""Model names: a model is known by its family, however it is spelled, and never taken for another."""

from __future__ import annotations

import pytest

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.embeddings.model_names import model_keys
from omop_emb.embeddings.models import advice, find_model, known_models, setting_warnings
from omop_emb.embeddings.prices import price_of
from omop_emb.errors import ConfigurationError

NOMIC, BGE_M3, E5 = "ollama:nomic-embed-text", "ollama:bge-m3", "local:intfloat/e5-large-v2"
BGE, BGE_SMALL = "ollama:bge-large", "local:BAAI/bge-small-en-v1.5"
MULTILINGUAL = "local:intfloat/multilingual-e5-large"
INSTRUCT = "local:intfloat/multilingual-e5-large-instruct"
MINILM = "local:all-MiniLM-L6-v2"
QWEN_06, QWEN_8 = "ollama:qwen3-embedding:0.6b", "ollama:qwen3-embedding"
GEMMA, MXBAI = "ollama:embeddinggemma", "ollama:mxbai-embed-large"
ARCTIC, ARCTIC_2 = "ollama:snowflake-arctic-embed", "ollama:snowflake-arctic-embed2"
GEMINI_1, GEMINI_2 = "gemini:gemini-embedding-001", "gemini:gemini-embedding-2"
SNAPSHOT = "snapshots/0123456789012345678901234567890123456789"

SPELLINGS = {
    "openai:intfloat/e5-large-v2": E5,
    "openai:e5-large-v2": E5,
    "local:/models/intfloat_e5-large-v2": E5,
    f"local:/home/me/.cache/huggingface/hub/models--intfloat--e5-large-v2/{SNAPSHOT}": E5,
    "ollama:jeffh/intfloat-e5-large-v2:f32": E5,
    "local:intfloat/e5-large-v2@int8@max_tokens=128": E5,
    "local:BAAI/bge-m3": BGE_M3,
    "openai:BAAI/bge-m3": BGE_M3,
    "openai:bge-m3": BGE_M3,
    "ollama:bge-m3:567m-fp16": BGE_M3,
    "ollama:BGE-M3:latest": BGE_M3,
    "ollama:hf.co/gpustack/bge-m3-GGUF:Q8_0": BGE_M3,
    "ollama:hf.co/lm-kit/bge-m3-gguf:Q4_K_M": BGE_M3,
    "openai:text-embedding-bge-m3": BGE_M3,
    "local:~/models/bge-m3/onnx": BGE_M3,
    "ollama:registry.hospital:5000/models/bge-m3:latest": BGE_M3,
    "openai:bge-m3-Q8_0.gguf": BGE_M3,
    "openai:/srv/gguf/bge-m3.Q4_K_S.gguf": BGE_M3,
    "ollama:hf.co/nomic-ai/nomic-embed-text-v1.5-GGUF:Q8_0": NOMIC,
    "openai:text-embedding-nomic-embed-text-v1.5": NOMIC,
    "openai:text-embedding-nomic-embed-text-v1.5@q8_0": NOMIC,
    "openai:nomic-ai/nomic-embed-text-v1.5": NOMIC,
    "openai:text-embedding-nomic-ai-nomic-embed-text-v1.5": NOMIC,
    "ollama:nomic-embed-text:137m-v1.5-fp16": NOMIC,
    "ollama:nomic-embed-text:v1.5": NOMIC,
    "openai:nomic-ai/nomic-embed-text-v2-moe": "ollama:nomic-embed-text-v2-moe",
    "local:/models/bge-small-en-v1.5": BGE_SMALL,
    "local:/models/bge-small-en-v1.5/": BGE_SMALL,
    "local:/models/bge-small-en-v1.5@int8": BGE_SMALL,
    "local:Xenova/bge-small-en-v1.5": BGE_SMALL,
    "openai:baai/bge-large-en-v1.5": BGE,
    "ollama:bge-large:335m-en-v1.5-fp16": BGE,
    "openai:sentence-transformers/all-MiniLM-L6-v2": MINILM,
    "ollama:all-minilm:22m": MINILM,
    "ollama:all-minilm:l6-v2": MINILM,
    "openai:text-embedding-all-minilm-l6-v2": MINILM,
    "local:onnx-community/all-MiniLM-L6-v2-ONNX": MINILM,
    "openai:intfloat/multilingual-e5-large": MULTILINGUAL,
    "openai:intfloat/multilingual-e5-large-instruct": INSTRUCT,
    "ollama:jeffh/intfloat-multilingual-e5-large-instruct:q8_0": INSTRUCT,
    "openai:Qwen/Qwen3-Embedding-0.6B": QWEN_06,
    "ollama:hf.co/Qwen/Qwen3-Embedding-0.6B-GGUF:Q8_0": QWEN_06,
    "openai:text-embedding-qwen3-embedding-0.6b": QWEN_06,
    "openai:Qwen3-Embedding-0.6B-4bit-DWQ": QWEN_06,
    "ollama:qwen3-embedding:4b-q8_0": "ollama:qwen3-embedding:4b",
    "openai:Qwen/Qwen3-Embedding-8B": QWEN_8,
    "openai:google/embeddinggemma-300m": GEMMA,
    "ollama:hf.co/unsloth/embeddinggemma-300m-GGUF:F16": GEMMA,
    "openai:embeddinggemma-300M-qat-q4_0-unquantized": GEMMA,
    "openai:ai/mxbai-embed-large:335M-F16": MXBAI,
    "ollama:mxbai-embed-large:335m-v1-fp16": MXBAI,
    "openai:text-embedding-mxbai-embed-large-v1": MXBAI,
    "openai:@cf/baai/bge-m3": BGE_M3,
    "local:C:\\models\\bge-m3": BGE_M3,
    "openai:bge_m3": BGE_M3,
    "openai:bge-m3:latest": BGE_M3,
    "openai:second-state/All-MiniLM-L6-v2-Embedding-GGUF": MINILM,
    "openai:Nomic-embed-text-v1.5-Embedding": NOMIC,
    "openai:text-embedding-intfloat-multilingual-e5-large-instruct": INSTRUCT,
    "openai:mlx-community/Qwen3-Embedding-4B-mxfp8": "ollama:qwen3-embedding:4b",
    "openai:qwen3-embedding:0.6b": QWEN_06,
    "openai:vertex_ai/gemini-embedding-001": GEMINI_1,
    "ollama:embeddinggemma:300m-bf16": GEMMA,
    "openai:text-embedding-embeddinggemma-300m-qat": GEMMA,
    "local:mixedbread-ai/mxbai-embed-large-v1": MXBAI,
    "ollama:mxbai-embed-large:335m": MXBAI,
    "openai:Snowflake/snowflake-arctic-embed-l-v2.0": ARCTIC_2,
    "ollama:snowflake-arctic-embed2:568m-l-fp16": ARCTIC_2,
    "openai:Snowflake/snowflake-arctic-embed-l": ARCTIC,
    "ollama:snowflake-arctic-embed:335m": ARCTIC,
    "local:ibm-granite/granite-embedding-278m-multilingual": "ollama:granite-embedding:278m",
    "local:ibm-granite/granite-embedding-30m-english": "ollama:granite-embedding",
    "ollama:granite-embedding:30m-en-fp16": "ollama:granite-embedding",
    "ollama:snowflake-arctic-embed:137m-m-long-fp16": "ollama:snowflake-arctic-embed:137m",
    "local:/models/SapBERT-from-PubMedBERT-fulltext@cls": (
        "local:cambridgeltl/SapBERT-from-PubMedBERT-fulltext"
    ),
    "openai:FremyCompany/BioLORD-2023-M": "local:FremyCompany/BioLORD-2023-M",
    "local:/m/MedCPT-Article-Encoder@cls,/m/MedCPT-Query-Encoder@cls": (
        "local:ncbi/MedCPT-Article-Encoder,ncbi/MedCPT-Query-Encoder"
    ),
    "gemini:models/gemini-embedding-001": GEMINI_1,
    "gemini:publishers/google/models/gemini-embedding-001": GEMINI_1,
    "openai:gemini-embedding-2": GEMINI_2,
    "openai:openai/text-embedding-3-small": "openai:text-embedding-3-small",
    "openai:Text-Embedding-3-Large": "openai:text-embedding-3-large",
    "e5-large-v2": E5,
}
OTHERS = [
    "openai:intfloat/e5-large",
    "openai:intfloat/e5-mistral-7b-instruct",
    "local:intfloat/multilingual-e5-large-v2",
    "ollama:all-minilm:33m",
    "local:sentence-transformers/all-MiniLM-L12-v2",
    "local:sentence-transformers/paraphrase-MiniLM-L6-v2",
    "local:BAAI/bge-large-zh-v1.5",
    "local:BAAI/bge-large-en",
    "openai:BAAI/bge-reranker-v2-m3",
    "openai:BAAI/bge-m3-unsupervised",
    "openai:BAAI/bge-multilingual-gemma2",
    "openai:nomic-ai/nomic-embed-text-v1",
    "openai:nomic-ai/nomic-embed-code",
    "openai:nomic-ai/nomic-embed-vision-v1.5",
    "ollama:snowflake-arctic-embed:22m",
    "ollama:snowflake-arctic-embed:110m-m-fp16",
    "openai:Snowflake/snowflake-arctic-embed-m-v2.0",
    "ollama:granite-embedding:107m",
    "openai:Qwen/Qwen3-Reranker-0.6B",
    "openai:Qwen/Qwen3-Embedding-2B",
    "openai:Qwen/Qwen3-8B",
    "openai:mixedbread-ai/mxbai-embed-xsmall-v1",
    "openai:text-embedding-ada-002",
    "gemini:gemini-embedding-exp-03-07",
    "gemini:text-embedding-005",
    "local:cambridgeltl/SapBERT-from-PubMedBERT-fulltext-mean-token",
    "local:ncbi/MedCPT-Query-Encoder",
    "openai:intfloat/e5-large-v2-finetuned-omop",
    "openai:sentence-transformers/embeddinggemma-300m-medical",
    "ollama:quentinz/bge-large-zh-v1.5",
    "openai:thenlper/gte-large",
    "openai:text-embedding",
    "openai:embedding",
    "ollama:hf.co/Qwen/Qwen3-0.6B-GGUF:Q8_0",
    "openai:my-deployment",
    "openai:nobody-knows",
    "local:/models",
    "",
]
DISTINCT = [
    ("openai:intfloat/e5-small-v2", "openai:intfloat/e5-large-v2"),
    ("openai:BAAI/bge-m3", "openai:BAAI/bge-large-en-v1.5"),
    ("openai:intfloat/multilingual-e5-large", "openai:intfloat/e5-large-v2"),
    ("openai:intfloat/multilingual-e5-large", "openai:intfloat/multilingual-e5-large-instruct"),
    ("ollama:qwen3-embedding:0.6b-q8_0", "ollama:qwen3-embedding:8b-q8_0"),
    ("ollama:snowflake-arctic-embed", "ollama:snowflake-arctic-embed2"),
    ("ollama:embeddinggemma", "ollama:embeddinggemma-2"),
    ("openai:nomic-embed-text-v1.5", "openai:nomic-embed-text-v2-moe"),
    ("gemini:gemini-embedding-001", "gemini:gemini-embedding-2"),
]


@pytest.mark.parametrize(("model", "known"), SPELLINGS.items())
def test_an_everyday_spelling_is_the_known_model(model: str, known: str) -> None:
    found = find_model(model)
    assert found is not None, model_keys(model)
    assert found is find_model(known)
    assert advice(model, found.prefixes) == [
        line.replace(known, model) for line in advice(known, found.prefixes)
    ]


@pytest.mark.parametrize("model", OTHERS)
def test_a_model_that_is_not_recorded_is_not_taken_for_another(model: str) -> None:
    assert find_model(model) is None


@pytest.mark.parametrize(("one", "other"), DISTINCT)
def test_similar_names_of_different_models_are_kept_apart(one: str, other: str) -> None:
    assert None is not find_model(one) is not find_model(other) is not None


def test_no_two_models_share_a_key() -> None:
    keys = [
        key
        for known in known_models()
        for key in {model_keys(name)[0] for name in (known.name, *known.aliases)} | set(known.spellings)
    ]
    # But for the weights that a service serves by another mechanism of roles: others mean the local model.
    assert sorted(keys) == sorted([*set(keys), "jina-embeddings-v3", "multilingual-e5-small"])
    assert find_model("vllm:jinaai/jina-embeddings-v3") is find_model("local:jinaai/jina-embeddings-v3")
    assert find_model("jina:jina-embeddings-v3") is not find_model("local:jinaai/jina-embeddings-v3")
    assert all(model_keys(key)[0] == key for key in keys)


def test_prefixes_and_dimensions_follow_the_family() -> None:
    (line,) = setting_warnings("openai:intfloat/e5-large-v2", {EmbeddingRole.QUERY: ""})
    assert "export OMOP_EMB_QUERY_EMBEDDING_PREFIX='query: '" in line
    (line,) = setting_warnings("openai:BAAI/bge-m3", {}, 512)
    assert "not a Matryoshka model" in line


def test_a_deployment_is_known_by_the_family_that_a_variable_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for family in ("openai:text-embedding-3-small", "text-embedding-3-small", "Text-Embedding-3-Small"):
        monkeypatch.setenv("OMOP_EMB_MODEL_FAMILY", family)
        assert find_model("openai:my-deployment") is find_model("openai:text-embedding-3-small")
        assert price_of("openai:my-deployment") == price_of("openai:text-embedding-3-small") is not None
        assert find_model("openai:BAAI/bge-m3") is find_model(BGE_M3)


def test_a_family_that_is_not_known_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMOP_EMB_MODEL_FAMILY", "nobody-knows")
    with pytest.raises(ConfigurationError, match=r"OMOP_EMB_MODEL_FAMILY must be a model that .* list shows"):
        EmbeddingClient("openai:my-deployment")


@pytest.mark.parametrize(
    ("model", "charges"),
    [
        ("openai:text-embedding-3-small", True),
        ("openai:openai/text-embedding-3-small", True),
        ("gemini:models/gemini-embedding-001", True),
        ("gemini:gemini-embedding-2-preview", True),
        ("ollama:text-embedding-3-small", False),
        ("openai:gemini-embedding-001", False),
        ("local:/models/text-embedding-3-large", False),
        ("openai:BAAI/bge-m3", False),
    ],
)
def test_a_price_is_taken_only_for_the_provider_that_charges_it(model: str, charges: bool) -> None:
    assert find_model(model) is not None
    assert (price_of(model) is not None) is charges
