"""A plain script with deepeval on the work of smoke-v1: `python own_command.py MODEL_URL MODEL_NAME NUM_EXAMPLES`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

PROVIDER = Path(__file__).resolve().parents[1]


async def answers(url: str, model: str, questions: list[str]) -> list[str]:
    """Return what the model says."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=url, api_key="none") as client:

        async def answer(question: str) -> str:
            asked: list[Any] = [{"role": "user", "content": question}]
            reply = await client.chat.completions.create(model=model, messages=asked, temperature=0, seed=42)
            return reply.choices[0].message.content or ""

        return await asyncio.gather(*map(answer, questions))


def main(url: str, model: str, examples: str) -> None:
    """Ask and judge the first test cases of the provider's own data."""
    from deepeval import evaluate
    from deepeval.evaluate.configs import AsyncConfig, CacheConfig, DisplayConfig
    from deepeval.metrics import GEval
    from deepeval.models import LocalModel
    from deepeval.test_case import LLMTestCase, SingleTurnParams
    from deepeval_metrics import STEPS

    lines = (PROVIDER / "data" / "questions.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()][: int(examples)]
    outputs = asyncio.run(answers(url, model, [row["input"] for row in rows]))
    cases = [
        LLMTestCase(input=row["input"], actual_output=output, expected_output=row["expected_output"])
        for row, output in zip(rows, outputs, strict=True)
    ]
    compared = [SingleTurnParams.INPUT, SingleTurnParams.ACTUAL_OUTPUT, SingleTurnParams.EXPECTED_OUTPUT]
    judge = LocalModel(model, "none", url, temperature=0)
    evaluate(
        cases,
        [GEval("Correctness", compared, evaluation_steps=STEPS, model=judge)],
        async_config=AsyncConfig(max_concurrent=8),
        display_config=DisplayConfig(results_folder=".", inspect_after_run=False),
        cache_config=CacheConfig(write_cache=False),
    )


if __name__ == "__main__":
    sys.path[:0] = [str(PROVIDER), str(PROVIDER.parents[1] / "components")]
    # a script behind a firewall has them too: they spare it requests that nobody answers
    os.environ |= {"DEEPEVAL_TELEMETRY_OPT_OUT": "1", "DEEPEVAL_UPDATE_WARNING_OPT_IN": "0"}
    main(*sys.argv[1:])
