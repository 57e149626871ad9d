-- Run once, by PostgreSQL's image, on an empty volume: a role and a database for each service, which no other may enter.
\set airflow_password `cat /run/secrets/postgres_airflow_password`
\set mlflow_password `cat /run/secrets/postgres_mlflow_password`
\set rag_password `cat /run/secrets/postgres_rag_password`
CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE ROLE rag LOGIN PASSWORD :'rag_password';
CREATE DATABASE airflow OWNER airflow;
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE rag OWNER rag;
REVOKE ALL ON DATABASE airflow, mlflow, rag, postgres FROM PUBLIC;
\connect rag
CREATE EXTENSION vector;
