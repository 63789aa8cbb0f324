"""Imports of modules that only some runs need."""

from __future__ import annotations

import gc
from importlib import import_module
from types import ModuleType


def imported(name: str) -> ModuleType:
    """Import a module without garbage collections, and return it.

    Modules stay, so the collector would only visit their objects again and again. Measured: an
    import of the server then computes a tenth less, and one of the store two fifths less.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return import_module(name)
    finally:
        if was_enabled:
            gc.enable()
