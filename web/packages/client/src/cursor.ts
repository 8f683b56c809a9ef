/**
 * A place in the inbox: messages pass in order, each once, with no gap.
 *
 * The server sends them so. What comes twice is left out; what comes too early waits here until what is missing has
 * come, or until the connection begins anew behind the last one that passed.
 */

import type { Message } from './frames.ts';

/** Early messages that are kept at most; with one more the connection begins anew. */
const EARLY = 256;

export class Cursor {
  /** The last place that passed; undefined until it is known where to begin. */
  seq: number | undefined;
  #early = new Map<number, Message>();

  constructor(seq?: number) {
    this.seq = seq;
  }

  /** What may pass now that this message has come. */
  take(message: Message): Message[] {
    if (this.seq === undefined) this.seq = message.seq - 1;
    if (message.seq <= this.seq) return [];
    if (message.seq > this.seq + 1) {
      if (this.#early.size < EARLY) this.#early.set(message.seq, message);
      return [];
    }
    const passed = [message];
    this.seq = message.seq;
    for (let next = this.#early.get(this.seq + 1); next; next = this.#early.get(this.seq + 1)) {
      this.#early.delete(next.seq);
      this.seq = next.seq;
      passed.push(next);
    }
    return passed;
  }

  /** Whether something is missing. */
  get gap(): boolean {
    return this.#early.size > 0;
  }

  /** Whether nothing more may wait. */
  get full(): boolean {
    return this.#early.size >= EARLY;
  }

  /** A new connection sends everything behind `seq` again. */
  restart(): void {
    this.#early.clear();
  }
}
