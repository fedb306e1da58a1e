"""Text to lossless trees; what the words of a language look like, not what they mean."""
