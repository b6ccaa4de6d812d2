"""Starts clear: `python clear_launch.py traces|responses|preprocess settings.json`, with texts kept as they are.

pandas would read an answer 42 as a number, which comes out as 42.0 beside an answer 3.5, and "None" as no answer at
all: the judge is to see what the model said.
"""

from __future__ import annotations

import functools
import json
import sys

import pandas  # type: ignore[import-not-found,import-untyped,unused-ignore]

_TEXTS = ("id", "task_id", "model_input", "response", "ground_truth", "intent", "Name", "agent_name")

pandas.read_csv = functools.partial(pandas.read_csv, converters=dict.fromkeys(_TEXTS, str))


def main(argv: list[str]) -> None:
    """Run one of clear's pipelines."""
    what, configuration = argv
    if what == "traces":
        from clear_eval.agentic.pipeline.run_clear_agentic_eval import main as run

        sys.argv = ["run-clear-agentic-eval", "--agentic-config-path", configuration]
        run()
    elif what == "preprocess":
        from clear_eval.agentic.pipeline.preprocess_traces.preprocess_traces import process_traces_to_traj_data

        with open(configuration, encoding="utf-8") as file:
            process_traces_to_traj_data(**json.load(file))
    else:
        from clear_eval.analysis_runner import run_clear_eval_analysis

        run_clear_eval_analysis(configuration)


if __name__ == "__main__":
    main(sys.argv[1:])
