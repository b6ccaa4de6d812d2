"""Write the data of the quickstart tasks; the same numbers every time."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

COUNT = 40


def arithmetic(rng: random.Random) -> Iterable[dict[str, Any]]:
    """Yield sums, differences and products of small numbers."""
    seen: set[str] = set()
    while len(seen) < COUNT:
        left, right = rng.randint(2, 60), rng.randint(2, 40)
        operator, answer = rng.choice([("+", left + right), ("-", left - right), ("*", left * right)])
        question = f"What is {left} {operator} {right}?"
        if question not in seen and answer >= 0:
            seen.add(question)
            yield {"question": question, "answer": str(answer)}


def comparison(rng: random.Random) -> Iterable[dict[str, Any]]:
    """Yield four numbers to choose the largest or smallest of."""
    for number in range(COUNT):
        order, of_all = ("largest", max) if number % 2 else ("smallest", min)
        numbers = rng.sample(range(10, 1000), 4)
        items = f"{', '.join(map(str, numbers[:3]))} or {numbers[3]}"
        yield {
            "question": f"Which number is the {order}: {items}?",
            "choices": list(map(str, numbers)),
            "gold": numbers.index(of_all(numbers)),
        }


if __name__ == "__main__":
    for make in (arithmetic, comparison):
        folder = Path(__file__).parent / "data" / f"quickstart_{make.__name__}"
        folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(row) + "\n" for row in make(random.Random(7))]
        (folder / "test.jsonl").write_text("".join(lines), encoding="utf-8")
