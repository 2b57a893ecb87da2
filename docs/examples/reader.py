"""Takes pictures or raw frames off the bus: FRAMEBUS_NATS_PASSWORD=… reader.py HOST PORT STREAM [raw]

Needs no package: the protocol of NATS is lines of text.
"""
import contextlib, json, os, socket, struct, sys, threading, time

def frames(host, port, stream, raw=False, password=""):
    """Yields (width, height, sequence, payload): a JPEG, or raw the planes of I420."""
    bus = socket.create_connection((host, int(port)))
    lines = bus.makefile("rb")
    subject = f"framebus.v1.raw.*.{stream}._" if raw else f"framebus.v1.jpeg.{stream}.full"
    login = {"user": "reader", "pass": password, "verbose": False, "headers": True}
    bus.sendall(f"CONNECT {json.dumps(login)}\r\nSUB {subject} 1\r\n".encode())
    want = {"reader": f"reader-{os.getpid()}", "stream": stream,
            **({"raw": {}} if raw else {"rungs": [{"rung": "RUNG_FULL"}]})}
    head, body = "NATS/1.0\r\ncontent-type: application/json\r\n\r\n", json.dumps(want)
    ask = f"HPUB framebus.v1.feedback.{stream} {len(head)} {len(head + body)}\r\n{head}{body}\r\n".encode()
    def keep_asking():                        # nothing is sent or encoded that nobody wants; a wish lives two seconds
        with contextlib.suppress(OSError):
            while True:
                bus.sendall(ask)
                time.sleep(0.5)
    threading.Thread(target=keep_asking, daemon=True).start()
    for line in lines:
        word, *args = line.split()
        if word == b"PING":
            bus.sendall(b"PONG\r\n")
        elif word == b"-ERR":
            raise PermissionError(line.decode().strip())
        elif word in (b"MSG", b"HMSG"):       # …MSG subject 1 [bytes of headers] bytes
            message = lines.read(int(args[-1]) + 2)[int(args[-2]) if word == b"HMSG" else 0:-2]
            width, height = struct.unpack_from("!HH", message, 8)
            yield width, height, struct.unpack_from("!Q", message, 24)[0], message[message[4]:]

if __name__ == "__main__":
    for w, h, n, data in frames(*sys.argv[1:4], sys.argv[4:] == ["raw"], password=os.environ["FRAMEBUS_NATS_PASSWORD"]):
        print(f"{w}x{h} frame {n}: {len(data)} bytes")
