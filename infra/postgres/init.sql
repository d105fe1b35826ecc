-- Databases and roles, made once, when PostgreSQL's volume is empty. Passwords come from the environment.
-- Nobody but its own role connects to a database. The ledger has three roles: abi_owner owns the tables, abi_ledger is what
-- runs use, abi_reader is for auditors and metrics (ledger.py grants what each may do).
\set ON_ERROR_STOP on
\getenv mlflow_password MLFLOW_DB_PASSWORD
\getenv prefect_password PREFECT_DB_PASSWORD
\getenv owner_password LEDGER_OWNER_PASSWORD
\getenv ledger_password LEDGER_DB_PASSWORD
\getenv reader_password LEDGER_READER_PASSWORD

CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE ROLE prefect LOGIN PASSWORD :'prefect_password';
CREATE ROLE abi_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE abi_ledger LOGIN PASSWORD :'ledger_password';
CREATE ROLE abi_reader LOGIN PASSWORD :'reader_password';

CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE mlflow_auth OWNER mlflow;
CREATE DATABASE prefect OWNER prefect;
CREATE DATABASE abi_ledger OWNER abi_owner;

REVOKE CONNECT, TEMPORARY ON DATABASE mlflow, mlflow_auth, prefect, abi_ledger FROM PUBLIC;
GRANT CONNECT ON DATABASE abi_ledger TO abi_ledger, abi_reader;

\connect prefect
CREATE EXTENSION IF NOT EXISTS pg_trgm;
