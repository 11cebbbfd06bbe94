-- Prefect's own database, beside the state's: read by PostgreSQL's image when it makes its files.
CREATE DATABASE prefect OWNER subnet;
