/** The live connection of whoever is signed in, for all that is below. */

import { useQueryClient } from '@tanstack/react-query';
import { createContext, useContext, useEffect, useState, useSyncExternalStore, type ReactNode } from 'react';

import type { Entry, Status, User } from '@parlor/client';

import { Live } from '../api/live.ts';

const Context = createContext<Live | null>(null);

export function LiveProvider({ user, children }: { user: User; children: ReactNode }) {
  const queryClient = useQueryClient();
  const [live, setLive] = useState<Live | null>(null);
  useEffect(() => {
    const mine = new Live(user, queryClient);
    setLive(mine);
    let again: ReturnType<typeof setTimeout> | undefined;
    const open = () => {
      // The list says itself what is wrong with it; the connection begins when the list is there.
      mine.open().catch(() => (again = setTimeout(open, 2_000)));
    };
    open();
    return () => {
      clearTimeout(again);
      mine.close();
      queryClient.clear();
    };
  }, [user, queryClient]);
  return live && <Context value={live}>{children}</Context>;
}

export function useLive(): Live {
  const live = useContext(Context);
  if (!live) throw new Error('outside of LiveProvider');
  return live;
}

export function useStatus(): Status {
  const { connection } = useLive();
  return useSyncExternalStore((changed) => connection.on('status', changed), () => connection.status);
}

/** What is not yet a message of the inbox. */
export function useOutbox(): readonly Entry[] {
  const { outbox } = useLive();
  return useSyncExternalStore((changed) => outbox.on('change', changed), () => outbox.entries);
}
