"""Plays dialogues against running OpenAI-compatible servers, and measures what they serve."""
