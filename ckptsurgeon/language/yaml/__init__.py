"""From YAML text, or from plain Python values, to nodes that know their places."""
