/** The keeper of the login in a browser: IndexedDB, `fetch`, and a lock that all tabs and the worker share. */

import { TokenKeeper, type Grant, type Login, type LoginStore, type Refusal } from '@parlor/client';

import type { WorkerAnswer, WorkerRequest } from './session-protocol.ts';

const DATABASE = 'parlor';
const LOCK = 'parlor.login';

/** `store`: where else than in the database of this browser. */
export function loginKeeper(store = loginStore()): { answer(request: WorkerRequest): Promise<WorkerAnswer> } {
  const keeper = new TokenKeeper({ store, refresh, lock: exclusively });
  return {
    async answer(request) {
      switch (request.kind) {
        case 'access':
          return keeper.access(request.stale);
        case 'keep':
          return keeper.keep(request.grant);
        case 'end': {
          const refreshToken = await keeper.end();
          if (refreshToken) await post('/api/v1/logout', { refreshToken }).catch(() => undefined);
          return null;
        }
      }
    },
  };
}

async function refresh(refreshToken: string): Promise<Grant | Refusal> {
  const answer = await post('/api/v1/token/refresh', { refreshToken });
  const body = (await answer.json().catch(() => ({}))) as Grant & { code?: string };
  return answer.ok ? body : { status: answer.status, code: body.code ?? 'unknown' };
}

function post(path: string, body: unknown): Promise<Response> {
  const headers = { 'Content-Type': 'application/json' };
  // `keepalive`: what was begun is finished, also when the page goes away.
  return fetch(path, { method: 'POST', headers, body: JSON.stringify(body), keepalive: true });
}

/** Web Locks are there on HTTPS and localhost only. Elsewhere one tab does one thing at a time, and that is all. */
let last: Promise<unknown> = Promise.resolve();
function exclusively<T>(work: () => Promise<T>): Promise<T> {
  if (navigator.locks) return navigator.locks.request(LOCK, work) as Promise<T>;
  const mine = last.then(work, work);
  last = mine.catch(() => undefined);
  return mine;
}

/** For a browser that keeps nothing: the login lives as long as the tab. */
export function loginInMemory(): LoginStore {
  let kept: Login | undefined;
  return {
    read: () => Promise.resolve(kept),
    write: (login) => {
      kept = login;
      return Promise.resolve();
    },
  };
}

function loginStore(): LoginStore {
  let opened: Promise<IDBDatabase> | undefined;
  const database = () =>
    (opened ??= new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open(DATABASE, 1);
      request.onupgradeneeded = () => request.result.createObjectStore('login');
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => {
        opened = undefined;
        reject(request.error ?? new Error('the browser keeps nothing'));
      };
    }));
  const run = async <T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> => {
    const transaction = (await database()).transaction('login', mode, { durability: 'strict' });
    const request = work(transaction.objectStore('login'));
    return new Promise((resolve, reject) => {
      // Not the request's success: only a transaction that is complete is kept.
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error ?? new Error('the browser kept nothing'));
    });
  };
  return {
    read: () => run('readonly', (store) => store.get('current') as IDBRequest<Login | undefined>),
    write: async (login) => {
      await run('readwrite', (store) => (login ? store.put(login, 'current') : store.delete('current')) as IDBRequest<unknown>);
    },
  };
}
