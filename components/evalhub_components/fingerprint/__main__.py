"""Command line of the fingerprint step: `python -m evalhub_components.fingerprint`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from evalhub_components import atomic, credentials
from evalhub_components.errors import EvalHubError
from evalhub_components.fingerprint import SECRETS
from evalhub_components.fingerprint.probe import Probe
from evalhub_components.redaction import Redaction
from evalhub_components.schema import run_inputs


def main(argv: list[str] | None = None) -> int:
    """Write the fingerprint of the model or judge, or say what keeps it from answering and return 2."""
    parser = argparse.ArgumentParser(prog="python -m evalhub_components.fingerprint", description=__doc__)
    parser.add_argument("--model-url", required=True, help="base address of the model, ending in /v1")
    parser.add_argument("--model-name", required=True, help="the model's name at that address")
    parser.add_argument("--model-auth", default="secret", help="what it is asked with: secret or service-account")
    parser.add_argument("--role", default="model", choices=SECRETS, help="whose keys and secret messages are about")
    parser.add_argument("--output", type=Path, required=True, help="file that gets the fingerprint as JSON")
    parser.add_argument("--digest-file", type=Path, help="file that gets the fingerprint's digest alone")
    run_inputs.add_options(parser)
    arguments = parser.parse_args(argv)
    redaction = Redaction([])
    try:
        # what the last step would refuse is refused before the benchmarks are paid for
        run_inputs.read(arguments)
        asked_with = credentials.auth(arguments.model_auth, f"{arguments.role}_auth")
        secrets = replace(credentials.read(SECRETS[arguments.role], asked_with), noted=redaction.add)
        redaction.add(secrets.api_key, secrets.hf_token)
        found = Probe(arguments.model_url, arguments.model_name, secrets, role=arguments.role).fingerprint()
    except EvalHubError as error:
        print(redaction.text(str(error)), file=sys.stderr)
        return error.exit_status
    atomic.write_json(arguments.output, redaction.document(found.as_json()))
    if arguments.digest_file:
        atomic.write_text(arguments.digest_file, found.digest())
    for line in found.missing:
        print(redaction.text(f"not known of the model: {line}"), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
