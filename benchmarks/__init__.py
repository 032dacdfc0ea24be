"""How long jobs take beside a plain copy and beside the scripts that people write today."""
