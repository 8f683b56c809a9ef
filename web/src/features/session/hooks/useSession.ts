/** Who is signed in. */

import { useSyncExternalStore } from 'react';

import { session, type SessionState } from '@/lib/session.ts';

export function useSession(): SessionState {
  return useSyncExternalStore(session.subscribe, () => session.state);
}
