/**
 * A browser that nothing listens in, for figures. Playwright has a debugger's ear in every page: with it, V8 finds out where in the source
 * each `Error` was made, and React makes some at its start; so a page of a few hundred kilobytes is read twice more than for a user.
 */

import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

type Answer = Record<string, unknown>;

export class PlainBrowser {
  #process: ChildProcess;
  #folder: string;
  #next = 1;
  #waiting = new Map<number, { resolve(answer: Answer): void; reject(error: Error): void }>();

  private constructor(folder: string) {
    this.#folder = folder;
    const args = ['--headless', '--no-sandbox', '--no-first-run', '--remote-debugging-pipe', `--user-data-dir=${folder}`, '--window-size=1280,800'];
    this.#process = spawn(process.env.CHROMIUM ?? '/usr/bin/chromium', args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    let rest = '';
    (this.#process.stdio[4] as Readable).setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\0');
      rest = lines.pop() ?? '';
      for (const line of lines) this.#heard(JSON.parse(line) as { id?: number; result?: Answer; error?: { message: string } });
    });
  }

  static start(): PlainBrowser {
    return new PlainBrowser(mkdtempSync(join(tmpdir(), 'parlor-browser-')));
  }

  #heard({ id, result, error }: { id?: number; result?: Answer; error?: { message: string } }): void {
    const waiting = this.#waiting.get(id ?? 0);
    this.#waiting.delete(id ?? 0);
    if (error) waiting?.reject(new Error(error.message));
    else waiting?.resolve(result ?? {});
  }

  send(method: string, params: object = {}, sessionId?: string): Promise<Answer> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      (this.#process.stdio[3] as Writable).write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  /** What belongs together: cookies, storage, cache. */
  async context(): Promise<string> {
    return (await this.send('Target.createBrowserContext')).browserContextId as string;
  }

  async page(browserContextId: string): Promise<PlainPage> {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank', browserContextId });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    return new PlainPage(this, targetId as string, sessionId as string);
  }

  async stop(): Promise<void> {
    const gone = new Promise((resolve) => this.#process.once('exit', resolve));
    await this.send('Browser.close').catch(() => undefined);
    await gone;
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

export class PlainPage {
  readonly #browser: PlainBrowser;
  readonly #target: string;
  readonly #session: string;

  constructor(browser: PlainBrowser, target: string, session: string) {
    this.#browser = browser;
    this.#target = target;
    this.#session = session;
  }

  send(method: string, params: object = {}): Promise<Answer> {
    return this.#browser.send(method, params, this.#session);
  }

  /** What an expression comes to, a promise awaited. */
  async value<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(`${expression}: ${JSON.stringify(exceptionDetails)}`);
    return (result as { value: T }).value;
  }

  /** Waits until an expression is true of the page. Asked seldom, not to be in the way. */
  async until<T>(expression: string): Promise<T> {
    for (let n = 0; n < 100; n += 1) {
      const value = await this.value<T>(expression).catch(() => undefined);
      if (value) return value;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    throw new Error(`${expression}: not within 30 s`);
  }

  close(): Promise<Answer> {
    return this.#browser.send('Target.closeTarget', { targetId: this.#target });
  }
}
