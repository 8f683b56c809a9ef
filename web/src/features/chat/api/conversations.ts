/** The list of conversations, and what a message changes in it. */

import type { InfiniteData } from '@tanstack/react-query';
import type { Message } from '@parlor/client';

import { answered, api, type Schemas } from '@/lib/api.ts';

export type Conversation = Schemas['ConversationBody'];
export interface ConversationPage {
  items: Conversation[];
  next?: string | null;
}
export type ConversationList = InfiniteData<ConversationPage, number | undefined>;

export const conversationsKey = ['conversations'] as const;

export function fetchConversations(before: number | undefined, signal?: AbortSignal): Promise<ConversationPage> {
  return answered(api.GET('/api/v1/conversations', { params: { query: { before, limit: 50 } }, signal }));
}

export const participantsOf = (message: Pick<Message, 'senderId' | 'recipientIds'>): number[] =>
  [...new Set([message.senderId, ...message.recipientIds])].sort((a, b) => a - b);

/** Whom one writes to: all others, or oneself. */
export function addressed(members: readonly number[], me: number): number[] {
  const others = members.filter((id) => id !== me);
  return others.length === 0 ? [me] : others;
}

/** The list after these messages, oldest first: theirs come to the top, others' are unread. */
export function withMessages(list: ConversationList, messages: readonly Message[], me: number): ConversationList {
  if (messages.length === 0) return list;
  const known = new Map(list.pages.flatMap((page) => page.items).map((item) => [item.conversationId, item]));
  const touched = new Map<string, Conversation>();
  for (const message of messages) {
    const { conversationId } = message;
    const before = touched.get(conversationId) ?? known.get(conversationId);
    if (before && before.lastMessage.seq >= message.seq) continue;
    const unread = message.senderId === me || message.seq <= (before?.readSeq ?? 0) ? 0 : 1;
    touched.delete(conversationId);
    touched.set(conversationId, {
      conversationId,
      participants: before?.participants ?? participantsOf(message),
      createdAt: before?.createdAt ?? message.sentAt,
      readSeq: before?.readSeq ?? 0,
      unread: (before?.unread ?? 0) + unread,
      lastMessage: message,
    });
  }
  if (touched.size === 0) return list;
  const newest = [...touched.values()].reverse();
  const pages = list.pages.map((page, n) => {
    const rest = page.items.filter((item) => !touched.has(item.conversationId));
    return { ...page, items: n === 0 ? [...newest, ...rest] : rest };
  });
  return { ...list, pages };
}

/** The list after the user has read up to `seq`, here or on another device. */
export function withRead(list: ConversationList, conversationId: string, seq: number): ConversationList {
  const read = (item: Conversation): Conversation => {
    if (item.conversationId !== conversationId || seq <= item.readSeq) return item;
    // Behind what was read there may be more; how much of it is others' is known when it is all or nothing.
    return { ...item, readSeq: seq, unread: seq >= item.lastMessage.seq ? 0 : item.unread };
  };
  return { ...list, pages: list.pages.map((page) => ({ ...page, items: page.items.map(read) })) };
}
