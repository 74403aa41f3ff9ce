"""Faster inference with the same function: BatchNorm folding, fused convolutions, CUDA graphs."""
