/** What breaks: pages that are reloaded, servers that are killed or stopped, two tabs with one login. */

import { expect, Person, test } from './support/test.ts';

const banner = (who: Person) => who.page.locator('[data-connection]');

/** What both sides show and the server has is the same, each message once, every sender's in order. */
async function whole(people: Person[], expected: string[], server: import('./support/server.ts').Server): Promise<void> {
  for (const who of people) {
    await expect(who.page.locator('.message:not(.pending)')).toHaveCount(expected.length);
    const texts = () => who.page.locator('.message-text').allInnerTexts();
    await expect.poll(async () => (await texts()).sort()).toEqual([...expected].sort());
    const shown = await texts();
    const kept = (await server.inbox(who.account)).map((message) => message.messageBody);
    expect(shown, `${who.account.username} sees what the server has, in its order`).toEqual(kept);
    for (const author of 'ab') {
      const of = kept.filter((text) => text.startsWith(author));
      expect(of).toEqual([...of].sort((x, y) => Number(x.slice(1)) - Number(y.slice(1))));
    }
  }
}

async function pair(person: (name: string) => Promise<Person>): Promise<[Person, Person]> {
  const [ada, bea] = [await person('ada'), await person('bea')];
  await ada.openWith('bea');
  await ada.say('a0');
  await bea.page.getByRole('link', { name: /ada/ }).click();
  await expect(bea.message('a0')).toBeVisible();
  return [ada, bea];
}

test('a reload in the middle of sending loses nothing and doubles nothing', async ({ person, server }) => {
  const [ada, bea] = await pair(person);
  const expected = ['a0'];
  for (let n = 1; n <= 12; n += 1) {
    await ada.say(`a${n}`);
    expected.push(`a${n}`);
    // At once: what was written a moment ago is on its way, or not even that.
    if (n % 4 === 0) await ada.page.reload();
  }
  await whole([ada, bea], expected, server);
  await expect(ada.page.locator('.message.pending')).toHaveCount(0);
});

test('without a connection it is kept, over a reload too, and sent when there is one', async ({ person, server }) => {
  const [ada, bea] = await pair(person);
  await ada.page.context().setOffline(true);
  await ada.page.evaluate(() => window.dispatchEvent(new Event('offline')));
  await server.kill();
  await expect(banner(ada)).toContainText(/offline|lost/, { timeout: 20_000 });
  for (const text of ['a1', 'a2']) await ada.say(text);
  await expect(ada.page.locator('.message.pending')).toHaveCount(2);
  await expect(banner(ada)).toContainText('2 messages wait here');
  await server.up();
  await ada.page.context().setOffline(false);
  await ada.page.reload();
  await whole([ada, bea], ['a0', 'a1', 'a2'], server);
  await expect(banner(ada)).toHaveText('');
});

test('two tabs of one user send at once: each message once, and both tabs show all', async ({ person, server }) => {
  const [ada, bea] = await pair(person);
  const page = await ada.page.context().newPage();
  await page.goto(ada.page.url());
  const second = new Person(page, ada.account);
  await expect(second.message('a0')).toBeVisible();
  const texts = (tab: string) => Array.from({ length: 15 }, (_, n) => `${tab}${n}`);
  const all = async (who: Person, lines: string[]) => {
    for (const line of lines) await who.say(line);
  };
  await Promise.all([all(ada, texts('first ')), all(second, texts('second '))]);
  const expected = ['a0', ...texts('first '), ...texts('second ')].sort();
  for (const who of [ada, second, bea]) {
    await expect.poll(async () => (await who.page.locator('.message:not(.pending) .message-text').allInnerTexts()).sort()).toEqual(expected);
    await expect(who.page.locator('.message.pending')).toHaveCount(0);
  }
  expect((await server.inbox(bea.account)).map((message) => message.messageBody).sort()).toEqual(expected);
  const order = await bea.page.locator('.message-text').allInnerTexts();
  // Each tab is a sender of its own: what it sent stays in order.
  for (const tab of ['first ', 'second ']) expect(order.filter((text) => text.startsWith(tab))).toEqual(texts(tab));
});

test('half an hour without a connection: what came meanwhile is there, what was written is sent', async ({ browserOf, server }) => {
  const [adasAccount, beasAccount] = [await server.account('ada'), await server.account('bea')];
  await server.send(beasAccount, [adasAccount.id], 'a0');
  const ada = await browserOf(adasAccount);
  await ada.page.clock.install();
  await ada.page.getByRole('link', { name: /bea/ }).click();
  await expect(ada.message('a0')).toBeVisible();
  await ada.page.context().setOffline(true);
  // Sockets that are open stay so in Chromium's offline mode: the server's end is what breaks.
  await server.kill();
  await ada.say('b0');
  await expect(banner(ada)).toContainText(/offline|lost/);
  await ada.page.clock.fastForward('30:00');
  await ada.say('b1');
  await expect(ada.page.locator('.message.pending')).toHaveCount(2);
  await server.up();
  const came = Array.from({ length: 120 }, (_, n) => `a${n + 1}`);
  for (const text of came) await server.send(beasAccount, [adasAccount.id], text);
  await ada.page.context().setOffline(false);
  await ada.page.clock.fastForward('01:00');
  await expect(banner(ada)).toHaveText('', { timeout: 30_000 });
  await expect(ada.page.locator('.message.pending')).toHaveCount(0);
  const inbox = (await server.inbox(adasAccount)).map((message) => message.messageBody);
  expect(inbox).toEqual(['a0', ...came, 'b0', 'b1']);
  await expect(ada.message('b1')).toBeVisible();
  await expect(ada.message('a120')).toBeVisible();
});

test('the server is killed, and started again, while both type', async ({ person, server }) => {
  test.setTimeout(180_000);
  const [ada, bea] = await pair(person);
  const expected = ['a0'];
  let round = 0;
  const both = async (from: number, to: number) => {
    for (let n = from; n < to; n += 1) {
      await Promise.all([ada.say(`a${n}`), bea.say(`b${n}`)]);
      expected.push(`a${n}`, `b${n}`);
    }
  };
  for (const [from, middle, to] of [[1, 6, 12], [12, 16, 20]] as const) {
    const typing = both(from, middle);
    await server.kill();
    await typing;
    for (const who of [ada, bea]) await expect(banner(who)).toContainText(/lost|Connecting again/);
    // What is not durable is never shown as sent.
    for (const who of [ada, bea]) await expect(who.page.locator('.message.pending[data-state="sending"]')).not.toHaveCount(0);
    await both(middle, to);
    await server.up();
    for (const who of [ada, bea]) {
      // Somebody who looks at the page does not wait for the longest back-off.
      await banner(who).getByRole('button', { name: 'Try now' }).click({ timeout: 2_000 }).catch(() => undefined);
      await expect(banner(who)).toHaveText('', { timeout: 45_000 });
    }
    await whole([ada, bea], expected, server);
    round += 1;
  }
  expect(round).toBe(2);
});

test('a server that is stopped hands everybody over, and the banner says so', async ({ person, server }) => {
  const [ada, bea] = await pair(person);
  await server.drain();
  await expect(banner(ada)).toContainText(/restarting|Connecting again|lost/);
  await ada.say('a1');
  await server.up();
  await whole([ada, bea], ['a0', 'a1'], server);
});

test('many tabs and many reloads share one login', async ({ person, server }) => {
  const ada = await person('ada');
  const tabs = await Promise.all(Array.from({ length: 4 }, async () => {
    const page = await ada.page.context().newPage();
    await page.goto(server.url);
    return page;
  }));
  // Every token ends now: all of them want another at the same moment, and some are reloaded while they wait.
  await ada.page.evaluate(async () => {
    const database = await new Promise<IDBDatabase>((resolve) => {
      const request = indexedDB.open('parlor');
      request.onsuccess = () => resolve(request.result);
    });
    const store = database.transaction('login', 'readwrite').objectStore('login');
    const login = await new Promise<Record<string, unknown>>((resolve) => {
      const request = store.get('current');
      request.onsuccess = () => resolve(request.result as Record<string, unknown>);
    });
    await new Promise((resolve) => (store.put({ ...login, expiresAt: 0 }, 'current').onsuccess = resolve));
  });
  for (let n = 0; n < 3; n += 1) await Promise.all(tabs.map((tab) => tab.reload({ waitUntil: 'commit' }).catch(() => undefined)));
  for (const tab of tabs) await expect(tab.getByRole('heading', { name: 'Chats' })).toBeVisible();
  await ada.page.reload();
  await expect(ada.page.getByRole('heading', { name: 'Chats' })).toBeVisible();
  // The tokens are where SECURITY.md says, and nowhere else.
  const elsewhere = await ada.page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage, cookie: document.cookie }));
  expect(elsewhere).not.toMatch(/eyJ|refreshToken|accessToken/);
});

for (const [how, before] of [
  ['forbidden', () => {
    for (const name of ['localStorage', 'indexedDB']) {
      Object.defineProperty(window, name, { get: () => { throw new DOMException('no', 'SecurityError'); } });
    }
  }],
  ['full', () => {
    Storage.prototype.setItem = () => {
      throw new DOMException('full', 'QuotaExceededError');
    };
  }],
] as const) {
  test(`with a storage that is ${how} one can chat all the same`, async ({ browserOf, server, person }) => {
    const bea = await person('bea');
    const ada = await browserOf(await server.account('ada'), { before });
    await ada.openWith('bea');
    await ada.composer.fill('half');
    await ada.say('a1');
    await bea.page.getByRole('link', { name: /ada/ }).click();
    await bea.say('b1');
    await whole([ada, bea], ['a1', 'b1'], server);
    await ada.page.getByRole('link', { name: 'Settings' }).click();
    await expect(ada.page.getByText('This browser keeps nothing')).toHaveCount(how === 'forbidden' ? 1 : 0);
    await ada.page.getByText('Dark').click();
    await ada.page.getByRole('button', { name: 'Sign out' }).click();
    await expect(ada.page.getByRole('button', { name: 'Sign in' })).toBeVisible();
  });
}

test('a screen that cannot be fetched says so, and the others go on', async ({ person, server }) => {
  const [ada] = await pair(person);
  await server.kill();
  await ada.page.getByRole('link', { name: 'Filtered' }).click();
  await expect(ada.page.getByRole('alert')).toContainText('could not be opened');
  await ada.page.getByRole('link', { name: 'Chats' }).click();
  await ada.page.getByRole('link', { name: /bea/ }).click();
  await expect(ada.message('a0')).toBeVisible();
  await server.up();
  await ada.page.getByRole('link', { name: 'Auto-reply' }).click();
  await expect(ada.page.getByRole('heading', { name: 'Auto-reply' })).toBeVisible();
});

test('a login whose tokens live for seconds goes on, in chat and in requests', async ({ browserOf, server }) => {
  await server.kill();
  await server.up({ PARLOR_ACCOUNTS__ACCESS_SECONDS: '12' });
  const [ada, bea] = [await server.account('ada'), await server.account('bea')];
  const who = await browserOf(ada);
  const begun = Date.now();
  let renewed = 0;
  who.page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => (renewed += String(payload).includes('"refreshToken"') ? 1 : 0)));
  await who.page.reload();
  await server.send(bea, [ada.id], 'Hi');
  await who.page.getByRole('link', { name: /bea/ }).click();
  await expect.poll(() => Date.now() - begun, { timeout: 40_000 }).toBeGreaterThan(20_000);
  // In time, and not without pause.
  expect(renewed).toBeGreaterThanOrEqual(2);
  expect(renewed).toBeLessThanOrEqual(6);
  await who.say('still here');
  await expect(who.page.locator('.message.own:not(.pending)')).toHaveText(/still here/);
  await who.page.getByRole('link', { name: 'Auto-reply' }).click();
  await expect(who.page.getByText('Made and not made')).toBeVisible();
  await expect(banner(who)).toHaveText('');
});
