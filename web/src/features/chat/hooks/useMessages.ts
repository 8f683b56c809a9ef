/** The messages of a conversation: a window that moves. */

import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';

import type { Message } from '@parlor/client';

import { messagesKey, readsKey, typingKey, type Reads, type Typing } from '../api/live.ts';
import { inOrder, PAGES, type Before, type Timeline } from '../api/timeline.ts';
import { useLive } from './useLive.tsx';

export function useMessages(conversationId: string) {
  const live = useLive();
  const query = useInfiniteQuery({
    queryKey: messagesKey(conversationId),
    queryFn: ({ pageParam, signal }) => live.messages(conversationId, pageParam, signal),
    initialPageParam: null as Before,
    getNextPageParam: (last) => (last.first ? undefined : last.items.at(-1)?.seq),
    getPreviousPageParam: (_first, _all, param): Before | undefined => live.marks(conversationId).newer(param),
    maxPages: PAGES,
    // Kept up by the socket.
    staleTime: Infinity,
  });
  const messages: Message[] = useMemo(() => inOrder(query.data as Timeline | undefined), [query.data]);
  return { ...query, messages, atEnd: query.data?.pageParams[0] === null };
}

export function useTyping(conversationId: string): Typing {
  return useQuery<Typing>({ queryKey: typingKey(conversationId), queryFn: () => ({}), staleTime: Infinity }).data ?? {};
}

const NOBODY: Reads = {};

export function useReads(conversationId: string): Reads {
  const live = useLive();
  const query = useQuery<Reads>({
    queryKey: readsKey(conversationId),
    queryFn: ({ signal }) => live.reads(conversationId, signal),
    // Kept up by the socket.
    staleTime: Infinity,
  });
  return query.data ?? NOBODY;
}
