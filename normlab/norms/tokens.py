"""Token ids are names, not quantities: a scheme that would change them is refused."""

from __future__ import annotations

import torch

from normlab.errors import ConfigError, NormlabError
from normlab.norms.base import Normalization


def require_unchanged_tokens(norm: Normalization, name: str, tokens: int) -> None:
    """Refuse a scheme that gives anything but the token ids that go in.

    Args:
        norm: with its range set; not fitted yet.
        name: of the scheme, for the message.
        tokens: size of the vocabulary.

    Raises:
        ConfigError: if an id would change, or the scheme computes statistics of ids.
    """
    ids = torch.arange(tokens, dtype=torch.int32).reshape(1, 1, -1)
    try:
        with torch.no_grad():
            is_unchanged = torch.equal(norm(ids), ids.to(norm.dtype))
    except NormlabError:  # it learns from data
        is_unchanged = False
    if not is_unchanged:
        raise ConfigError(
            f"norm={name}: would change the tokens of texts, which are names and not quantities: use norm=raw; the "
            f"embedding's scale and layer norm are options of the network, arch.embedding_std and arch.layer_norm"
        )
