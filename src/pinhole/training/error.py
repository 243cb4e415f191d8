"""The error of training: apart from it, because the command line catches it without torch."""


class TrainingError(RuntimeError):
    """Training cannot go on; the message names the step and a remedy. Checkpoints are kept."""
