"""GGUF files, as llama.cpp and Ollama keep models: read, held against rules, unpacked once.

`header` reads what a file says of itself, `settings` makes a configuration of it, `tokens` a
tokenizer, and `unpack` a folder in Hugging Face format with plain float32 weights.
"""

from lensdepth.gguf.header import Header, is_gguf, read_header
from lensdepth.gguf.unpack import find_gguf, unpacked

__all__ = ["Header", "find_gguf", "is_gguf", "read_header", "unpacked"]
