"""Rule files made from concrete steps: what a careful person would have written for them."""
