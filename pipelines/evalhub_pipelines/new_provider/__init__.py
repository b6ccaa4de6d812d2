"""`evalhub-kfp providers new`: a folder with a provider that works, for its author to put a framework into."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from evalhub_components.errors import EvalHubError
from evalhub_pipelines.catalog import Catalog

_TEMPLATE = Path(__file__).parent / "template"
_NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")


def write(name: str, catalog: Path) -> Path:
    """Write the provider `name` into `catalog/providers/` and return its folder; all of it is there, or nothing.

    Raises:
        EvalHubError: `name` cannot be a provider's id, or there is such a folder already.
    """
    if not _NAME.fullmatch(name) or len(name) > 40:
        what = "must be lower-case words of letters and digits, joined by - or _, 40 characters at most"
        raise EvalHubError(f"{name!r}: {what} (such as my-framework)")
    if name in Catalog.of().provider_ids():
        raise EvalHubError(f"{name!r}: is a provider that is there already (yours would hide it)")
    folder = catalog / "providers" / name
    if folder.exists():
        raise EvalHubError(f"{folder}: is there already (choose another name, or remove it)")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as unfinished:
            made = Path(unfinished) / name
            _fill(made, name)
            made.rename(folder)
    except OSError as error:
        raise EvalHubError(f"{folder}: cannot be written ({error.strerror})") from None
    return folder


def _fill(folder: Path, name: str) -> None:
    """Write every file of the template with the name in it; its ending keeps other tools from taking it for code."""
    import jinja2

    environment = jinja2.Environment(keep_trailing_newline=True, undefined=jinja2.StrictUndefined, autoescape=False)
    words = re.split(r"[_-]", name)
    names = {
        "name": name,
        "module": "_".join(words),
        "title": " ".join(word.capitalize() for word in words),
        "class_name": "".join(word.capitalize() for word in words),
    }
    for source in sorted(_TEMPLATE.rglob("*")):
        if not source.is_file():
            continue
        target = folder / str(source.relative_to(_TEMPLATE)).replace("NAME", names["module"]).removesuffix(".jinja")
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".jinja":
            target.write_text(environment.from_string(source.read_text("utf-8")).render(names), "utf-8")
        else:
            shutil.copyfile(source, target)
