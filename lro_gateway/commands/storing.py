"""The command `store upgrade`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from lro_gateway.commands.options import fail, stdout
from lro_gateway.commands.store_choice import with_store
from lro_gateway.config.loading import ConfigError, load
from lro_gateway.records.location import Location, StoreError
from lro_gateway.records.opening import Store, open_store


def upgrade(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE", help="The configuration whose store.url names the store."
        ),
    ] = None,
) -> None:
    """Bring the schema of the store up to date. `serve` does this too when it starts."""
    try:
        settings, _ = with_store(load(config), workers=1, stdio=False)
        location = settings.store.location
        if location.is_nowhere:
            fail('store.url is "none", so there is nothing to upgrade')
        found = asyncio.run(_upgraded(location))
    except (ConfigError, StoreError) as error:
        fail(str(error))
    if found.before == found.version:
        text = f"has schema {found.version} already"
    elif found.before is None:
        text = f"is new, and has schema {found.version}"
    else:
        text = f"had schema {found.before}, and now has {found.version}"
    stdout.print(f"{location} {text}", soft_wrap=True, markup=False)


async def _upgraded(location: Location) -> Store:
    async with open_store(location) as store:
        return store
