"""Independent oracles: formulas spelt as in the paper and values to 25 digits, without attnflow."""
