"""`python -m evalhub_pipelines.demo_model`: starts the demo model and prints its base URL."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from evalhub_pipelines.demo_model import API_KEY_VARIABLE, DemoModelSettings, serve


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 2 for settings that cannot work, 130 when interrupted."""
    default = DemoModelSettings()
    parser = argparse.ArgumentParser(
        prog="python -m evalhub_pipelines.demo_model",
        description="a deterministic stand-in for an OpenAI-compatible model server",
        epilog=f"a key in the environment variable {API_KEY_VARIABLE} makes every request under /v1 need it",
    )
    parser.add_argument("--host", default=default.host, help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=default.port, help="port to listen on, 0 for a free one (default: 0)"
    )
    parser.add_argument("--port-file", type=Path, help="file that receives the port once the server listens")
    parser.add_argument("--model-name", default=default.model_name, help="name of the model (default: %(default)s)")
    parser.add_argument(
        "--skill", type=float, default=default.skill, help="share of right answers (default: %(default)s)"
    )
    parser.add_argument("--refusal-rate", type=float, help="share of refused harmful requests (default: the skill)")
    parser.add_argument(
        "--seed", type=int, default=default.seed, help="chooses the wrong answers (default: %(default)s)"
    )
    parser.add_argument(
        "--latency", type=float, default=default.latency, help="seconds per request (default: %(default)s)"
    )
    parser.add_argument("--error-rate", type=float, default=default.error_rate, help="share of HTTP 500 (default: 0)")
    arguments = parser.parse_args(argv)
    try:
        settings = DemoModelSettings(**vars(arguments), api_key=os.environ.get(API_KEY_VARIABLE) or None)
        serve(settings, on_ready=lambda server: print(server.base_url, flush=True))
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        pass
    return 130


if __name__ == "__main__":
    sys.exit(main())
