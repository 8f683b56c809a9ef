/** Scripts: versions, activation, tries, logs; and what the server offers to write them in. */

import { queryOptions } from '@tanstack/react-query';

import { answered, api, type Schemas } from '@/lib/api.ts';

export type Direction = Schemas['Direction'];
export type Overview = Schemas['ScriptsBody'];
export type Script = Schemas['ScriptBody'];
export type Version = Schemas['VersionBody'];
export type LogEntry = Schemas['LogBody'];
export type Tried = Schemas['TriedBody'];
export type Result = Schemas['Tried'];
export type Sample = Schemas['Sample'];
export type Diagnostic = Schemas['Diagnostic'];
export type Template = Schemas['TemplateBody'];
export type Language = Schemas['LanguageBody'];

/** Whose scripts: `me`, or for administrators a user's id. */
export type Owner = string;

const of = (id: Owner, direction: Direction) => ({ id, direction });

export const overviewOf = (owner: Owner) =>
  queryOptions({
    queryKey: ['scripts', owner] as const,
    queryFn: (): Promise<Overview> => answered(api.GET('/api/v1/users/{id}/scripts', { params: { path: { id: owner } } })),
    refetchInterval: 3_000,
  });

export const languagesOffered = queryOptions({
  queryKey: ['languages'] as const,
  queryFn: () => answered(api.GET('/api/v1/scripts/languages')),
  select: (page) => page.items,
  staleTime: Infinity,
});

export const templatesOffered = queryOptions({
  queryKey: ['templates'] as const,
  queryFn: () => answered(api.GET('/api/v1/scripts/templates')),
  select: (page) => page.items,
  staleTime: Infinity,
});

export const versionsOf = (owner: Owner, direction: Direction) =>
  queryOptions({
    queryKey: ['scripts', owner, direction, 'versions'] as const,
    queryFn: () => answered(api.GET('/api/v1/users/{id}/scripts/{direction}/versions', { params: { path: of(owner, direction), query: { limit: 100 } } })),
    select: (page) => page.items,
  });

export const logOf = (owner: Owner, direction: Direction) =>
  queryOptions({
    queryKey: ['scripts', owner, direction, 'log'] as const,
    queryFn: () => answered(api.GET('/api/v1/users/{id}/scripts/{direction}/log', { params: { path: of(owner, direction), query: { limit: 60 } } })),
    select: (page) => page.items,
    refetchInterval: 2_000,
  });

export const sourceOf = (owner: Owner, direction: Direction, version: number) =>
  queryOptions({
    queryKey: ['scripts', owner, direction, 'source', version] as const,
    queryFn: (): Promise<string> =>
      answered(api.GET('/api/v1/users/{id}/scripts/{direction}/versions/{version}/source', {
        params: { path: { ...of(owner, direction), version } },
        parseAs: 'text',
      })) as Promise<string>,
    staleTime: Infinity,
  });

/** The source becomes a version; it does not run before it is activated. */
export function upload(owner: Owner, direction: Direction, source: string, contentType: string): Promise<Schemas['UploadedBody']> {
  return answered(api.POST('/api/v1/users/{id}/scripts/{direction}', {
    params: { path: of(owner, direction) },
    body: source,
    bodySerializer: (body: unknown) => body as string,
    headers: { 'Content-Type': contentType },
  }));
}

export const activate = (owner: Owner, direction: Direction, version: number): Promise<Script> =>
  answered(api.POST('/api/v1/users/{id}/scripts/{direction}/activate', { params: { path: of(owner, direction) }, body: { version } }));

export const disable = (owner: Owner, direction: Direction): Promise<Script> =>
  answered(api.POST('/api/v1/users/{id}/scripts/{direction}/disable', { params: { path: of(owner, direction) } }));

export interface TryOn {
  source: string;
  language: Language['language'];
  messages?: Sample[];
  last?: number;
}

export const tryOut = (owner: Owner, direction: Direction, body: TryOn, signal?: AbortSignal): Promise<Tried> =>
  answered(api.POST('/api/v1/users/{id}/scripts/{direction}/try', { params: { path: of(owner, direction) }, body, signal }));
