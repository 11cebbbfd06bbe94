"""The network report: the history's tables -> frames -> figures -> pictures -> one page without a network."""
