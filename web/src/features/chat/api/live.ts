/**
 * The live connection of the page: what comes by the socket is written into the query cache, which is the one place
 * where messages are. What comes in a burst is written at once.
 */

import type { QueryClient } from '@tanstack/react-query';
import { Connection, Events, Outbox, type Message, type ScriptFailed, type Status, type User } from '@parlor/client';

import { answered, api } from '@/lib/api.ts';
import { newId } from '@/lib/ids.ts';
import { session } from '@/lib/session.ts';
import { storage } from '@/lib/storage.ts';

import { addressed, conversationsKey, fetchConversations, participantsOf, withMessages, withRead, type ConversationList } from './conversations.ts';
import { append, Marks, PAGE, type Before, type MessagePage, type Timeline } from './timeline.ts';

/** What comes sooner after what was shown last gathers until then: a burst is a few changes, a single message waits for none. */
const SPACING_MS = 100;
/** Messages remembered for a page of history that is asked for and does not know them yet. */
const RECENT = 500;
/** How long somebody is shown as writing after the last word of it. */
export const TYPING_MS = 5_000;
/** Between two words of ours that we are writing. */
const TYPING_EVERY_MS = 3_000;

export const messagesKey = (conversationId: string) => ['messages', conversationId] as const;
export const presenceKey = ['presence'] as const;
export const typingKey = (conversationId: string) => ['typing', conversationId] as const;
export const readsKey = (conversationId: string) => ['reads', conversationId] as const;

/** Until when each user is shown as writing. */
export type Typing = Readonly<Record<number, number>>;
/** How far each other has read, in the numbers of our inbox. */
export type Reads = Readonly<Record<number, number>>;

export interface LiveEvents {
  /** Others' messages that have just come, not those of a history. */
  arrived: readonly Message[];
  scriptFailed: ScriptFailed;
}

export class Live extends Events<LiveEvents> {
  readonly user: User;
  readonly connection: Connection;
  readonly outbox: Outbox;
  maxMessageBytes = 65_536;
  #queryClient: QueryClient;
  #marks = new Map<string, Marks>();
  #recent: Message[] = [];
  #gathered: Message[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #shownAt = -Infinity;
  #typed = new Map<string, number>();
  #read = new Map<string, number>();
  #off: (() => void)[] = [];
  #closed = false;

  constructor(user: User, queryClient: QueryClient) {
    super();
    this.user = user;
    this.#queryClient = queryClient;
    const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
    this.connection = new Connection({
      url: `${scheme}//${location.host}/ws`,
      token: ({ fresh }) => session.token(fresh ? session.current : undefined),
    });
    this.outbox = new Outbox({ connection: this.connection, storage, userId: user.id, newId });
    this.#off = [
      this.connection.on('welcome', (welcome) => (this.maxMessageBytes = welcome.maxMessageBytes)),
      this.connection.on('status', (status) => this.#status(status)),
      this.connection.on('message', (message) => this.#gather(message)),
      this.connection.on('reset', () => this.#reset()),
      this.connection.on('frame', (frame) => {
        if (frame.type === 'presence') this.#presence(frame.userId, frame.online);
        // Only somebody who is there writes or reads; those who shared no conversation with us before were not announced.
        if (frame.type === 'typing' || frame.type === 'read') this.#presence(frame.userId, true);
        if (frame.type === 'typing') this.#typing(frame.conversationId, frame.userId, Date.now() + TYPING_MS);
        if (frame.type === 'read') this.#reads(frame.conversationId, frame.userId, frame.seq);
        if (frame.type === 'scriptFailed') this.emit('scriptFailed', frame);
      }),
    ];
    const listen = (target: EventTarget, name: string, listener: (event: never) => void) => {
      target.addEventListener(name, listener as EventListener);
      this.#off.push(() => target.removeEventListener(name, listener as EventListener));
    };
    listen(window, 'online', () => this.connection.wake());
    listen(window, 'offline', () => this.connection.sleep());
    listen(window, 'storage', (event: StorageEvent) => this.outbox.storageChanged(event.key));
    listen(document, 'visibilitychange', () => document.visibilityState === 'visible' && this.connection.wake());
  }

  /** Reads the list first: the newest place in it is where the socket begins, so that nothing falls between. */
  async open(): Promise<void> {
    const first = await this.#queryClient.fetchInfiniteQuery({
      queryKey: conversationsKey,
      queryFn: ({ pageParam, signal }) => fetchConversations(pageParam, signal),
      initialPageParam: undefined as number | undefined,
    });
    if (this.#closed) return;
    const seqs = first.pages.flatMap((page) => page.items.map((item) => item.lastMessage.seq));
    this.connection.resumeBehind(Math.max(0, ...seqs));
    this.connection.start();
    void this.#address();
  }

  /** Hands a text to the outbox. Who is in the conversation may not be known yet: somebody may be quicker than the list. */
  write(body: string, to: { conversationId?: string; recipientIds?: readonly number[] }): void {
    const { conversationId, recipientIds } = to;
    if (recipientIds) this.outbox.add({ body, recipientIds });
    else if (conversationId !== undefined) this.outbox.add({ body, conversationId });
    void this.#address();
  }

  /** Finds out for whom that is which was written before it was known. */
  async #address(): Promise<void> {
    for (const conversationId of this.outbox.unaddressed) {
      const list = this.#queryClient.getQueryData<ConversationList>(conversationsKey);
      // Without the list everything is still on its way; what is written now is looked at again when that has come.
      if (!list) return;
      const listed = list.pages.flatMap((page) => page.items).find((item) => item.conversationId === conversationId);
      // One far down the list is known by its messages.
      const members = listed?.participants ?? (await this.#membersOf(conversationId).catch(() => undefined));
      if (members && !this.#closed) this.outbox.address(conversationId, addressed(members, this.user.id));
    }
  }

  async #membersOf(conversationId: string): Promise<number[] | undefined> {
    const params = { path: { id: conversationId }, query: { limit: 1 } };
    const { items } = await answered(api.GET('/api/v1/conversations/{id}/messages', { params }));
    return items[0] && participantsOf(items[0]);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#off.forEach((off) => off());
    this.outbox.close();
    this.connection.stop();
  }

  /** A page of a conversation's history. What came while it was under way is in it too. */
  async messages(conversationId: string, before: Before, signal?: AbortSignal): Promise<MessagePage> {
    const query = { before: before ?? undefined, limit: PAGE };
    const path = { id: conversationId };
    const page = await answered(api.GET('/api/v1/conversations/{id}/messages', { params: { path, query }, signal }));
    let items: Message[] = page.items;
    const marks = this.marks(conversationId);
    if (before === null) {
      // Sent before a reload, it may be in the history already, and not come by the socket any more.
      items.toReversed().forEach((message) => this.outbox.came(message.messageUid));
      const newest = items[0]?.seq ?? 0;
      const missed = this.#recent.filter((message) => message.conversationId === conversationId && message.seq > newest);
      items = [...missed.toReversed(), ...items];
      const known = this.#queryClient.getQueryData<Timeline>(messagesKey(conversationId));
      if (known && known.pageParams[0] !== null) return { items: marks.end(items), first: false };
      marks.begin(items.length);
    }
    if (page.next) marks.older(Number(page.next));
    return { items, first: !page.next };
  }

  marks(conversationId: string): Marks {
    const known = this.#marks.get(conversationId) ?? new Marks();
    this.#marks.set(conversationId, known);
    return known;
  }

  /** The user has seen everything up to here. */
  markRead(conversationId: string, seq: number): void {
    if (seq <= (this.#read.get(conversationId) ?? 0)) return;
    if (!this.connection.send({ type: 'markRead', conversationId, seq })) return;
    this.#read.set(conversationId, seq);
    this.#list((list) => withRead(list, conversationId, seq));
  }

  /** The user is writing. */
  typing(recipientIds: readonly number[]): void {
    const key = recipientIds.join();
    const now = Date.now();
    if (now - (this.#typed.get(key) ?? 0) < TYPING_EVERY_MS) return;
    if (this.connection.send({ type: 'typing', recipientIds })) this.#typed.set(key, now);
  }

  #status(status: Status): void {
    if (status.name === 'signedOut') void session.token();
    // Who is there is told anew at the beginning of each connection.
    if (status.name !== 'open') this.#queryClient.setQueryData(presenceKey, {});
    if (status.name !== 'open') return;
    this.#read.clear();
    void this.#address();
    // What others read while there was no connection is told by nobody.
    if (status.caughtUp) void this.#queryClient.invalidateQueries({ queryKey: ['reads'] });
  }

  #gather(message: Message): void {
    this.#recent.push(message);
    if (this.#recent.length > RECENT) this.#recent.shift();
    this.#gathered.push(message);
    this.#timer ??= setTimeout(() => this.#show(), this.#shownAt + SPACING_MS - performance.now());
  }

  #show(): void {
    const messages = this.#gathered;
    this.#gathered = [];
    this.#timer = undefined;
    this.#shownAt = performance.now();
    this.#list((list) => withMessages(list, messages, this.user.id));
    for (const [conversationId, some] of Map.groupBy(messages, (message) => message.conversationId)) {
      this.#queryClient.setQueryData<Timeline>(messagesKey(conversationId), (timeline) =>
        timeline && append(timeline, some, this.marks(conversationId)));
      for (const message of some) this.#typing(conversationId, message.senderId, 0);
    }
    const others = messages.filter((message) => message.senderId !== this.user.id);
    if (others.length > 0) this.emit('arrived', others);
  }

  #list(change: (list: ConversationList) => ConversationList): void {
    this.#queryClient.setQueryData<ConversationList>(conversationsKey, (list) => list && change(list));
  }

  #presence(userId: number, online: boolean): void {
    this.#queryClient.setQueryData<Record<number, boolean>>(presenceKey, (known) => ({ ...known, [userId]: online }));
  }

  #typing(conversationId: string, userId: number, until: number): void {
    if (userId === this.user.id) return;
    this.#queryClient.setQueryData<Typing>(typingKey(conversationId), (known) => {
      if (until === 0 && !known?.[userId]) return known;
      return { ...known, [userId]: until };
    });
  }

  #reads(conversationId: string, userId: number, seq: number): void {
    if (userId === this.user.id) return this.#list((list) => withRead(list, conversationId, seq));
    this.#queryClient.setQueryData<Reads>(readsKey(conversationId), (known) => furthest(known, { [userId]: seq }));
  }

  /** How far others have read. What is told while it is asked for is not lost. */
  async reads(conversationId: string, signal?: AbortSignal): Promise<Reads> {
    const path = { id: conversationId };
    const { items } = await answered(api.GET('/api/v1/conversations/{id}/reads', { params: { path }, signal }));
    const asked = Object.fromEntries(items.map(({ userId, seq }) => [userId, seq]));
    return furthest(this.#queryClient.getQueryData<Reads>(readsKey(conversationId)), asked);
  }

  #reset(): void {
    this.#recent = [];
    void this.#queryClient.resetQueries();
  }
}

/** A reader never reads back: of two places, the further. */
function furthest(known: Reads = {}, told: Reads): Reads {
  const further = Object.entries(told).filter(([id, seq]) => seq > (known[Number(id)] ?? 0));
  return further.length === 0 ? known : { ...known, ...Object.fromEntries(further) };
}
