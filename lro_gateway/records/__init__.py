"""Records: what must survive the process, and the only code that speaks SQL."""
