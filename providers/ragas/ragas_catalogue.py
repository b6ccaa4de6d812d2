"""The metrics that this provider offers, and the benchmarks made of them."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """What a metric of ragas needs.

    Attributes:
        class_name: in `ragas.metrics.collections`.
        inputs: keys of a row.
        judge: whether a model judges.
        embeddings: whether texts are compared by their embeddings.
        lower_is_better: which way is better.
    """

    class_name: str
    inputs: tuple[str, ...]
    judge: bool = True
    embeddings: bool = False
    lower_is_better: bool = False


_ALL = ("user_input", "response", "reference", "retrieved_contexts")
_PAIR = ("reference", "response")

METRICS = {
    "answer_relevancy": Metric("AnswerRelevancy", ("user_input", "response"), embeddings=True),
    "answer_similarity": Metric("SemanticSimilarity", _PAIR, judge=False, embeddings=True),
    "context_precision": Metric("ContextPrecision", ("user_input", "reference", "retrieved_contexts")),
    "faithfulness": Metric("Faithfulness", ("user_input", "response", "retrieved_contexts")),
    "context_recall": Metric("ContextRecall", ("user_input", "reference", "retrieved_contexts")),
    "context_entity_recall": Metric("ContextEntityRecall", ("reference", "retrieved_contexts")),
    "factual_correctness": Metric("FactualCorrectness", _PAIR),
    "noise_sensitivity": Metric("NoiseSensitivity", _ALL, lower_is_better=True),
    "exact_match": Metric("ExactMatch", _PAIR, judge=False),
    "string_present": Metric("StringPresence", _PAIR, judge=False),
    "non_llm_string_similarity": Metric("NonLLMStringSimilarity", _PAIR, judge=False),
    "rouge_score": Metric("RougeScore", _PAIR, judge=False),
    "bleu_score": Metric("BleuScore", _PAIR, judge=False),
}
"""By the name in provider.yaml."""

BENCHMARKS: dict[str, tuple[str, ...]] = {
    "ragas_rag_default": ("answer_relevancy", "context_precision", "faithfulness", "context_recall"),
    "ragas_rag_full": (
        *("answer_relevancy", "answer_similarity", "context_precision", "faithfulness", "context_recall"),
        *("context_entity_recall", "factual_correctness", "noise_sensitivity"),
    ),
    "ragas_text_overlap": (
        *("exact_match", "string_present", "non_llm_string_similarity", "rouge_score", "bleu_score"),
    ),
}
"""The metrics of each benchmark."""
