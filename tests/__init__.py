"""Tests of lro_gateway. A module of the package is tested in a folder of the same name."""
