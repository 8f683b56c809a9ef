/** What every test has: a server, people in browsers of their own, and a look at what went wrong in the page. */

import { AxeBuilder } from '@axe-core/playwright';
import { expect, test as base, type Browser, type BrowserContextOptions, type Page } from '@playwright/test';

import { Server, type Account } from './server.ts';

export { expect };

/** Somebody in front of a browser. */
export class Person {
  readonly page: Page;
  readonly account: Account;

  constructor(page: Page, account: Account) {
    this.page = page;
    this.account = account;
  }

  get composer() {
    return this.page.getByRole('textbox', { name: /^Message/ });
  }

  get log() {
    return this.page.getByRole('log', { name: 'Messages' });
  }

  message(text: string) {
    return this.page.locator('.message-text', { hasText: new RegExp(`^${escaped(text)}$`) });
  }

  async say(text: string): Promise<void> {
    await this.composer.fill(text);
    await this.composer.press('Enter');
  }

  async signIn(): Promise<void> {
    const { username, password } = this.account;
    await this.page.getByLabel('Name', { exact: true }).fill(username);
    await this.page.getByLabel('Password').fill(password);
    await this.page.getByRole('button', { name: 'Sign in' }).click();
    await expect(this.page.getByRole('heading', { name: 'Chats' })).toBeVisible();
  }

  /** Opens the conversation with these people, a new one if there is none. */
  async openWith(...names: string[]): Promise<void> {
    await this.page.getByRole('button', { name: 'New conversation' }).first().click();
    const field = this.page.getByRole('combobox', { name: 'Find people by name' });
    for (const name of names) {
      await field.fill(name);
      await this.page.getByRole('option', { name, exact: true }).click();
    }
    await this.page.getByRole('dialog').getByRole('button', { name: /^Write( to|$)/ }).click();
    await expect(this.composer).toBeVisible();
  }
}

interface BrowserOptions extends BrowserContextOptions {
  /** Runs before every page: what this browser does to programs. */
  before?: () => void;
}

interface Fixtures {
  server: Server;
  /** Makes an account and has them sign in, in a browser of their own. */
  person: (name: string, options?: BrowserOptions) => Promise<Person>;
  /** A browser of its own for somebody who has an account. */
  browserOf: (account: Account, options?: BrowserOptions) => Promise<Person>;
}

export const test = base.extend<Fixtures>({
  server: async ({}, use) => {
    const server = await Server.start();
    await use(server);
    await server.stop();
  },
  browserOf: async ({ browser, server, contextOptions }, use) => {
    const wrong: string[] = [];
    const open: Page[] = [];
    await use(async (account, { before, ...options } = {}) => {
      const page = await newPage(browser, { ...contextOptions, ...options }, wrong);
      if (before) await page.context().addInitScript(before);
      open.push(page);
      await page.goto(server.url);
      const person = new Person(page, account);
      await person.signIn();
      return person;
    });
    for (const page of open) await page.context().close();
    expect(wrong, 'errors of the page, and what its policy refused').toEqual([]);
  },
  person: async ({ server, browserOf }, use) => {
    await use(async (name, options) => browserOf(await server.account(name), options));
  },
});

/** A page whose errors are a failure of the test. */
export async function newPage(browser: Browser, options: BrowserContextOptions, wrong: string[]): Promise<Page> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on('pageerror', (error) => wrong.push(`${error.name}: ${error.message}\n${error.stack ?? ''}`));
  page.on('console', (message) => {
    const text = message.text();
    // The browser itself tells of connections that break and of requests that are refused: those are part of the tests.
    if (message.type() === 'error' && !/WebSocket connection|Failed to load resource|net::ERR/.test(text)) wrong.push(text);
  });
  page.on('dialog', (dialog) => {
    wrong.push(`a dialog opened: ${dialog.message()}`);
    void dialog.dismiss();
  });
  return page;
}

/** Nothing that axe calls wrong, of any weight; or of these rules. */
export async function accessible(page: Page, name: string, rules?: string[]): Promise<void> {
  // The page has no frames: the way without a second page for the result is the quick one.
  const axe = new AxeBuilder({ page }).setLegacyMode(true).options({ resultTypes: ['violations'] });
  const { violations } = await (rules ? axe.withRules(rules) : axe).analyze();
  const found = violations.map(({ id, impact, nodes }) => `${name}: ${impact} ${id}: ${nodes.map((node) => node.html.slice(0, 160)).join(' | ')}`);
  expect(found).toEqual([]);
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
