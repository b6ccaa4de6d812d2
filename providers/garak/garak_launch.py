"""`python garak_launch.py CONFIG`: garak's own command line, with the changes of `garak_changes`."""

from __future__ import annotations

import sys

import garak_changes
from garak.cli import main

if __name__ == "__main__":
    garak_changes.install()
    main(["--config", sys.argv[1]])
