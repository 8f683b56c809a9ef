/** The list of conversations. */

import { useInfiniteQuery, useQuery } from '@tanstack/react-query';

import { conversationsKey, fetchConversations, type Conversation, type ConversationList } from '../api/conversations.ts';
import { presenceKey } from '../api/live.ts';

function useList<T>(select: (list: ConversationList) => T) {
  return useInfiniteQuery({
    queryKey: conversationsKey,
    queryFn: ({ pageParam, signal }) => fetchConversations(pageParam, signal),
    initialPageParam: undefined as number | undefined,
    getNextPageParam: (last) => (last.next ? Number(last.next) : undefined),
    // Kept up by the socket.
    staleTime: Infinity,
    select,
  });
}

const all = (list: ConversationList): Conversation[] => list.pages.flatMap((page) => page.items);

export const useConversations = () => useList(all);

export function useUnread(): number {
  return useList((list) => all(list).filter((item) => item.unread > 0).length).data ?? 0;
}

/** Who is there now, as far as it was told. */
export function usePresence(): Readonly<Record<number, boolean>> {
  return useQuery<Record<number, boolean>>({ queryKey: presenceKey, queryFn: () => ({}), staleTime: Infinity }).data ?? {};
}
