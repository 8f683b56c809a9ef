/** Where the draft of a conversation is kept. The sign-out takes everything that begins so. */

import { keep, storage } from '@/lib/storage.ts';

export const draftPlace = (me: number, draftKey: string): string => `parlor.draft.${me}.${draftKey}`;

/** What somebody writes in a conversation that has just become one goes on in it. */
export function moveDraft(me: number, from: string, to: string): void {
  const text = storage.getItem(draftPlace(me, from));
  if (text === null) return;
  storage.removeItem(draftPlace(me, from));
  if (storage.getItem(draftPlace(me, to)) === null) keep(draftPlace(me, to), text);
}
