"""The service over HTTP: a question in, passages and answers out, under limits that hold.

`app.build_app` makes the application over an open `Service`, `run.serve` runs it until it is told
to stop. Nothing here is imported before `sextant rag serve` needs it.
"""
