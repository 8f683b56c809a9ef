/** What a page asks whoever keeps the login: the service worker, or itself where there is none. */

import type { Access, Grant } from '@parlor/client';

export type WorkerRequest =
  | { kind: 'access'; stale?: string }
  | { kind: 'keep'; grant: Grant }
  /** Ends the login here and at the server. */
  | { kind: 'end' };

export type WorkerAnswer = Access | null;
