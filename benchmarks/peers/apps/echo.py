"""The limit: what FastAPI and uvicorn can do when there is nothing to do."""

from fastapi import FastAPI, Request, Response

app = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False})


@app.get("/ready")
async def ready() -> str:
    return "yes"


@app.post("/echo")
async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/json")
