"""Which normalization for a user's own data: a small planned study with a sequential rule, and its answer."""
