"""Reports as pages of HTML, each one file that loads nothing: a module per kind of result."""
