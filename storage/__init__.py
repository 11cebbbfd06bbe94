"""Memory: records, tables, Parquet, and the one place that converts."""
