"""MLflow's own page of a run, as a reader meets it in a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browsers import browser
from mlflow_servers import database, mlflow_server

from evalhub_components import atomic

pytest.importorskip("mlflow", reason="mlflow is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["browser"]

PATIENCE = 120_000
"""Milliseconds."""


def test_the_page_of_a_run_shows_the_verdict_and_why(
    browser: Browser, cli: Any, model: Any, collection: Callable[..., Path], tmp_path: Path
) -> None:
    with mlflow_server(tmp_path / "server", database(tmp_path / "made")) as server:
        source = collection(("a", {"score": 0.25}, {"pass_criteria": {"threshold": 0.7}, "required": True}))
        endpoint = ["--model-url", model.base_url, "--model-name", "demo-model"]
        done = cli("run", source, "--catalog", cli.catalog, *endpoint, "--mlflow-uri", server)
        assert done.status == 1, done.err
        said = atomic.read_json(cli.run_directory() / "publication.json")
        page = browser.new_page(viewport={"width": 1400, "height": 1200})
        page.goto(f"{server}/#/experiments/{said['mlflow_experiment_id']}/runs/{said['mlflow_run_id']}")
        page.get_by_text("What to do", exact=True).first.wait_for(timeout=PATIENCE)
        shown = page.inner_text("body")
        assert "Failed: demo-model on collection trial" in shown
        assert "0.25 < 0.7" in shown
        assert "evalhub.verdict" in shown
        page.close()
