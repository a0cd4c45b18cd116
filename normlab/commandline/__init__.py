"""The command line: one typed request out of the arguments, its grid, Hydra's composing, sweeps and their summary."""
