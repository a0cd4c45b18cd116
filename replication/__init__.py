"""Headline contrasts once more, in bare PyTorch: nothing here imports the harness that it checks."""
