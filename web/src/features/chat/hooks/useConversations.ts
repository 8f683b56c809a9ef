/** The list of conversations. */

import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useEffect } from 'react';

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

/** Fetches the rest of the list, page by page, for as long as something is looked for in all of it. Says whether it does. */
export function useWhole(wanted: boolean): boolean {
  const { hasNextPage, isFetching, isError, fetchNextPage } = useConversations();
  useEffect(() => {
    if (wanted && hasNextPage && !isFetching && !isError) void fetchNextPage();
  }, [wanted, hasNextPage, isFetching, isError, fetchNextPage]);
  return wanted && hasNextPage && !isError;
}

/** The conversation of exactly these people, ascending, however far down the list it is. */
export function useConversationOf(members: readonly number[]): { found?: Conversation; looking: boolean } {
  const { data, isPending, isError } = useConversations();
  const found = data?.find((item) => item.participants.join() === members.join());
  const more = useWhole(!found);
  return { found, looking: !found && !isError && (isPending || more) };
}

export function useUnread(): number {
  return useList((list) => all(list).filter((item) => item.unread > 0).length).data ?? 0;
}

/** Who is there now, as far as it was told. */
export function usePresence(): Readonly<Record<number, boolean>> {
  return useQuery<Record<number, boolean>>({ queryKey: presenceKey, queryFn: () => ({}), staleTime: Infinity }).data ?? {};
}
