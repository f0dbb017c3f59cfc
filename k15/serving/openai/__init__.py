"""A worker as an OpenAI-compatible server: HTTP beside gRPC, on one engine.

Read `app` first: what is asked, and who is answered.  Starlette and uvicorn are
imported here alone; the extra is `http`.
"""
