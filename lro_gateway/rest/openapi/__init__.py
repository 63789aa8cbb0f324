"""The OpenAPI document of the REST face."""
