"""Where the programs listen unless a variable says otherwise."""

HOST = "127.0.0.1"
PORTS = {"airflow": 8080, "mlflow": 5001, "api": 8000, "rag": 8001}
