/** The standing auto-reply, and what it did. */

import { answered, api, type Schemas } from '@/lib/api.ts';

export type Settings = Schemas['AutoReplyBody'];
export type LogEntry = Schemas['LogBody'];

export const settingsKey = ['auto-reply'] as const;
export const logKey = ['auto-reply', 'log'] as const;

const me = { params: { path: { id: 'me' } } };

export const fetchSettings = (): Promise<Settings> => answered(api.GET('/api/v1/users/{id}/auto-reply', me));
export const putSettings = (body: Settings): Promise<Settings> => answered(api.PUT('/api/v1/users/{id}/auto-reply', { ...me, body }));

export async function fetchLog(before: number | undefined) {
  return answered(api.GET('/api/v1/users/{id}/auto-reply/log', { params: { path: { id: 'me' }, query: { before, limit: 30 } } }));
}
