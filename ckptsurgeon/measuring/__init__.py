"""Values told in numbers: what one pass over a checkpoint's tensors finds, in bounded memory."""
