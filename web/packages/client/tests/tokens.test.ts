/** A refresh token is good once: it must never be presented twice, and what it brought never be lost. */

import { beforeEach, expect, test } from 'vitest';

import { TokenKeeper, type Grant, type Login, type LoginStore, type Refusal } from '../src/index.ts';
import { FakeClock, settled } from './fakes.ts';

/** A server that ends the login when a refresh token comes twice. */
class Server {
  used = new Set<string>();
  n = 0;
  ended = false;
  down = false;
  busy = false;
  refresh = async (refreshToken: string): Promise<Grant | Refusal> => {
    await settled();
    if (this.down) throw new TypeError('fetch failed');
    if (this.busy) return { status: 503, code: 'busy' };
    if (this.ended || this.used.has(refreshToken)) {
      this.ended = true;
      return { status: 401, code: 'refresh_token_reused' };
    }
    this.used.add(refreshToken);
    return this.grant();
  };
  grant(): Grant {
    this.n += 1;
    return { accessToken: `a${this.n}`, expiresIn: 900, refreshToken: `r${this.n}`, user: { id: 1, username: 'ada', role: 'user' } };
  }
}

let clock: FakeClock;
let server: Server;
let kept: Login | undefined;
let store: LoginStore;
let lock: <T>(work: () => Promise<T>) => Promise<T>;

beforeEach(() => {
  clock = new FakeClock();
  server = new Server();
  kept = undefined;
  store = {
    read: async () => kept,
    write: async (login) => {
      await settled();
      kept = login;
    },
  };
  let last: Promise<unknown> = Promise.resolve();
  lock = (work) => {
    const mine = last.then(work, work);
    last = mine.catch(() => undefined);
    return mine;
  };
});

const keeper = (): TokenKeeper => new TokenKeeper({ store, refresh: server.refresh, lock, clock });

test('nobody signed in has no token', async () => {
  expect(await keeper().access()).toBeNull();
});

test('a token is given until it ends soon, then another; a page never sees the refresh token', async () => {
  const one = keeper();
  await one.keep(server.grant());
  expect(await one.access()).toMatchObject({ accessToken: 'a1' });
  await clock.pass(869_000);
  expect(await one.access()).toMatchObject({ accessToken: 'a1' });
  await clock.pass(2_000);
  const access = await one.access();
  expect(access).toMatchObject({ accessToken: 'a2' });
  expect(access).not.toHaveProperty('refreshToken');
});

test('many tabs at once renew once', async () => {
  const tabs = [keeper(), keeper(), keeper()];
  await tabs[0]?.keep(server.grant());
  await clock.pass(900_000);
  const tokens = await Promise.all([...tabs, ...tabs].map((tab) => tab.access()));
  expect(new Set(tokens.map((access) => access?.accessToken))).toEqual(new Set(['a2']));
  expect(server.used).toEqual(new Set(['r1']));
  expect(server.ended).toBe(false);
});

test('a token that was refused is not given again, nor is the one that took its place thrown away', async () => {
  const one = keeper();
  await one.keep(server.grant());
  const [first, second] = await Promise.all([one.access('a1'), one.access('a1')]);
  expect([first?.accessToken, second?.accessToken]).toEqual(['a2', 'a2']);
  expect(server.n).toBe(2);
});

test('what a renewal brought is stored before anybody is answered', async () => {
  const one = keeper();
  await one.keep(server.grant());
  await clock.pass(900_000);
  await one.access();
  expect(kept?.refreshToken).toBe('r2');
});

test('a server that cannot be reached, or is busy, ends no login', async () => {
  const one = keeper();
  await one.keep(server.grant());
  await clock.pass(900_000);
  server.down = true;
  await expect(one.access()).rejects.toThrow();
  server.down = false;
  server.busy = true;
  await expect(one.access()).rejects.toThrow('busy');
  server.busy = false;
  expect(await one.access()).toMatchObject({ accessToken: 'a2' });
});

test('busy while the token is still good for a moment: that one', async () => {
  const one = keeper();
  await one.keep(server.grant());
  await clock.pass(880_000);
  server.busy = true;
  expect(await one.access()).toMatchObject({ accessToken: 'a1' });
});

test('a login that the server ended is forgotten', async () => {
  const one = keeper();
  await one.keep(server.grant());
  server.ended = true;
  expect(await one.access('a1')).toBeNull();
  expect(kept).toBeUndefined();
});

test('signing out hands the refresh token out, and forgets', async () => {
  const one = keeper();
  await one.keep(server.grant());
  expect(await one.end()).toBe('r1');
  expect(await one.access()).toBeNull();
});
