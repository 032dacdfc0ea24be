"""From nodes to rules: each part of a rule file read by tables of the words it takes."""
