"""The shipped rulesets, one YAML file each, installed as `ckptsurgeon._rules`."""
