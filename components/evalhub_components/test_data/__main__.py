"""Command line of the test-data step: `python -m evalhub_components.test_data`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from pydantic import ValidationError

from evalhub_components import atomic, kfp_output
from evalhub_components.errors import EvalHubError, ExitStatus
from evalhub_components.redaction import Redaction
from evalhub_components.schema.collection import TestDataRef
from evalhub_components.test_data import secret
from evalhub_components.test_data.fetching import fetch
from evalhub_components.test_data.limits import Limits


def main(argv: list[str] | None = None) -> int:
    """Fetch the data, or say in one line what keeps it from arriving and return 2."""
    parser = argparse.ArgumentParser(prog="python -m evalhub_components.test_data", description=__doc__)
    parser.add_argument("--ref", required=True, help="JSON of the test_data_ref, or @FILE")
    parser.add_argument("--output", type=Path, required=True, help="folder that gets the data and its manifest")
    parser.add_argument("--digest-file", type=Path, default=None, help="file that gets the digest of the data")
    parser.add_argument("--executor-input", default=None, help="what Kubeflow Pipelines makes of {{$}}")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    if os.environ.get("EVALHUB_LIFELINE") == "stdin":
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    os.umask(0o022)  # the benchmark that reads the data may be another user
    redaction = Redaction([])
    try:
        credentials = secret.read()
        redaction = Redaction(credentials.confidential())
        manifest = fetch(_ref(arguments.ref), arguments.output, credentials, Limits.from_environment())
        if arguments.digest_file:
            atomic.write_text(arguments.digest_file, manifest.digest)
        kfp_output.write(
            arguments.executor_input, {"test_data": {"files": len(manifest.files), "bytes": manifest.total_bytes}}
        )
    except EvalHubError as error:
        print(redaction.text(" ".join(str(error).split())), file=sys.stderr)
        return error.exit_status
    except OSError as error:
        print(f"{error.filename or arguments.output}: {error.strerror}", file=sys.stderr)
        return ExitStatus.ERROR
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    print(f"{len(manifest.files)} files, {manifest.total_bytes} bytes, {manifest.digest}")
    return 0


def _ref(argument: str) -> TestDataRef:
    try:
        text = Path(argument[1:]).read_text("utf-8") if argument.startswith("@") else argument
        return TestDataRef.model_validate_json(text)
    except ValidationError as error:
        # the values are left out: one may be an address with a password in it
        problems = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}".lstrip(": ") for one in error.errors())
        raise EvalHubError(f"--ref: must be a test_data_ref as JSON ({'; '.join(problems)})") from None
    except ValueError:
        raise EvalHubError("--ref: must be UTF-8") from None


def _end_with_stdin() -> None:
    """Wait until the run is gone that holds the other end of standard input, and end like it."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
