"""A mounted volume: nothing is copied, its content is only described."""

from __future__ import annotations

import os
from pathlib import Path

from evalhub_components.errors import EvalHubError
from evalhub_components.schema.collection import PVCData
from evalhub_components.test_data import names, tree
from evalhub_components.test_data.arrival import Arrival
from evalhub_components.test_data.limits import Limits

PVC_MOUNT = "EVALHUB_PVC_MOUNT"
"""Environment variable that names the folder where the volume is mounted, or what stands for it on a laptop."""


def fetch(data: PVCData, limits: Limits) -> Arrival:
    """Return what the folder holds that `data` names.

    Raises:
        EvalHubError: there is no such folder, or something in it is no plain file inside of it.
    """
    place = folder(data)
    return Arrival({}, tree.described(place, limits, str(place)))


def folder(data: PVCData) -> Path:
    """Return the folder that `data` names, which a benchmark can use as its test data.

    Raises:
        EvalHubError: it is not there, or not in the volume.
    """
    mount = os.environ.get(PVC_MOUNT)
    if not mount:
        raise EvalHubError(f"{PVC_MOUNT}: must name the folder where the volume {data.claim_name} is mounted")
    root = Path(mount).resolve()
    sub_path = names.checked(data.sub_path.rstrip("/"), "pvc sub_path") if data.sub_path else ""
    place = (root / sub_path).resolve()
    if not place.is_dir() or not place.is_relative_to(root):
        raise EvalHubError(f"{root / sub_path}: is no folder of the volume {data.claim_name} (check sub_path)")
    return place
