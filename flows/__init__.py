"""When and in what order: every flow reads like a table of contents."""
