"""Identity: the credentials by which the gateway knows a caller."""
