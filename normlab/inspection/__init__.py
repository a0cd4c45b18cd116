"""Statistics of a user's own images, and the advice that follows from them; PyTorch is not imported here."""
