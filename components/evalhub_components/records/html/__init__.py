"""`report.html`: one page that explains a verdict, loads nothing and runs nothing. Nothing else imports jinja2."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING

from evalhub_components.errors import MissingExtra
from evalhub_components.records.html import page
from evalhub_components.records.html.texts import Room
from evalhub_components.run_directory import LoadedRun
from evalhub_components.schema.run import Publication
from evalhub_components.schema.verdict import Verdict

if TYPE_CHECKING:
    from jinja2 import Template

LIMIT = 1_000_000
"""Bytes a page has at most."""

_ROOMS = (Room(300, 24, 20, 500), Room(120, 10, 10, 500), Room(60, 4, 4, 500), Room(40, 1, 0, 500))


def render(run: LoadedRun, verdict: Verdict, publication: Publication | None = None) -> str:
    """Return the page, at most LIMIT bytes of UTF-8; the more there is to show, the shorter each text becomes.

    Args:
        publication: where the records went. Without it the page depends on the run's results alone.

    Raises:
        MissingExtra: jinja2 is not installed.
    """
    template = _template()
    style = files(__package__).joinpath("templates/report.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rooms = list(_ROOMS)
    while True:
        room = rooms.pop(0)
        shown = page.build(run, verdict, publication, room)
        written = template.render(page=shown, style=style, style_digest=digest)
        size, benchmarks = len(written.encode()), len(shown.rows)
        if size <= LIMIT or not benchmarks:
            return written
        # most of the page are benchmarks, so this is nearly what fits
        rooms = rooms or [room._replace(benchmarks=min(benchmarks - 1, benchmarks * LIMIT * 9 // (size * 10)))]


@cache
def _template() -> Template:
    if find_spec("jinja2") is None:
        raise MissingExtra("report", "report.html")
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    return environment.get_template("report.html.jinja")
