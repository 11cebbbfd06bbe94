"""What the market pays: sources, the rule by which they agree, the price file, and portions that follow revenue."""
