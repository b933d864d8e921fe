"""Every crash point, every order, every race: a deterministic simulator over the real definition and functions."""
