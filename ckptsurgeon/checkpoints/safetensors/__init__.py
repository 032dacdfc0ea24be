"""safetensors files, read and written."""
