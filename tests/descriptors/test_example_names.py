"""Examples of resource names."""

from __future__ import annotations

import pytest

from lro_gateway.descriptors.example_names import example_name


@pytest.mark.parametrize(
    ("pattern", "example"),
    [
        ("databases/*", "databases/my-database"),
        ("projects/*/instances/*", "projects/my-project/instances/my-instance"),
        ("projects/*/backupSchedules/*", "projects/my-project/backupSchedules/my-backup-schedule"),
        ("policies/*", "policies/my-policy"),
        ("addresses/*", "addresses/my-address"),
        ("indexes/*", "indexes/my-index"),
        ("branches/*", "branches/my-branch"),
        ("access/*", "access/my-access"),
        ("log_buckets/*", "log_buckets/my-log-bucket"),
        ("projects/*/global", "projects/my-project/global"),
        ("files/**", "files/my-file"),
        ("*/things/*", "my-resource/things/my-thing"),
        ("*/*", "my-resource/my-resource"),
    ],
)
def test_an_example_has_an_id_for_each_wildcard(pattern: str, example: str) -> None:
    """The id is made of the collection's name in the singular."""
    assert example_name(pattern) == example
