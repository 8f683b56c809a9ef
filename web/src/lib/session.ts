/**
 * Who is signed in, in this tab; tabs tell each other. The access token lives in this module's memory, the refresh token
 * is with whoever keeps the login and is never handed to the page.
 */

import type { Access, Grant, User } from '@parlor/client';

import { afterwards } from './afterwards.ts';
import { loginInMemory, loginKeeper } from './keeper.ts';
import type { WorkerAnswer, WorkerRequest } from './session-protocol.ts';
import { keep, keeps, storage } from './storage.ts';

export type SessionState = { name: 'out'; why?: string } | { name: 'in'; user: User };

/** Who is signed in, so far as this browser knows: no secret, and what a page begins with before the keeper has answered. */
const WHO = 'parlor.user';

/** How long the worker may take to say that it heard; then the page does it itself. */
const WORKER_MS = 3_000;
/** A token that ends sooner is not used any more. */
const SOON_MS = 10_000;

class Session {
  #state: SessionState = remembered();
  #access: Access | null = null;
  #listeners = new Set<() => void>();
  #asking: Promise<string | null> | undefined;
  #direct: ReturnType<typeof loginKeeper> | undefined;
  #worker: Promise<ServiceWorker | undefined> | undefined;
  #tabs = typeof BroadcastChannel === 'undefined' ? undefined : new BroadcastChannel('parlor.session');

  constructor() {
    this.#tabs?.addEventListener('message', () => void this.#look());
  }

  /** Begins with whoever was signed in; whether the login is still good is found out beside what is drawn. */
  begin(): void {
    if (this.#state.name === 'in') void this.token().catch(() => undefined);
    // Nobody, as it seems. What the keeper needs to start is not taken from the first picture.
    else afterwards(() => void this.#look());
  }

  get state(): SessionState {
    return this.#state;
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** An access token; `null`: nobody is signed in. `stale` is one that was refused. */
  async token(stale?: string): Promise<string | null> {
    const known = this.#access;
    if (known && known.accessToken !== stale && known.expiresAt - Date.now() > SOON_MS) return known.accessToken;
    this.#asking ??= this.#ask({ kind: 'access', stale }).then((access) => {
      this.#become(access, 'Your login has ended. Please sign in again.');
      return access?.accessToken ?? null;
    }).finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  /** The token in use, to be named as stale. */
  get current(): string | undefined {
    return this.#access?.accessToken;
  }

  async signIn(grant: Grant): Promise<void> {
    this.#become(await this.#ask({ kind: 'keep', grant }));
    this.#tabs?.postMessage('changed');
  }

  async signOut(): Promise<void> {
    this.#become(null);
    await this.#ask({ kind: 'end' });
    this.#tabs?.postMessage('changed');
  }

  async #look(): Promise<void> {
    try {
      this.#access = null;
      this.#become(await this.#ask({ kind: 'access' }));
    } catch {
      // The server cannot be reached: whoever was signed in is not sent away.
    }
  }

  #become(access: Access | null, why?: string): void {
    const before = this.#state;
    this.#access = access;
    if (access && before.name === 'in' && before.user.id === access.user.id && before.user.role === access.user.role) return;
    if (access) keep(WHO, JSON.stringify(access.user));
    else storage.removeItem(WHO);
    if (!access && before.name === 'out') return;
    this.#state = access ? { name: 'in', user: access.user } : { name: 'out', why: before.name === 'in' ? why : undefined };
    this.#listeners.forEach((listener) => listener());
  }

  async #ask(request: WorkerRequest): Promise<WorkerAnswer> {
    const worker = await (this.#worker ??= sessionWorker());
    if (worker) {
      const answer = await askWorker(worker, request);
      if (answer !== 'deaf') return answer;
    }
    this.#direct ??= keeps ? loginKeeper() : loginKeeper(loginInMemory());
    return this.#direct.answer(request);
  }
}

export const session = new Session();

function remembered(): SessionState {
  try {
    const user = JSON.parse(storage.getItem(WHO) ?? 'null') as User | null;
    if (user && Number.isSafeInteger(user.id) && typeof user.username === 'string') return { name: 'in', user };
  } catch {
    // Damaged: as if nobody were.
  }
  return { name: 'out' };
}

/** The worker, where the browser has such: not on plain HTTP from another machine, and not in every private window. */
async function sessionWorker(): Promise<ServiceWorker | undefined> {
  if (!keeps || !('serviceWorker' in navigator)) return undefined;
  const { serviceWorker } = navigator;
  const registered = async () => {
    const url = trusted('/session-worker.js');
    const registration = await serviceWorker.register(url, { scope: '/', updateViaCache: 'none' });
    if (registration.active) return registration.active;
    return (await Promise.race([serviceWorker.ready, later(WORKER_MS)]))?.active ?? undefined;
  };
  if (serviceWorker.controller) {
    // The one that is there answers at once. Whether there is a newer one is asked when there is time for it.
    afterwards(() => void registered().catch(() => undefined));
    return serviceWorker.controller;
  }
  return registered().catch(() => undefined);
}

/** The one address that the page's policy (`trusted-types parlor`) lets become a program. */
function trusted(url: '/session-worker.js'): string {
  const { trustedTypes } = window as unknown as {
    trustedTypes?: { createPolicy(name: string, rules: object): { createScriptURL(url: string): string } };
  };
  if (!trustedTypes) return url;
  const createScriptURL = (asked: string) => {
    if (asked !== '/session-worker.js') throw new TypeError('not a program of this page');
    return asked;
  };
  return trustedTypes.createPolicy('parlor', { createScriptURL }).createScriptURL(url);
}

function askWorker(worker: ServiceWorker, request: WorkerRequest): Promise<WorkerAnswer | 'deaf'> {
  return new Promise((resolve, reject) => {
    const { port1, port2 } = new MessageChannel();
    const timer = setTimeout(() => resolve('deaf'), WORKER_MS);
    port1.onmessage = ({ data }: MessageEvent<{ heard?: true; value?: WorkerAnswer; error?: string }>) => {
      clearTimeout(timer);
      if (data.heard) return;
      port1.close();
      if (data.error !== undefined) reject(new Error(data.error));
      else resolve(data.value ?? null);
    };
    worker.postMessage(request, [port2]);
  });
}

function later(ms: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), ms));
}
