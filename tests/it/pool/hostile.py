"""A worker that behaves as badly as its first argument says. Speaks just enough of src/script/protocol.rs."""
import os, select, signal, struct, sys, time


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def text(s):
    s = s.encode()
    return varint(len(s)) + s


def frame(body):
    return struct.pack("<I", len(body)) + body


def send(data):
    while data:
        data = data[os.write(1, data):]


buffer = b""


def receive():
    """The next frame: (tag, number, rest)."""
    global buffer
    while True:
        if len(buffer) >= 4:
            n = struct.unpack("<I", buffer[:4])[0]
            if len(buffer) >= 4 + n:
                body, buffer = buffer[4:4 + n], buffer[4 + n:]
                tag, at, number, shift = body[0], 1, 0, 0
                while True:
                    byte = body[at]
                    number |= (byte & 0x7F) << shift
                    at, shift = at + 1, shift + 7
                    if byte < 0x80:
                        return tag, number, body[at:]
        more = os.read(0, 65536)
        if not more:
            sys.exit(0)
        buffer += more


def hello(seccomp=1):
    send(frame(b"\x00" + bytes([seccomp]) + varint(3) + b"\x01\x00\x00" + varint(0)))


# Ran{number, ran{outcome, prints{lines, cut}, cpu_micros, wall_micros, heap_bytes}}
def ran(number, drop=0, replies=(), prints=(), cpu=5, heap=0, outcome=None):
    if outcome is None:
        outcome = b"\x00\x00" + bytes([drop]) + varint(len(replies))
        outcome += b"".join(varint(2) + text(body) for body in replies)
    lines = varint(len(prints)) + b"".join(text(line) for line in prints)
    return frame(b"\x01" + varint(number) + outcome + lines + b"\x00" + varint(cpu) + varint(0) + varint(heap))


def outgoing(body):
    return b"\x00\x01" + text(body)


def failure(kind, detail="no"):
    return b"\x01" + varint(kind) + text(detail) + b"\x00"


def missing(number):
    return frame(b"\x02" + varint(number))


def checked(number, found=()):
    # Diagnostic{severity, line, column, message}
    found = varint(len(found)) + b"".join(b"\x00\x01\x01" + text(message) for message in found)
    return frame(b"\x03" + varint(number) + b"\x00" + found)


def answer(what, number, rest):
    if what == "fine": return ran(number)
    if what == "garbage": return b"\xff" * 40
    if what == "unreadable": return frame(b"\x09\x09\x09")
    if what == "trailing": return frame(ran(number)[4:] + b"x")
    if what == "too-long": return struct.pack("<I", 40000000)
    if what == "endless": return ran(number) * 100000
    if what == "never-asked": return ran(number + 1000)
    if what == "twice": return ran(number) * 2
    if what == "hello-again": return frame(b"\x00\x01\x03\x01\x00\x00\x00")
    if what == "checked-a-run": return checked(number)
    if what == "outgoing-for-incoming": return ran(number, outcome=outgoing("x"))
    if what == "missing": return missing(number)
    if what == "killed-itself": return ran(number, outcome=failure(5))
    if what == "not-its-failure": return ran(number, outcome=failure(7))
    if what == "long-failure": return ran(number, outcome=failure(1, "x" * 16385))
    if what == "failure-at-limit": return ran(number, outcome=failure(1, "x" * 16384))
    if what == "replies-at-limit": return ran(number, replies=["x"] * 8)
    if what == "replies-over": return ran(number, replies=["x"] * 9)
    if what == "body-at-limit": return ran(number, replies=["x" * 1000])
    if what == "body-over": return ran(number, replies=["x" * 1001])
    if what == "prints-at-limit": return ran(number, prints=["x"] * 50)
    if what == "prints-over": return ran(number, prints=["x"] * 51)
    if what == "print-bytes-at-limit": return ran(number, prints=["x" * 8192])
    if what == "print-bytes-over": return ran(number, prints=["x" * 8193])
    if what == "absurd-cpu": return ran(number, cpu=2 ** 63)
    if what == "absurd-heap": return ran(number, heap=2 ** 63)
    raise SystemExit("what is " + what)


def trial(what):
    """What happens before a worker is given work."""
    receive()  # Begin
    _, number, _ = receive()
    if what == "dies-at-trial": os.kill(os.getpid(), signal.SIGSYS)
    if what == "hangs-at-trial": time.sleep(60)
    if what == "finds-fault": send(checked(number, ["never right"]))
    elif what == "runs-the-trial": send(ran(number))
    elif what == "speaks-at-trial": send(checked(number) + ran(1))
    else: send(checked(number))


def main(what):
    # Behind a colon, a file: while it is there, the worker is ill.
    what, _, path = what.partition(":")
    if path and not os.path.exists(path): what = "fine"
    if what == "no-hello": time.sleep(60)
    if what == "exit-at-once": sys.exit(3)
    if what == "garbage-hello": send(b"\xff" * 64); time.sleep(60)
    if what == "talks":
        os.write(2, b"forged\x1b[31m line\n" + b"x" * 1000000)
    if what == "unconfined": hello(seccomp=0)
    else: hello()
    if what == "exit-after-hello": sys.exit(3)
    if what == "speaks-at-hello": send(ran(1))
    trial(what)
    if what == "speaks-unasked":
        # Unless it is asked soon.
        while True:
            if not select.select([0], [], [], 0.1)[0]: send(ran(1))
            tag, number, _ = receive()
            send(ran(number))
    if what == "reads-nothing": time.sleep(60)
    if what == "reads-slowly":
        while True:
            os.read(0, 1)
            time.sleep(0.01)
    while True:
        tag, number, rest = receive()
        # The guilty one says so in its message.
        if b"exit-now" in rest: sys.exit(7)
        if b"segv-now" in rest: os.kill(os.getpid(), signal.SIGSEGV)
        if b"hang-now" in rest: time.sleep(60)
        if b"work" in rest:
            while time.process_time() < 0.2: pass
        if b"kill-now" in rest: os.kill(os.getpid(), signal.SIGKILL)
        if b"term-now" in rest: os.kill(os.getpid(), signal.SIGTERM)
        if b"kill-once " in rest:
            path = rest.split(b"kill-once ")[1].split(b"|")[0]
            if not os.path.exists(path):
                open(path, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
        if b"dribble-now" in rest:
            send(struct.pack("<I", 30000000))
            while True: os.write(1, b"x")
        if b"pause" in rest: time.sleep(0.05)
        if what == "endless":
            while True: send(answer(what, number, rest))
        if what == "half": send(ran(number)[:-1]); time.sleep(60)
        if what == "out-of-order":
            _, second, _ = receive()
            send(ran(second) + ran(number))
        elif what in ("unconfined", "talks"): send(ran(number))
        elif tag == 2: send(checked(number))
        else: send(answer(what, number, rest))


main(sys.argv[1])
