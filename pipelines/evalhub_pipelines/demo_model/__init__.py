"""A deterministic stand-in for an OpenAI-compatible model server, for the demo and the tests.

It is no language model. It recognises a handful of plain English question families (see `questions`), solves them,
and gives a wrong answer to a chosen share of them (`skill`). Everything else gets "I do not know.". The same settings
give the same answers, on every endpoint and after every restart, so what a run against it must score is known.
Standard library only.
"""

from evalhub_pipelines.demo_model.server import DemoModelServer, running, serve
from evalhub_pipelines.demo_model.settings import API_KEY_VARIABLE, DemoModelSettings

__all__ = ["API_KEY_VARIABLE", "DemoModelServer", "DemoModelSettings", "running", "serve"]
