"""Coverage-guided fuzzing of the readers, run by hand; what it finds becomes a test beside the reader."""
