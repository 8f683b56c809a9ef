/** What administrators see and do. */

import { queryOptions } from '@tanstack/react-query';

import { answered, api, type Schemas } from '@/lib/api.ts';

export type AdminUser = Schemas['AdminUser'];
export type Node = Schemas['NodeBody'];
export type SwitchedOff = Schemas['SwitchedOffBody'];

export const usersKey = ['admin', 'users'] as const;

export const fetchUsers = (search: string, after: string | undefined) =>
  answered(api.GET('/api/v1/admin/users', { params: { query: { search, after, limit: 50 } } }));

const path = (id: number) => ({ params: { path: { id: String(id) } } });

export const setDisabled = (id: number, disabled: boolean): Promise<unknown> =>
  disabled ? answered(api.POST('/api/v1/admin/users/{id}/disable', path(id))) : answered(api.POST('/api/v1/admin/users/{id}/enable', path(id)));
export const setRole = (id: number, role: AdminUser['role']) => answered(api.PUT('/api/v1/admin/users/{id}/role', { ...path(id), body: { role } }));
export const setPassword = (id: number, password: string) => answered(api.PUT('/api/v1/admin/users/{id}/password', { ...path(id), body: { password } }));

export const nodesThere = queryOptions({
  queryKey: ['admin', 'nodes'] as const,
  queryFn: () => answered(api.GET('/api/v1/admin/nodes')),
  select: (page) => page.items,
  refetchInterval: 3_000,
  retry: false,
});

export const drain = (id: string) => answered(api.POST('/api/v1/admin/nodes/{id}/drain', { params: { path: { id } } }));

export const switchedOffScripts = queryOptions({
  queryKey: ['admin', 'switched-off'] as const,
  queryFn: () => answered(api.GET('/api/v1/admin/scripts/switched-off', { params: { query: { limit: 100 } } })),
  select: (page) => page.items,
  refetchInterval: 10_000,
});
