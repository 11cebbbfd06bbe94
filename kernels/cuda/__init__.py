"""The CUDA forms of the kernels: the bits of the CPU forms beside them. **Not yet run on a card.**

| module | what it computes on a card |
|---|---|
| `fill` | D from a card's seed |
| `walk` | a round: the nodes over its leaves; one walker again |
| `multiply` | the product in chunks of rows: the leaves of its tiles; single tiles again |
| `merkle` | a tree from its leaves or nodes up to the root; the path from a node to it |
| `launch` | grids, chunks and bytes for cards of any size: arithmetic alone |
| `registry` | every kernel with its signature |

Nothing outside this package imports numba.cuda, and a validator needs none of it (`launch` is free of it). Importing a
module needs numba-cuda, but neither a driver nor a card: kernels are compiled at their first launch. What has been
seen without a card: under the CUDA simulator every kernel gives the CPU form's bytes, and for every compute
capability from 7.5 to 12.0 it becomes PTX that ptxas assembles.
"""
