/**
 * Messages that are not yet durable at the server. They are kept in a storage that survives a reload, sent one after
 * the other in the order in which they were written, and again until the server has said `accepted` or why not: under
 * the same `clientMessageId`, so that the server has each once.
 *
 * Several tabs share the storage. Each sends what it wrote itself and what it found when it was opened; what another tab
 * wrote is sent only when that tab has not done it for a while. Both sending is harmless.
 */

import { backOff, systemClock, type Clock } from './clock.ts';
import type { Connection } from './connection.ts';
import { Events } from './events.ts';

export type EntryState =
  /** Not yet accepted: waiting, or under way. */
  | { name: 'sending' }
  /** Durable. The message itself is about to come. */
  | { name: 'accepted'; messageUid: string }
  /** The server will not have it as it is. */
  | { name: 'failed'; code: string; detail: string };

export interface Entry {
  readonly id: string;
  readonly body: string;
  /** None: it is not known yet who is in its conversation. It waits until it is addressed. */
  readonly recipientIds: readonly number[];
  /** Where it was written, when that was before it was known to whom. */
  readonly conversationId?: string;
  /** Also the order: later ones have higher numbers. */
  readonly createdAt: number;
  readonly state: EntryState;
}

/** The part of `Storage` that is used. */
export interface KeyValue {
  readonly length: number;
  key(n: number): string | null;
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

export interface OutboxOptions {
  connection: Connection;
  storage: KeyValue;
  /** Whose messages: another user of this browser must not send them. */
  userId: number;
  newId: () => string;
  clock?: Clock;
  random?: () => number;
}

/** How long `accepted` may take before a message is sent again. */
const ANSWER_MS = 10_000;
/** How long another tab is given to send what it wrote. */
const OTHER_TAB_MS = 5_000;
/** Uids of messages that have come, remembered for an `accepted` that comes later. */
const SEEN = 500;
const AGAIN = new Set(['rate_limited', 'stopping', 'unavailable']);

interface Kept {
  entry: Entry;
  /** Not to be sent before. */
  notBefore: number;
  attempts: number;
}

export class Outbox extends Events<{ change: readonly Entry[] }> {
  #options: OutboxOptions & { clock: Clock; random: () => number };
  #kept = new Map<string, Kept>();
  #snapshot: readonly Entry[] = [];
  #underWay: string | undefined;
  #cancelTimer: (() => void) | undefined;
  #seen: string[] = [];
  #off: (() => void)[] = [];

  constructor(options: OutboxOptions) {
    super();
    this.#options = { clock: systemClock, random: Math.random, ...options };
    const { connection, storage } = options;
    for (let n = 0; n < storage.length; n += 1) {
      const key = storage.key(n);
      if (key !== null) this.#read(key, 0);
    }
    this.#changed();
    this.#off = [
      connection.on('status', () => {
        this.#underWay = undefined;
        this.#pump();
      }),
      connection.on('message', ({ messageUid }) => this.came(messageUid)),
      connection.on('frame', (frame) => {
        if (frame.type === 'accepted' && frame.clientMessageId) this.#accepted(frame.clientMessageId, frame.messageUid);
        if (frame.type === 'rejected' && frame.clientMessageId) this.#rejected(frame.clientMessageId, frame);
      }),
    ];
    this.#pump();
  }

  /** All that is not yet a message of the inbox, in order. The same array until something changes. */
  get entries(): readonly Entry[] {
    return this.#snapshot;
  }

  /** To these people; or to those of a conversation, who will be told of by `address`. */
  add(message: { body: string } & ({ recipientIds: readonly number[] } | { conversationId: string })): Entry {
    const { clock, newId } = this.#options;
    const last = Math.max(0, ...[...this.#kept.values()].map((kept) => kept.entry.createdAt));
    const createdAt = Math.max(clock.now(), last + 1);
    const entry: Entry = { id: newId(), recipientIds: [], ...message, createdAt, state: { name: 'sending' } };
    this.#kept.set(entry.id, { entry, notBefore: 0, attempts: 0 });
    this.#write(entry);
    this.#changed();
    this.#pump();
    return entry;
  }

  /** The conversations of messages that are not addressed yet. */
  get unaddressed(): readonly string[] {
    const waiting = this.#snapshot.filter((entry) => entry.recipientIds.length === 0);
    return [...new Set(waiting.flatMap((entry) => entry.conversationId ?? []))];
  }

  /** It has become known who is in a conversation: what was written there goes to them. */
  address(conversationId: string, recipientIds: readonly number[]): void {
    const waiting = this.#inOrder().filter(({ entry }) => entry.conversationId === conversationId && entry.recipientIds.length === 0);
    if (waiting.length === 0) return;
    for (const kept of waiting) {
      kept.entry = { ...kept.entry, recipientIds };
      this.#write(kept.entry);
    }
    this.#changed();
    this.#pump();
  }

  /** Another attempt for one that failed. */
  retry(id: string): void {
    const kept = this.#kept.get(id);
    if (kept?.entry.state.name !== 'failed') return;
    this.#set(id, { name: 'sending' });
    Object.assign(kept, { notBefore: 0, attempts: 0 });
    this.#pump();
  }

  /** Gives up one that failed. */
  discard(id: string): void {
    if (this.#kept.get(id)?.entry.state.name === 'failed') this.#forget(id);
  }

  /** Another tab changed the storage (the `storage` event). */
  storageChanged(key: string | null): void {
    if (key === null || !key.startsWith(this.#prefix)) return;
    const { storage, clock } = this.#options;
    const id = key.slice(this.#prefix.length);
    const known = this.#kept.get(id);
    if (storage.getItem(key) === null) {
      // Accepted there: the message comes to us by our own connection.
      if (known && known.entry.state.name !== 'accepted' && this.#underWay !== id) this.#forget(id);
    } else if (!known) {
      this.#read(key, clock.now() + OTHER_TAB_MS);
      this.#changed();
      this.#pump();
    }
  }

  close(): void {
    this.#off.forEach((off) => off());
    this.#cancelTimer?.();
  }

  /** Throws everything away that was not sent: somebody signs out. */
  clear(): void {
    for (const id of [...this.#kept.keys()]) this.#forget(id);
  }

  get #prefix(): string {
    return `parlor.outbox.${this.#options.userId}.`;
  }

  #pump(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const { connection, clock } = this.#options;
    if (this.#underWay !== undefined || connection.status.name !== 'open') return;
    // One at a time: what is written later must not overtake what had to be sent again.
    const next = this.#inOrder().find(({ entry }) => entry.state.name === 'sending' && entry.recipientIds.length > 0);
    if (!next) return;
    const wait = next.notBefore - clock.now();
    if (wait > 0) {
      this.#cancelTimer = clock.after(wait, () => this.#pump());
      return;
    }
    const { id, body, recipientIds } = next.entry;
    next.attempts += 1;
    if (!connection.send({ type: 'sendMessage', messageBody: body, recipientIds, clientMessageId: id })) return;
    this.#underWay = id;
    this.#cancelTimer = clock.after(ANSWER_MS, () => {
      this.#underWay = undefined;
      this.#pump();
    });
  }

  #accepted(id: string, messageUid: string): void {
    const kept = this.#kept.get(id);
    if (kept) {
      this.#options.storage.removeItem(this.#prefix + id);
      if (this.#seen.includes(messageUid)) this.#forget(id);
      else this.#set(id, { name: 'accepted', messageUid });
    }
    this.#next(id);
  }

  #rejected(id: string, { code, detail }: { code: string; detail: string }): void {
    const kept = this.#kept.get(id);
    if (kept && AGAIN.has(code)) kept.notBefore = this.#options.clock.now() + backOff(kept.attempts, this.#options.random);
    else if (kept) this.#set(id, { name: 'failed', code, detail });
    this.#next(id);
  }

  #next(id: string): void {
    if (this.#underWay === id) this.#underWay = undefined;
    this.#pump();
  }

  /** A message is there: by the connection, or because a history was read that has it already. */
  came(messageUid: string): void {
    if (this.#seen.includes(messageUid)) return;
    this.#seen.push(messageUid);
    if (this.#seen.length > SEEN) this.#seen.shift();
    for (const { entry } of this.#kept.values()) {
      if (entry.state.name === 'accepted' && entry.state.messageUid === messageUid) return this.#forget(entry.id);
    }
  }

  #set(id: string, state: EntryState): void {
    const kept = this.#kept.get(id);
    if (!kept) return;
    kept.entry = { ...kept.entry, state };
    if (state.name !== 'accepted') this.#write(kept.entry);
    this.#changed();
  }

  #forget(id: string): void {
    this.#kept.delete(id);
    this.#options.storage.removeItem(this.#prefix + id);
    this.#changed();
  }

  #read(key: string, notBefore: number): void {
    if (!key.startsWith(this.#prefix)) return;
    try {
      const entry = JSON.parse(this.#options.storage.getItem(key) ?? '') as Entry;
      if (typeof entry.body !== 'string' || !Array.isArray(entry.recipientIds)) return;
      this.#kept.set(entry.id, { entry, notBefore, attempts: 0 });
    } catch {
      // Not ours, or damaged: left as it is.
    }
  }

  #write(entry: Entry): void {
    try {
      this.#options.storage.setItem(this.#prefix + entry.id, JSON.stringify(entry));
    } catch {
      // The storage is full: the message lives as long as this tab.
    }
  }

  #inOrder(): Kept[] {
    return [...this.#kept.values()].sort((a, b) => a.entry.createdAt - b.entry.createdAt);
  }

  #changed(): void {
    this.#snapshot = this.#inOrder().map(({ entry }) => entry);
    this.emit('change', this.#snapshot);
  }
}
