"""A proxy that demands a user and a password before it lets anybody speak to a server, for tests of what becomes of them."""

import asyncio
import base64
import contextlib
import threading
from pathlib import Path
from urllib.parse import quote, urlsplit

USER, PASSWORD = "ann", "c4n4ry/@ 7f3a"  # Holds what must be percent-encoded
LOGIN = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
FORMS = [PASSWORD, quote(PASSWORD, safe=""), LOGIN, "c4n4ry"]
"What a leaked password looks like: as it is, percent-encoded, as a header, and any beginning of it."


class Demanding:
    """Passes connections on to `target` where the request carries the password; everything else gets 401."""

    def __init__(self, target):
        self.target, self.admitted, self.refused, self.heads = urlsplit(target), 0, 0, []

    @property
    def url(self):
        "The address with user and password."
        return f"http://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}"

    async def serve(self, reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            if f"authorization: basic {LOGIN}".lower().encode() not in head.lower():
                self.refused += 1
                # A careless server: it repeats what it was sent
                body = b'{"message": "wrong password: ' + head.replace(b"\r\n", b" ").replace(b'"', b"'") + b'"}'
                writer.write(b"HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
                await writer.drain()
                return
            self.admitted += 1
            there, back = await asyncio.open_connection(self.target.hostname, self.target.port)
            back.write(head)
            await asyncio.wait([asyncio.create_task(self.pump(*pair)) for pair in ((reader, back), (there, writer))], return_when=asyncio.FIRST_COMPLETED)
            back.close()

    async def pump(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()


@contextlib.contextmanager
def demanding(target):
    """Run a proxy in a thread."""
    proxy, loop = Demanding(target), asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(proxy.serve, "127.0.0.1", 0))
    proxy.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def end():
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.call_later(0.05, loop.stop)

    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(end)
        thread.join(5)
        loop.close()


def leaks(folder, forms=FORMS):
    """Files below a folder that hold a secret in any form, in their text or their name."""
    found = []
    for path in sorted(Path(folder).rglob("*")):
        held = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found += [f"{path.name}: {form}" for form in forms if form.encode() in held or form in str(path.relative_to(folder))]
    return found


class CommandLines(threading.Thread):
    """Looks at the command line of every process again and again, and keeps those that hold a secret."""

    def __init__(self, forms=FORMS):
        super().__init__(daemon=True)
        self.forms, self.found, self.seen, self.done = [form.encode() for form in forms], set(), set(), threading.Event()

    def run(self):
        while not self.done.wait(0.1):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    line = path.read_bytes()
                    self.seen.add(line)
                    self.found |= {line} if any(form in line for form in self.forms) else set()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join(5)
