/** Registering and signing in. */

import { answered, api } from '@/lib/api.ts';
import { session } from '@/lib/session.ts';

export interface Credentials {
  username: string;
  password: string;
}

export async function signIn(body: Credentials): Promise<void> {
  await session.signIn(await answered(api.POST('/api/v1/login', { body })));
}

export async function register(body: Credentials): Promise<void> {
  await session.signIn(await answered(api.POST('/api/v1/users', { body })));
}
