"""All of googleapis, and clients that Google publishes, against the gateway."""
