"""Coverage-guided fuzzing of the parts of the gateway that read what others send."""
