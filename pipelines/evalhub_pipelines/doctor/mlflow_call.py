"""`python -m evalhub_pipelines.doctor.mlflow_call URI`: one question to MLflow, as the step that logs would ask it."""

from __future__ import annotations

import sys

from evalhub_components.errors import EvalHubError
from evalhub_components.records.tracking import connection


def main() -> int:
    """Ask for an experiment; say what keeps MLflow from answering, and return 2."""
    try:
        with connection.connected(sys.argv[1]) as client:
            # not /health, which answers whoever asks and by whatever name
            client.search_experiments(max_results=1)
    except EvalHubError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
