"""The REST face: a mirror of google.longrunning.Operations that Google's own clients can use."""
