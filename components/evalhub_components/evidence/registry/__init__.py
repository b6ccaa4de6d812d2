"""A repository of a registry: logged in to, read from and written to.

Raises:
    MissingExtra: on import, where the libraries for it are not installed.
"""

from evalhub_components.errors import MissingExtra

try:
    import oras
    import requests
    import tenacity
except ImportError:
    raise MissingExtra("oci", "talking to a registry") from None

del oras, requests, tenacity
