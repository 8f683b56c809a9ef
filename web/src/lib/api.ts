/** The HTTP interface, typed by its own description (openapi.json), with the login added and problems as errors. */

import createClient from 'openapi-fetch';

import type { components, paths } from './openapi.d.ts';
import { session } from './session.ts';

export type Schemas = components['schemas'];
export type Problem = Pick<Schemas['Problem'], 'status' | 'code' | 'detail'> & Partial<Schemas['Problem']>;

/** A request that was refused, or did not get through (`code` is `network`). */
export class ProblemError extends Error {
  readonly problem: Problem;
  readonly retryAfterMs: number | undefined;

  constructor(problem: Problem, retryAfterMs?: number) {
    super(problem.detail);
    this.name = 'ProblemError';
    this.problem = problem;
    this.retryAfterMs = retryAfterMs;
  }
}

/** In words, for whoever looks at the page. */
export function words(error: unknown): string {
  if (error instanceof ProblemError) {
    const { detail } = error.problem;
    return detail.charAt(0).toUpperCase() + detail.slice(1) + (/[.!?]$/.test(detail) ? '' : '.');
  }
  return error instanceof Error ? error.message : String(error);
}

const OPEN_PATHS = ['/api/v1/login', '/api/v1/token/refresh'];

/** `fetch` with the login; one that has ended is renewed once. */
async function authorised(request: Request): Promise<Response> {
  const path = new URL(request.url).pathname;
  const open = OPEN_PATHS.includes(path) || (path === '/api/v1/users' && request.method === 'POST');
  const again = request.clone();
  try {
    if (open) return await fetch(request);
    const token = await session.token();
    const answer = await fetch(withToken(request, token));
    if (answer.status !== 401 || token === null) return answer;
    return await fetch(withToken(again, await session.token(token)));
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ProblemError({ status: 0, code: 'network', detail: 'the server cannot be reached' });
  }
}

function withToken(request: Request, token: string | null): Request {
  if (token !== null) request.headers.set('Authorization', `Bearer ${token}`);
  return request;
}

export const api = createClient<paths>({ baseUrl: location.origin, fetch: authorised });

/** What a request came to; a problem is thrown. */
export async function answered<T>(
  pending: Promise<{ data?: T; error?: unknown; response: Response }>,
): Promise<T> {
  const { data, error, response } = await pending;
  if (response.ok) return data as T;
  const seconds = Number(response.headers.get('Retry-After'));
  throw new ProblemError(asProblem(error, response), seconds > 0 ? seconds * 1000 : undefined);
}

function asProblem(error: unknown, { status }: Response): Problem {
  let value = error;
  if (typeof value === 'string') {
    try {
      value = JSON.parse(value);
    } catch {
      value = undefined;
    }
  }
  if (typeof value === 'object' && value !== null && 'code' in value && 'detail' in value) return value as Problem;
  return { status, code: 'unknown', detail: `the server answered ${status}` };
}
