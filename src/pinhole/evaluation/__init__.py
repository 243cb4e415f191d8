"""Evaluation in dialogues."""
