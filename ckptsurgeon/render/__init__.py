"""Reports and inspections as text: a file per format. Nothing here prints."""
