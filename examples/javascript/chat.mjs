// Chat from JavaScript: in the browser (see index.html), or in node >= 20 (before 22 with `npm install ws`).
//
//     node chat.mjs URL NAME PASSWORD PARTNER TEXT    sends TEXT to PARTNER, prints "accepted UID" and ends
//     node chat.mjs URL NAME PASSWORD PARTNER         prints messages as they come, as "name: body"
//
// An account that does not exist is made. The exit code is 1 if the server refuses.

const WebSocket = globalThis.WebSocket ?? (await import("ws")).WebSocket;

export class Chat {
  onmessage = (name, body) => {};
  onstatus = (status) => {};
  onend = (error) => {}; // for good: this program is at fault
  #url; #account; #login; #socket; #seq; #tries = 0;
  #unsent = new Map(); // by clientMessageId, in order
  #names = new Map();

  constructor(url, username, password) {
    this.#url = url.replace(/\/+$/, "");
    this.#account = { username, password };
  }

  /** Logs in, making the account if there is none, and connects. */
  async open() {
    await this.#logIn();
    this.#connect();
  }

  /** Sends to a user by name; resolves with the message's uid when the server has it safe. */
  async send(partner, messageBody) {
    const { items } = await this.#http(`users?search=${encodeURIComponent(partner)}`);
    const user = items.find(({ username }) => username === partner);
    if (!user) throw new Error(`there is no ${partner}`);
    // The id makes it harmless to send again. (crypto.randomUUID is missing from pages without https.)
    const clientMessageId = crypto.getRandomValues(new Uint32Array(4)).join("-");
    const frame = JSON.stringify({ type: "sendMessage", messageBody, recipientIds: [user.id], clientMessageId });
    return new Promise((resolve, reject) => {
      this.#unsent.set(clientMessageId, { frame, resolve, reject });
      this.#socket?.send(frame);
    });
  }

  async #http(path, body) {
    const headers = { "Content-Type": "application/json" };
    if (this.#login) headers.Authorization = `Bearer ${this.#login.accessToken}`;
    const request = body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers };
    const response = await fetch(`${this.#url}/api/v1/${path}`, request);
    const answer = await response.json();
    if (!response.ok) throw Object.assign(new Error(answer.detail ?? answer.title), { status: response.status });
    return answer;
  }

  async #logIn() {
    this.#login = undefined;
    this.#login = await this.#http("login", this.#account).catch((error) => {
      if (error.status !== 401) throw error;
      return this.#http("users", this.#account);
    });
  }

  #connect() {
    const resume = this.#seq === undefined ? "" : `?after=${this.#seq}`;
    const url = `${this.#url.replace(/^http/, "ws")}/ws${resume}`;
    const socket = new WebSocket(url, ["parlor.v1", this.#login.accessToken]);
    let opened = false;
    let work = Promise.resolve(); // one frame after the other, though names are asked for in between
    socket.onopen = () => { opened = true; };
    socket.onmessage = ({ data }) => {
      work = work.then(() => this.#take(JSON.parse(data), socket)).catch((error) => this.onstatus(error.message));
    };
    socket.onerror = () => {}; // a close follows
    socket.onclose = ({ code }) => {
      this.#socket = undefined;
      if ([1002, 1003, 1009].includes(code)) return this.onend(new Error(`closed for good: code ${code}`));
      this.onstatus("reconnecting …");
      // Frames already here come first: they say where to resume. Without an open, the token may be at fault.
      work.then(() => this.#again(code === 4401 || !opened));
    };
  }

  #again(logIn) {
    const wait = Math.random() * Math.min(15000, 250 * 2 ** this.#tries++);
    setTimeout(() => (logIn ? this.#logIn() : Promise.resolve()).then(
      () => this.#connect(),
      (error) => { this.onstatus(error.message); this.#again(true); },
    ), wait);
  }

  async #take(frame, socket) {
    if (frame.type === "welcome") {
      this.#tries = 0;
      this.#seq ??= frame.headSeq;
      if (socket.readyState !== socket.OPEN) return;
      this.#socket = socket;
      this.onstatus("connected");
      for (const { frame } of this.#unsent.values()) socket.send(frame);
    } else if (frame.type === "message") {
      const id = frame.senderId;
      if (!this.#names.has(id)) this.#names.set(id, await this.#http(`users?ids=${id}`).then((page) => page.items[0]).catch(() => undefined));
      if (id !== this.#login?.user.id) this.onmessage(this.#names.get(id)?.username ?? `user ${id}`, frame.messageBody);
      this.#seq = frame.seq;
    } else if (this.#unsent.has(frame.clientMessageId)) {
      const { resolve, reject } = this.#unsent.get(frame.clientMessageId);
      this.#unsent.delete(frame.clientMessageId);
      if (frame.type === "accepted") resolve(frame.messageUid);
      else reject(new Error(`rejected: ${frame.detail ?? frame.code}`));
    }
  }
}

async function main(url, name, password, partner, text) {
  if (!partner) throw new Error("usage: chat.mjs URL NAME PASSWORD PARTNER [TEXT]");
  const chat = new Chat(url, name, password);
  chat.onstatus = (status) => console.error(status);
  // What others write must not steer the terminal.
  const printable = (body) => body.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
  chat.onmessage = (sender, body) => { if (text === undefined) console.log(`${sender}: ${printable(body)}`); };
  const ended = new Promise((_, reject) => { chat.onend = reject; });
  await chat.open();
  if (text === undefined) await ended;
  console.log("accepted", await Promise.race([chat.send(partner, text), ended]));
}

if (globalThis.process?.argv[1]?.endsWith("chat.mjs")) {
  main(...process.argv.slice(2)).then(
    () => process.exit(0),
    (error) => { console.error(error.message); process.exit(1); },
  );
}
