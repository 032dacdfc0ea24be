"""Reports as GitHub's markdown: folded tables for pull requests and job summaries."""
