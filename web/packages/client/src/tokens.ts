/**
 * Keeps a login: an access token that is good now, renewed in time. A refresh token is good once, and to present one
 * twice ends the login; so one renewal happens at a time (`lock`), whoever shares the storage, and what it brought is
 * stored before anybody is answered.
 */

import { systemClock, type Clock } from './clock.ts';

export interface User {
  id: number;
  username: string;
  role: 'user' | 'admin';
}

/** The answer of `POST /login`, `/users` and `/token/refresh`. */
export interface Grant {
  accessToken: string;
  expiresIn: number;
  refreshToken: string;
  user: User;
}

export interface Login {
  accessToken: string;
  /** Milliseconds since 1970. */
  expiresAt: number;
  refreshToken: string;
  user: User;
}

/** What a page is given: never the refresh token. */
export type Access = Pick<Login, 'accessToken' | 'expiresAt' | 'user'>;

export interface LoginStore {
  read(): Promise<Login | undefined>;
  write(login: Login | undefined): Promise<void>;
}

/** Why there is no token: the login is over, or it cannot be known now. */
export type Refusal = { status: number; code: string };

export interface KeeperOptions {
  store: LoginStore;
  /** `POST /token/refresh`. Rejects when the server cannot be reached. */
  refresh: (refreshToken: string) => Promise<Grant | Refusal>;
  /** Runs `work` while nobody else does, in whatever tab or worker. */
  lock: <T>(work: () => Promise<T>) => Promise<T>;
  clock?: Clock;
}

/** A token that ends sooner is renewed before it is given out. */
const SOON_MS = 30_000;

export class TokenKeeper {
  #options: KeeperOptions & { clock: Clock };

  constructor(options: KeeperOptions) {
    this.#options = { clock: systemClock, ...options };
  }

  /** A good access token; `null`: nobody is signed in. `stale` is one that was refused: it is not given again. */
  access(stale?: string): Promise<Access | null> {
    const { store, clock, lock, refresh } = this.#options;
    return lock(async () => {
      const login = await store.read();
      if (!login) return null;
      if (login.accessToken !== stale && login.expiresAt - clock.now() > SOON_MS) return access(login);
      const grant = await refresh(login.refreshToken);
      if (!('status' in grant)) return access(await this.#keep(grant));
      if (grant.status === 401 || grant.status === 403) {
        await store.write(undefined);
        return null;
      }
      // 429, 503: not now. The old token may still be good for a while.
      if (login.accessToken !== stale && login.expiresAt > clock.now()) return access(login);
      throw new Error(`the login could not be renewed: ${grant.code}`);
    });
  }

  /** Somebody signed in. */
  keep(grant: Grant): Promise<Access> {
    return this.#options.lock(async () => access(await this.#keep(grant)));
  }

  /** Forgets the login and hands out its refresh token, with which the server can be told. */
  end(): Promise<string | undefined> {
    const { store, lock } = this.#options;
    return lock(async () => {
      const login = await store.read();
      await store.write(undefined);
      return login?.refreshToken;
    });
  }

  async #keep({ accessToken, expiresIn, refreshToken, user }: Grant): Promise<Login> {
    const expiresAt = this.#options.clock.now() + expiresIn * 1000;
    const login = { accessToken, expiresAt, refreshToken, user };
    await this.#options.store.write(login);
    return login;
  }
}

function access({ accessToken, expiresAt, user }: Login): Access {
  return { accessToken, expiresAt, user };
}
