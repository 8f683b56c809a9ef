/** A server of a test's own: real, on a free port, with a data folder that goes with it. */

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const ROOT = new URL('../../../', import.meta.url).pathname;
const BINARY = process.env.PARLOR_BIN ?? join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'debug/parlor');

export interface Account {
  id: number;
  username: string;
  password: string;
  accessToken: string;
}

async function wellAnswered(path: string, answer: Response): Promise<void> {
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
}

export class Server {
  url = '';
  readonly data = mkdtempSync(join(tmpdir(), 'parlor-web-'));
  #process: ChildProcess | undefined;
  #log: string[] = [];
  #port = 0;

  static async start(env: Record<string, string> = {}): Promise<Server> {
    const server = new Server();
    await server.up(env);
    return server;
  }

  /** Starts it, at the same address as before. */
  async up(env: Record<string, string> = {}): Promise<void> {
    if (!existsSync(BINARY)) throw new Error(`${BINARY} is missing: cargo build`);
    const flags = ['--data', this.data, '--listen', `127.0.0.1:${this.#port}`, '--internal-listen', '127.0.0.1:0'];
    const child = spawn(BINARY, ['serve', ...flags], {
      env: { ...process.env, PARLOR_RECONNECT_SPREAD_SECONDS: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#process = child;
    createInterface({ input: child.stderr }).on('line', (line) => this.#log.push(line));
    for await (const line of createInterface({ input: child.stdout })) {
      const url = /^parlor ready: (\S+)/.exec(line)?.[1];
      if (!url) continue;
      this.url = url;
      this.#port = Number(new URL(url).port);
      return;
    }
    throw new Error(`the server did not start:\n${this.#log.join('\n')}`);
  }

  /** As the power going out: nothing is finished. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async stop(): Promise<void> {
    await this.#end('SIGKILL');
    rmSync(this.data, { recursive: true, force: true });
  }

  /** As an operator does: connections are handed over first. */
  async drain(): Promise<void> {
    await this.#end('SIGTERM');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }

  #ask(path: string, body: unknown, token?: string): Promise<Response> {
    const headers: Record<string, string> = { 'Content-Type': 'application/json' };
    if (token) headers.Authorization = `Bearer ${token}`;
    return fetch(`${this.url}/api/v1${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
  }

  async post(path: string, body: unknown, token?: string): Promise<Record<string, unknown>> {
    const answer = await this.#ask(path, body, token);
    await wellAnswered(path, answer);
    return (await answer.json().catch(() => ({}))) as Record<string, unknown>;
  }

  async get(path: string, token: string): Promise<never> {
    const answer = await fetch(`${this.url}/api/v1${path}`, { headers: { Authorization: `Bearer ${token}` } });
    await wellAnswered(path, answer);
    return (await answer.json()) as never;
  }

  async account(username: string, password = 'correct horse'): Promise<Account> {
    const grant = (await this.post('/users', { username, password })) as { accessToken: string; user: { id: number } };
    return { id: grant.user.id, username, password, accessToken: grant.accessToken };
  }

  /** By the command line, as an operator would. */
  async admin(username: string, password = 'correct horse'): Promise<void> {
    const child = spawn(BINARY, ['user', 'add', username, '--password-stdin', '--role', 'admin', '--data', this.data], { stdio: ['pipe', 'ignore', 'inherit'] });
    child.stdin.end(password);
    const [code] = await once(child, 'exit');
    if (code !== 0) throw new Error('parlor user add failed');
  }

  /** The whole inbox of an account, oldest first. */
  async inbox(account: Account): Promise<{ seq: number; senderId: number; messageBody: string; fromAutoReply: boolean }[]> {
    const { accessToken } = (await this.post('/login', { username: account.username, password: account.password })) as { accessToken: string };
    const all: { seq: number; senderId: number; messageBody: string; fromAutoReply: boolean }[] = [];
    let next: string | null = '0';
    while (next) {
      const page: { items: never[]; next: string | null } = await this.get(`/inbox?after=${next}&limit=100`, accessToken);
      all.push(...page.items);
      next = page.next;
    }
    return all;
  }

  async send(from: Account, to: number[], messageBody: string): Promise<void> {
    const ask = () => this.#ask('/messages', { messageBody, recipientIds: to }, from.accessToken);
    let answer = await ask();
    // A fast machine writes more than a user may: who is told to wait, waits.
    while (answer.status === 429) {
      await new Promise((resolve) => setTimeout(resolve, 1_000 * Number(answer.headers.get('retry-after'))));
      answer = await ask();
    }
    await wellAnswered('/messages', answer);
  }
}
