/** What one's own script kept out of the inbox. */

import { answered, api, type Schemas } from '@/lib/api.ts';

export type Filtered = Schemas['FilteredMessage'];
export const filteredKey = ['filtered'] as const;

export const fetchFiltered = (before: string | undefined) =>
  answered(api.GET('/api/v1/filtered', { params: { query: { before, limit: 30 } } }));

export const restore = (messageUid: string) =>
  answered(api.POST('/api/v1/filtered/{messageUid}/restore', { params: { path: { messageUid } } }));
