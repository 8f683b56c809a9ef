/** Tells of new messages when nobody looks: the title of the tab, and the desktop where that is allowed. */

import { useEffect } from 'react';
import { useLocation } from 'wouter';

import type { Message } from '@parlor/client';

import { queryClient } from '@/lib/query.ts';

import { fetchPerson, personKey, type Person } from '../api/people.ts';
import { useUnread } from './useConversations.ts';
import { useLive } from './useLive.tsx';

export function useNotifications(open: string | undefined): void {
  const live = useLive();
  const unread = useUnread();
  const [, navigate] = useLocation();
  useEffect(() => {
    document.title = unread > 0 ? `(${unread}) Parlor` : 'Parlor';
    return () => void (document.title = 'Parlor');
  }, [unread]);
  useEffect(
    () => live.on('arrived', (messages) => {
      if (typeof Notification === 'undefined' || Notification.permission !== 'granted') return;
      const looking = document.visibilityState === 'visible' && document.hasFocus();
      const unseen = messages.filter((message) => !looking || message.conversationId !== open);
      // One for each conversation of a burst: the last of it.
      for (const message of new Map(unseen.map((one) => [one.conversationId, one])).values()) {
        if (Date.now() - Date.parse(message.sentAt) < 60_000) void show(message, () => navigate(`/c/${message.conversationId}`));
      }
    }),
    [live, open, navigate],
  );
}

async function show(message: Message, open: () => void): Promise<void> {
  const { senderId: id } = message;
  const person = await queryClient.fetchQuery<Person>({ queryKey: personKey(id), queryFn: () => fetchPerson(id), staleTime: Infinity });
  try {
    // Several tabs say the same under one tag: it is shown once.
    const note = new Notification(person.username, { body: message.messageBody.slice(0, 200), tag: message.conversationId, icon: '/icon.svg' });
    note.onclick = () => {
      window.focus();
      open();
      note.close();
    };
  } catch {
    // Some phones know the permission and not the thing.
  }
}
