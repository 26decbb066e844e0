"""Notes in the store whose URL is in the variable that is named on the command line; where it is not set, there are none."""

import os
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

URL = os.environ.get(sys.argv[1])


class Redis:
    def all(self):
        return [note.decode() for note in self.call(b"LRANGE", b"notes", b"0", b"-1")]

    def add(self, note):
        self.call(b"RPUSH", b"notes", note.encode())

    def call(self, *words):
        at = urlsplit(URL)
        with socket.create_connection((at.hostname, at.port), 2) as stream, stream.makefile("rb") as answer:
            stream.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
            return self.read(answer)

    def read(self, answer):
        line = answer.readline()
        kind, rest = line[:1], line[1:].strip()
        if kind == b"*":
            return [self.read(answer) for _ in range(int(rest))]
        if kind == b"$":
            return answer.read(int(rest) + 2)[:-2]
        if kind == b":":
            return int(rest)
        raise OSError(f"redis says {line!r}")


class Postgres:
    TABLE = "create table if not exists notes (number serial primary key, note text not null);"

    def all(self):
        return self.run("select note from notes order by number;")

    def add(self, note):
        self.run("insert into notes (note) values (:'note');", f"--set=note={note}")

    def run(self, sql, *options):
        command = ["psql", URL, "-XAtq", "--set=ON_ERROR_STOP=1", *options]
        sql = "set client_min_messages = error;" + self.TABLE + sql
        done = subprocess.run(command, input=sql, text=True, capture_output=True, timeout=5)
        if done.returncode != 0:
            raise OSError(done.stderr.strip())
        return done.stdout.splitlines()


STORE = {"REDIS_URL": Redis, "DATABASE_URL": Postgres}[sys.argv[1]]() if URL else None


class Notes(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/up" and STORE is None:
            self.answer(200, "up")
        elif STORE is None:
            self.answer(404, "no notes are kept here")
        else:
            self.with_store(STORE.all)

    def do_POST(self):
        note = self.rfile.read(int(self.headers["content-length"])).decode()
        if STORE is None:
            self.answer(404, "no notes are kept here")
        else:
            self.with_store(lambda: STORE.add(note) or STORE.all())

    def with_store(self, act):
        try:
            self.answer(200, "\n".join(act()))
        except (OSError, subprocess.SubprocessError) as error:
            self.answer(503, f"cannot reach the store: {error}")

    def answer(self, code, text):
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())


ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Notes).serve_forever()
