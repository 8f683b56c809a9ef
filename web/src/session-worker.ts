/**
 * The service worker: keeps the login, for all tabs. It answers no requests of the page.
 *
 * A refresh token is good once. A tab that is reloaded while it renews a login would lose the answer, and with it the
 * login; the browser lets this worker finish.
 */

import { loginKeeper } from './lib/keeper.ts';
import type { WorkerRequest } from './lib/session-protocol.ts';

interface ExtendableEvent extends Event {
  waitUntil(work: Promise<unknown>): void;
}
interface WorkerScope {
  skipWaiting(): Promise<void>;
  clients: { claim(): Promise<void> };
  addEventListener(type: 'install' | 'activate', listener: (event: ExtendableEvent) => void): void;
  addEventListener(type: 'message', listener: (event: ExtendableEvent & MessageEvent<WorkerRequest>) => void): void;
}

const scope = self as unknown as WorkerScope;
const keeper = loginKeeper();

scope.addEventListener('install', (event) => event.waitUntil(scope.skipWaiting()));
scope.addEventListener('activate', (event) => event.waitUntil(scope.clients.claim()));
scope.addEventListener('message', (event) => {
  const port = event.ports[0];
  if (!port) return;
  port.postMessage({ heard: true });
  const answer = keeper.answer(event.data).then(
    (value) => port.postMessage({ value }),
    (error: unknown) => port.postMessage({ error: String(error) }),
  );
  event.waitUntil(answer);
});
