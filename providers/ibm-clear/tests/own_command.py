"""CLEAR's own command on the work of smoke-v1: `python own_command.py MODEL_URL MODEL_NAME NUM_EXAMPLES`.

It judges responses that are there; those of the provider's own data are asked for first.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import sys
from pathlib import Path

TRACES = Path(__file__).resolve().parents[1] / "data" / "traces"


async def answered(url: str, model: str, rows: list[dict[str, str]]) -> None:
    """Put the model's responses into the rows."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=url, api_key="none") as client:

        async def answer(row: dict[str, str]) -> None:
            asked = json.loads(row["model_input"])
            reply = await client.chat.completions.create(model=model, messages=asked, temperature=0, seed=42)
            row["response"] = reply.choices[0].message.content or ""

        await asyncio.gather(*map(answer, rows))


url, model, examples = sys.argv[1:]
files = {}
for path in sorted(TRACES.glob("*.csv")):
    with path.open(encoding="utf-8", newline="") as file:
        files[path.name] = list(csv.DictReader(file))
asyncio.run(answered(url, model, [row for rows in files.values() for row in rows][: int(examples)]))
Path("traces").mkdir()
for name, rows in files.items():
    if rows := [row for row in rows if row["response"]]:
        with (Path("traces") / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
os.environ |= {"OPENAI_BASE_URL": url, "OPENAI_API_BASE": url, "OPENAI_API_KEY": "none"}
# otherwise fetched from the web at every start
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.execv(
    sys.executable,
    [
        *(sys.executable, str(Path(sys.executable).with_name("run-clear-agentic-eval"))),
        *("--data-dir", "traces", "--results-dir", "results", "--run-name", "own", "--from-raw-traces", "false"),
        *("--run-step-by-step", "true", "--run-full-trajectory", "false", "--overwrite", "true"),
        *("--provider", "openai", "--inference-backend", "litellm", "--eval-model-name", model, "--max-workers", "8"),
    ],
)
