"""How machines are paid: one module a formula, each with a `bill` that gives terms, score and what is to be told."""
