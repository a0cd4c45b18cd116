"""Statistics of a user's own images, tables, recordings and texts, and the advice that follows from them."""
