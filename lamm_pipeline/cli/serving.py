"""`lamm up, reports`: what is looked at in a browser."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from lamm_pipeline.cli import options
from lamm_pipeline.cli.session import open_session
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.reports.security import access_for
from lamm_pipeline.reports.server import listen, serve
from lamm_pipeline.settings import Settings

LOCAL = "127.0.0.1"
REPORT_PORT = 3001


@options.command
def up(
    root: options.Root = None,
    port: Annotated[int, typer.Option(help="Port of Dagster's UI.")] = 3000,
    report_port: Annotated[int, typer.Option(help="Port of the review pages and reports; 0 for any that is free.")] = REPORT_PORT,
) -> None:
    """Start Dagster's UI and daemon, and the report server with the review pages, on 127.0.0.1. Stop them with Ctrl-C."""
    with open_session(root) as session:
        chosen = session.settings.root
        access_for(LOCAL, session.settings.report_token)
    listener = listen(LOCAL, report_port)
    address = _url(LOCAL, listener)
    dagster = f"http://{LOCAL}:{port}"
    environment = {"LAMM_REPORT_URL": address, "LAMM_DAGSTER_URL": dagster} | os.environ | {"LAMM_ROOT": str(chosen)}
    options.say(f"Dagster's UI: {dagster} (root {chosen})")
    options.say(f"Dashboard, review pages and reports: {address}")
    sys.stdout.flush()
    # shells start what runs in the background with SIGINT ignored, and Dagster stops its own processes with it
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _start_report_server(chosen, listener, environment)
    environment.pop("LAMM_REPORT_TOKEN", None)
    arguments = [sys.executable, "-m", "dagster", "dev", "-m", "lamm_pipeline.definitions", "-h", LOCAL, "-p", str(port)]
    os.execve(sys.executable, arguments, environment)  # noqa: S606 - the interpreter that runs this command


@options.command
def reports(
    root: options.Root = None,
    host: Annotated[str, typer.Option(help="Address to listen on. One that other machines reach needs LAMM_REPORT_TOKEN.")] = LOCAL,
    port: Annotated[int, typer.Option(help="Port; 0 for any that is free.")] = REPORT_PORT,
) -> None:
    """Start the report server alone: review pages and reports, without Dagster. Stop it with Ctrl-C.

    lamm reports --root data --port 3001
    """
    settings = Settings.from_environment(root=root)
    access = access_for(host, settings.report_token)
    listener = listen(host, port)
    options.say(f"Dashboard, review pages and reports: {_url(host, listener)} (root {settings.root})")
    sys.stdout.flush()
    serve(Workspace(root=str(settings.root)), access, listener)


def _start_report_server(root: Path, listener: socket.socket, environment: dict[str, str]) -> None:
    """Start the report server as a process that ends with this one, whatever this one becomes and however it ends.

    It reads the end of a pipe whose other end only this process holds, also after `exec`, and stops when that is closed.
    """
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    command = [sys.executable, "-m", "lamm_pipeline.reports", str(root), LOCAL, str(listener.fileno())]
    subprocess.Popen(command, stdin=reading, pass_fds=[listener.fileno()], env=environment)  # noqa: S603
    os.close(reading)
    listener.close()


def _url(host: str, listener: socket.socket) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
