"""A plain script with ragas on the work of smoke-v1: `python own_command.py MODEL_URL MODEL_NAME NUM_EXAMPLES`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

PROVIDER = Path(__file__).resolve().parents[1]


async def main(url: str, model: str, examples: str) -> None:
    """Have the first rows of the provider's own data answered, and scored by four metrics."""
    from openai import AsyncOpenAI
    from ragas.embeddings.base import embedding_factory
    from ragas.llms import llm_factory
    from ragas.metrics.collections import (
        AnswerRelevancy,
        ContextPrecision,
        ContextRecall,
        Faithfulness,
    )
    from ragas_parameters import PROMPT

    lines = next((PROVIDER / "data").glob("*.jsonl")).read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines][: int(examples)]
    async with AsyncOpenAI(base_url=url, api_key="none") as client:

        async def answer(row: dict[str, Any]) -> str:
            said = PROMPT.format(user_input=row["user_input"], contexts="\n".join(row["retrieved_contexts"]))
            asked: list[Any] = [{"role": "user", "content": said}]
            reply = await client.chat.completions.create(model=model, messages=asked, temperature=0, seed=42)
            return reply.choices[0].message.content or ""

        answers = await asyncio.gather(*map(answer, rows))
        rows = [{**row, "response": response} for row, response in zip(rows, answers, strict=True)]
        judge = llm_factory(model, client=client)
        embeddings = embedding_factory("openai", model=model, client=client, interface="modern")
        retrieval = ("user_input", "reference", "retrieved_contexts")
        metrics = [
            (AnswerRelevancy(llm=judge, embeddings=embeddings), ("user_input", "response")),
            (ContextPrecision(llm=judge), retrieval),
            (Faithfulness(llm=judge), ("user_input", "response", "retrieved_contexts")),
            (ContextRecall(llm=judge), retrieval),
        ]
        scores = [
            metric.abatch_score([{name: row[name] for name in inputs} for row in rows]) for metric, inputs in metrics
        ]
        for (metric, _), results in zip(metrics, await asyncio.gather(*scores), strict=True):
            print(metric.name, sum(result.value for result in results) / len(results))


if __name__ == "__main__":
    sys.path[:0] = [str(PROVIDER), str(PROVIDER.parents[1] / "components")]
    os.environ["RAGAS_DO_NOT_TRACK"] = "true"
    asyncio.run(main(*sys.argv[1:]))
