"""Runs a DynamoDB that nobody here wrote, on loopback, until standard input ends: whatever becomes of the test, its server does not outlive it.

Usage: engines.py ministack, or engines.py dynoxide PROGRAM. The first line of output is the port.
"""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time


def loopback():
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    return listener


def until_stdin_ends(then):
    def watch():
        sys.stdin.buffer.read()
        then()
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def ministack():
    listener = loopback()
    listener.listen(256)
    port = listener.getsockname()[1]
    os.environ.update(SERVICES="dynamodb", GATEWAY_PORT=str(port), BIND_HOST="127.0.0.1", LOG_LEVEL="WARNING")

    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app

    config = Config()
    # The socket is open already: the port is known, and nobody else can take it.
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    until_stdin_ends(lambda: None)
    print(port, flush=True)
    asyncio.run(serve(app, config))


def dynoxide(program):
    listener = loopback()
    port = listener.getsockname()[1]
    listener.close()
    command = [program, "serve", "--host", "127.0.0.1", "--port", str(port), "--log", "quiet"]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until_stdin_ends(child.kill)
    while child.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            print(port, flush=True)
            break
        except OSError:
            time.sleep(0.05)
    sys.exit(child.wait())


{"ministack": ministack, "dynoxide": dynoxide}[sys.argv[1]](*sys.argv[2:])
