"""Architectures, and the network that a run trains: a normalization, then one of the architectures.

A new architecture is one class or function in a file of this folder that takes (shape, classes) and its options as
keyword-only parameters, and one file in ``configs/arch/`` that names the class or function.
"""

from normlab.archs.network import Network

__all__ = ["Network"]
