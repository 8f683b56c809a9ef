#!/usr/bin/env python3
"""Chat from Python: sends one message, or prints what comes in. Needs: pip install 'websockets>=12'

    chat.py URL NAME PASSWORD PARTNER TEXT    sends TEXT to PARTNER, prints "accepted UID" and ends
    chat.py URL NAME PASSWORD PARTNER         prints messages as they come, as "name: body"

An account that does not exist is made. The exit code is 1 if the server refuses.
"""
import asyncio, json, random, sys, urllib.error, urllib.parse, urllib.request, uuid
import websockets


def http(url, token=None, body=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, body and json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def log_in(api, name, password):
    account = {"username": name, "password": password}
    try:
        return http(f"{api}/login", body=account)
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
        return http(f"{api}/users", body=account)


def printable(text):  # what others write must not steer the terminal
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


async def chat(url, name, password, partner, text=None):
    api, seq, tries = f"{url}/api/v1", None, 0
    login = log_in(api, name, password)
    me, names = login["user"]["id"], {}
    found = http(f"{api}/users?search={urllib.parse.quote(partner)}", login["accessToken"])["items"]
    to = next((user["id"] for user in found if user["username"] == partner), None)
    if to is None:
        sys.exit(f"there is no {partner}")
    # One id for all attempts: sending again changes nothing if the first one arrived.
    message = {"type": "sendMessage", "messageBody": text, "recipientIds": [to], "clientMessageId": str(uuid.uuid4())}

    while True:
        code, resume = None, "" if seq is None else f"?after={seq}"
        try:
            token = login["accessToken"]
            async with websockets.connect(f"ws{url[4:]}/ws{resume}", subprotocols=["parlor.v1", token]) as socket:
                code = 1006
                async for frame in socket:
                    frame = json.loads(frame)
                    if frame["type"] == "welcome":
                        tries, seq = 0, frame["headSeq"] if seq is None else seq
                        print("connected", file=sys.stderr, flush=True)
                        if text is not None:
                            await socket.send(json.dumps(message))
                    elif frame["type"] == "message" and text is None:
                        sender = frame["senderId"]
                        if sender not in names:
                            names[sender] = http(f"{api}/users?ids={sender}", token)["items"][0]["username"]
                        if sender != me:
                            print(f"{names[sender]}: {printable(frame['messageBody'])}", flush=True)
                        seq = frame["seq"]
                    elif frame["type"] == "accepted":
                        return print("accepted", frame["messageUid"])
                    elif frame["type"] == "rejected":
                        sys.exit(f"rejected: {frame.get('detail') or frame['code']}")
        except websockets.ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else 1006
        except (OSError, asyncio.TimeoutError, websockets.InvalidHandshake) as error:
            print(f"not connected: {error}", file=sys.stderr, flush=True)
        if code in (1002, 1003, 1009):
            sys.exit(f"the server does not understand this program (close code {code})")
        await asyncio.sleep(random.uniform(0, min(15, 0.25 * 2**tries)))
        tries += 1
        if code in (4401, None):  # the token has ended, or the server did not let us in
            try:
                login = log_in(api, name, password)
            except OSError as error:
                print(f"not logged in: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    if len(sys.argv) not in (5, 6):
        sys.exit(__doc__)
    try:
        asyncio.run(chat(sys.argv[1].rstrip("/"), *sys.argv[2:]))
    except urllib.error.HTTPError as error:
        sys.exit(f"the server refuses: {error}")
    except (urllib.error.URLError, KeyboardInterrupt) as error:
        sys.exit(f"ended: {error!r}")
