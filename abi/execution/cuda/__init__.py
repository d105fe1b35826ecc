"""What CUDA does otherwise than a processor when the same module runs: traced without a GPU, held against one."""
