"""`evalhub-kfp demo-model`: the stand-in model for the demo and the tests."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command("demo-model", short_help="serve a stand-in for a model")
@click.option("--host", default="127.0.0.1", help="address to listen on")
@click.option("--port", default=8000, help="port to listen on; 0 takes a free one")
@click.option("--port-file", type=click.Path(path_type=Path), metavar="FILE", help="file that gets the port")
@click.option("--model-name", default="demo-model", help="the model name it answers to")
@click.option("--skill", default=0.9, help="share of questions it answers correctly")
@click.option("--seed", default=0, help="chooses which questions those are")
@click.option("--latency", default=0.0, help="seconds before each answer")
@click.option("--error-rate", default=0.0, help="share of requests that get HTTP 500")
@click.option("--refusal-rate", type=float, help="share of harmful requests it refuses  [default: skill]")
def demo_model(
    host: str,
    port: int,
    port_file: Path | None,
    model_name: str,
    skill: float,
    seed: int,
    latency: float,
    error_rate: float,
    refusal_rate: float | None,
) -> None:
    """serve a deterministic stand-in for a model; DEMO_MODEL_API_KEY makes it ask for a key"""
    from evalhub_components.errors import EvalHubError
    from evalhub_pipelines.demo_model import API_KEY_VARIABLE, DemoModelSettings, serve

    try:
        settings = DemoModelSettings(
            skill=skill,
            seed=seed,
            latency=latency,
            error_rate=error_rate,
            refusal_rate=refusal_rate,
            api_key=os.environ.get(API_KEY_VARIABLE) or None,
            model_name=model_name,
            host=host,
            port=port,
            port_file=port_file,
        )
        serve(settings, on_ready=lambda server: click.echo(server.base_url))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise EvalHubError(f"{host}:{port}: cannot listen there ({error.strerror})") from None
