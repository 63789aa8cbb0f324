"""Running the gateway: the application, its guard, the HTTP server, the workers."""
