"""Focus and classification networks: the contract, the named ones, text, and fast kernels."""
