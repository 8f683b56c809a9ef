/**
 * A connection to `/ws` that comes back: resuming behind the last message seen, with back-off, with a new token, after
 * the time that a stopping server asks for. Knows no browser: sockets, time and chance come in by `ConnectionOptions`.
 *
 * Invariants: one socket at a time, and nothing that an older one says is heard; messages are emitted in the order of
 * `seq`, each once; `status` never says `open` while there is no welcomed socket.
 */

import { backOff, systemClock, type Clock } from './clock.ts';
import { Cursor } from './cursor.ts';
import { Events } from './events.ts';
import { comeBack, readFrame, type ClientFrame, type Message, type ServerFrame, type Welcome } from './frames.ts';

/** The part of `WebSocket` that is used. */
export interface SocketLike {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: never) => void) | null;
  readonly bufferedAmount: number;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

/** A token; `null`: nobody is signed in any more. Rejects when it cannot be known now. */
export type TokenSource = (options: { fresh: boolean }) => Promise<string | null>;

export interface ConnectionOptions {
  /** Such as `wss://chat.example/ws`. */
  url: string;
  token: TokenSource;
  /** Where to resume: the last `seq` that is known. Without it, from what is new. */
  after?: number;
  open?: (url: string, protocols: string[]) => SocketLike;
  clock?: Clock;
  random?: () => number;
  /** Whether the machine says that it has a network. */
  online?: () => boolean;
}

/** What the connection is doing, to be shown as it is. */
export type Status =
  | { name: 'stopped' }
  /** `attempt` counts from 1 since the last good connection. */
  | { name: 'connecting'; attempt: number }
  /** `caughtUp`: everything that was missed is here. */
  | { name: 'open'; caughtUp: boolean }
  | { name: 'waiting'; until: number; attempt: number; reason: 'lost' | 'restart' | 'refused' }
  /** The machine has no network; goes on by itself when it has. */
  | { name: 'offline' }
  | { name: 'signedOut' }
  /** The server says that this program is at fault: no use in coming back. */
  | { name: 'broken'; code: number; detail: string };

export interface ConnectionEvents {
  status: Status;
  welcome: Welcome;
  /** In the order of `seq`, each once. */
  message: Message;
  /** All other frames that are of use to more than the connection. */
  frame: Exclude<ServerFrame, { type: 'message' | 'welcome' | 'pong' | 'reconnect' | 'tokenExpiring' }>;
  /** The server's inbox ends before `after` (it was restored from a back-up): what is known must be read anew. */
  reset: { headSeq: number };
}

/** From opening a socket to `welcome`. */
const WELCOME_MS = 15_000;
/** How long a gap may stay open before the connection begins anew. */
const GAP_MS = 2_000;
/** How long the answer to a probe may take. */
const PROBE_MS = 5_000;

/** A clock that is wrong does not put a renewal off for long: the server warns a minute before the end. */
const LATEST_RENEWAL_MS = 30_000;

type TimerName = 'renew' | 'retry' | 'welcome' | 'silence' | 'ping' | 'gap' | 'move' | 'probe';

export class Connection extends Events<ConnectionEvents> {
  #options: Required<Omit<ConnectionOptions, 'after'>>;
  #cursor: Cursor;
  #status: Status = { name: 'stopped' };
  #socket: SocketLike | undefined;
  #attempt = 0;
  #headSeq = 0;
  #fresh = false;
  #comeBackAt: number | undefined;
  /** Timers by what they are for; each at most once. */
  #timers = new Map<TimerName, () => void>();

  constructor(options: ConnectionOptions) {
    super();
    this.#options = {
      open: (url, protocols) => new WebSocket(url, protocols) as unknown as SocketLike,
      clock: systemClock,
      random: Math.random,
      online: () => typeof navigator === 'undefined' || navigator.onLine,
      ...options,
    };
    this.#cursor = new Cursor(options.after);
  }

  get status(): Status {
    return this.#status;
  }

  /** The last `seq` that was emitted, or where to begin. */
  get seq(): number | undefined {
    return this.#cursor.seq;
  }

  start(): void {
    if (this.#status.name === 'stopped' || this.#status.name === 'signedOut') void this.#connect();
  }

  /** Where to resume, when that becomes known only after the connection was made, and before it starts. */
  resumeBehind(seq: number): void {
    if (this.#status.name === 'stopped') this.#cursor = new Cursor(seq);
  }

  /** Ends it; `start` begins again behind the last message. */
  stop(): void {
    this.#leave();
    this.#to({ name: 'stopped' });
  }

  /** Sends a frame now, or says that it cannot. */
  send(frame: ClientFrame): boolean {
    if (this.#status.name !== 'open' || !this.#socket) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** Somebody does not want to wait for the next attempt. */
  retryNow(): void {
    const { name } = this.#status;
    if (name === 'waiting' || name === 'offline') void this.#connect();
  }

  /** The machine has a network again, or woke up: look now whether the line is good. */
  wake(): void {
    const { name } = this.#status;
    if (name === 'waiting' || name === 'offline') {
      void this.#connect();
    } else if (name === 'open') {
      this.send({ type: 'ping' });
      this.#timer('probe', PROBE_MS, () => this.#lost('lost'));
    }
  }

  /** The machine says that it has no network. The socket is believed more than that, as long as it answers. */
  sleep(): void {
    if (this.#status.name === 'waiting') {
      this.#cancel('retry');
      this.#to({ name: 'offline' });
    } else if (this.#status.name === 'open') {
      this.wake();
    }
  }

  async #connect(): Promise<void> {
    this.#leave();
    this.#attempt += 1;
    this.#to({ name: 'connecting', attempt: this.#attempt });
    const mine = this.#status;
    let token: string | null;
    try {
      token = await this.#options.token({ fresh: this.#fresh });
    } catch {
      if (this.#status === mine) this.#lost('lost');
      return;
    }
    // Stopped, or begun anew, while the token came.
    if (this.#status !== mine) return;
    if (token === null) return this.#to({ name: 'signedOut' });
    this.#fresh = false;
    this.#cursor.restart();
    const after = this.#cursor.seq;
    const url = after === undefined ? this.#options.url : `${this.#options.url}?after=${after}`;
    const socket = this.#options.open(url, ['parlor.v1', token]);
    this.#socket = socket;
    // What a socket says that was left is nobody's business any more.
    const heard = <T,>(hear: (event: T) => void) => (event: T) => {
      if (this.#socket === socket) hear(event);
    };
    socket.onmessage = heard(({ data }: { data: unknown }) => this.#hear(data));
    socket.onclose = heard(({ code, reason }: { code: number; reason: string }) => this.#closed(code, reason));
    socket.onerror = null;
    this.#timer('welcome', WELCOME_MS, () => this.#lost('lost'));
  }

  #hear(data: unknown): void {
    this.#cancel('probe');
    this.#silence();
    const frame = readFrame(data);
    if (!frame) return;
    switch (frame.type) {
      case 'pong':
        return;
      case 'welcome':
        return this.#welcome(frame);
      case 'message':
        return this.#message(frame);
      case 'tokenExpiring':
        return this.#expiring(Date.parse(frame.tokenExpiresAt));
      case 'reconnect':
        return this.#asked(frame.afterMs);
      case 'error':
        if (frame.code === 'after_beyond_head') this.#reset();
        else if (frame.code.startsWith('token_')) this.#fresh = true;
        return this.emit('frame', frame);
      default:
        return this.emit('frame', frame);
    }
  }

  #welcome(frame: Welcome): void {
    this.#cancel('welcome');
    this.#attempt = 0;
    this.#comeBackAt = undefined;
    this.#headSeq = frame.headSeq;
    this.#pingMs = frame.pingIntervalSeconds * 1000;
    this.#cursor.seq ??= frame.headSeq;
    this.#to({ name: 'open', caughtUp: this.#caughtUp });
    this.#silence();
    this.emit('welcome', frame);
  }

  #message(message: Message): void {
    for (const passed of this.#cursor.take(message)) this.emit('message', passed);
    if (this.#cursor.full) return this.#lost('lost');
    if (!this.#cursor.gap) this.#cancel('gap');
    else if (!this.#timers.has('gap')) this.#timer('gap', GAP_MS, () => this.#lost('lost'));
    if (this.#status.name === 'open' && !this.#status.caughtUp && this.#caughtUp) {
      this.#to({ name: 'open', caughtUp: true });
    }
  }

  get #caughtUp(): boolean {
    return (this.#cursor.seq ?? 0) >= this.#headSeq;
  }

  #reset(): void {
    this.#cursor.seq = this.#headSeq;
    this.#cursor.restart();
    this.emit('reset', { headSeq: this.#headSeq });
    if (this.#status.name === 'open') this.#to({ name: 'open', caughtUp: true });
  }

  /**
   * Renewed at half of what is left. At once would be without pause where tokens live no longer than the server's
   * warning: the next one is about to end from its beginning.
   */
  #expiring(at: number): void {
    const left = at - this.#options.clock.now();
    const wait = Math.min(Math.max(0, left / 2), LATEST_RENEWAL_MS);
    this.#timer('renew', Number.isNaN(wait) ? 0 : wait, () => void this.#renew());
  }

  async #renew(): Promise<void> {
    const socket = this.#socket;
    try {
      const accessToken = await this.#options.token({ fresh: true });
      if (accessToken !== null && this.#socket === socket) this.send({ type: 'refreshToken', accessToken });
    } catch {
      // The server closes with 4401 when the token ends; by then there may be one.
      this.#fresh = true;
    }
  }

  /** The server stops. It goes on answering until it closes; we come back when it says, if it has not closed by then. */
  #asked(afterMs: number): void {
    this.#comeBackAt = this.#options.clock.now() + afterMs;
    this.#timer('move', afterMs, () => {
      this.#comeBackAt = undefined;
      this.#attempt = 0;
      void this.#connect();
    });
  }

  #closed(code: number, reason: string): void {
    switch (comeBack(code)) {
      case 'no':
        this.#leave();
        return this.#to({ name: 'broken', code, detail: reason });
      case 'withNewToken':
        this.#fresh = true;
        return this.#lost('refused');
      case 'yes':
        return this.#lost(code === 1012 ? 'restart' : 'lost');
      case 'withBackOff':
        return this.#lost(code === 4429 ? 'refused' : 'lost');
    }
  }

  #lost(reason: 'lost' | 'restart' | 'refused'): void {
    const { clock, random, online } = this.#options;
    this.#leave();
    if (!online()) return this.#to({ name: 'offline' });
    const attempt = this.#attempt + 1;
    const asked = this.#comeBackAt === undefined ? 0 : Math.max(0, this.#comeBackAt - clock.now());
    const wait = Math.max(asked, backOff(attempt, random));
    this.#to({ name: 'waiting', until: clock.now() + wait, attempt, reason });
    this.#timer('retry', wait, () => void this.#connect());
  }

  /** A line on which nothing is heard is asked, and then given up. */
  #pingMs = 25_000;
  #silence(): void {
    if (this.#status.name !== 'open') return;
    this.#timer('ping', this.#pingMs, () => {
      this.send({ type: 'ping' });
      this.#timer('silence', this.#pingMs, () => this.#lost('lost'));
    });
    this.#cancel('silence');
  }

  #leave(): void {
    for (const name of [...this.#timers.keys()]) this.#cancel(name);
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close(1000);
  }

  #to(status: Status): void {
    this.#status = status;
    this.emit('status', status);
  }

  #timer(name: TimerName, ms: number, run: () => void): void {
    this.#cancel(name);
    this.#timers.set(name, this.#options.clock.after(ms, () => {
      this.#timers.delete(name);
      run();
    }));
  }

  #cancel(name: TimerName): void {
    this.#timers.get(name)?.();
    this.#timers.delete(name);
  }
}
