"""The native evaluator: graphs compiled to machine code by LLVM."""
