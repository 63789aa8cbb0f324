"""A real backend of Node.js."""
