/** A clock that tests move, and sockets that tests speak for. */

import type { Clock, KeyValue, SocketLike } from '../src/index.ts';

export class FakeClock implements Clock {
  #now = 1_000_000;
  #timers = new Map<number, { at: number; run: () => void }>();
  #next = 0;

  now = (): number => this.#now;

  after(ms: number, run: () => void): () => void {
    const id = (this.#next += 1);
    this.#timers.set(id, { at: this.#now + ms, run });
    return () => this.#timers.delete(id);
  }

  /** Lets time pass; what is due runs in its order, and promises in between. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settled();
    for (;;) {
      const due = [...this.#timers].filter(([, timer]) => timer.at <= end).sort(([a, x], [b, y]) => x.at - y.at || a - b)[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.#now = Math.max(this.#now, due[1].at);
      due[1].run();
      await settled();
    }
    this.#now = end;
  }

  get pending(): number {
    return this.#timers.size;
  }
}

/** Everything that promises had left to do. */
export async function settled(): Promise<void> {
  for (let n = 0; n < 20; n += 1) await Promise.resolve();
}

export class FakeSocket implements SocketLike {
  onopen: SocketLike['onopen'] = null;
  onmessage: SocketLike['onmessage'] = null;
  onclose: SocketLike['onclose'] = null;
  onerror: SocketLike['onerror'] = null;
  bufferedAmount = 0;
  closed = false;
  readonly sent: Record<string, unknown>[] = [];
  readonly url: string;
  readonly protocols: string[];

  constructor(url: string, protocols: string[]) {
    this.url = url;
    this.protocols = protocols;
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }

  close(): void {
    this.closed = true;
  }

  /** The server says something. */
  say(frame: Record<string, unknown>): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  welcome(headSeq = 0, more: Record<string, unknown> = {}): void {
    this.say({ type: 'welcome', sessionId: 's', userId: 1, headSeq, pingIntervalSeconds: 25, maxMessageBytes: 65536, tokenExpiresAt: '', ...more });
  }

  message(seq: number, more: Record<string, unknown> = {}): void {
    this.say({ type: 'message', seq, messageUid: `u${seq}`, conversationId: 'c', senderId: 2, recipientIds: [1], messageBody: `m${seq}`, fromAutoReply: false, sentAt: '', ...more });
  }

  /** The socket ends, as the browser tells it. */
  end(code: number, reason = ''): void {
    this.onclose?.({ code, reason });
  }

  /** What was sent of a kind. */
  of(type: string): Record<string, unknown>[] {
    return this.sent.filter((frame) => frame.type === type);
  }
}

export class FakeStorage implements KeyValue {
  readonly map = new Map<string, string>();
  full = false;
  get length(): number {
    return this.map.size;
  }
  key = (n: number): string | null => [...this.map.keys()][n] ?? null;
  getItem = (key: string): string | null => this.map.get(key) ?? null;
  setItem = (key: string, value: string): void => {
    if (this.full) throw new Error('QuotaExceededError');
    this.map.set(key, value);
  };
  removeItem = (key: string): void => void this.map.delete(key);
}
