"""The REST face: google.longrunning.Operations over HTTP, usable by Google's own clients."""
