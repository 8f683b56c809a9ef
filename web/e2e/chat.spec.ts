/** Two people, two browsers. */

import { accessible, expect, test } from './support/test.ts';

test('a first message reaches a second account without a manual', async ({ browser, server }) => {
  const begun = Date.now();
  const pages = await Promise.all(['ada', 'bea'].map(async (name) => {
    const page = await (await browser.newContext()).newPage();
    await page.goto(server.url);
    await page.getByRole('button', { name: 'Create an account' }).click();
    await page.getByLabel('Name', { exact: true }).fill(name);
    await page.getByLabel('Password').fill('correct horse');
    await page.getByRole('button', { name: 'Create account' }).click();
    await expect(page.getByText('No conversations yet')).toBeVisible();
    return page;
  }));
  const [ada, bea] = pages as [typeof pages[0] & object, typeof pages[0] & object];
  await ada.getByRole('button', { name: 'Write to somebody' }).click();
  await ada.keyboard.type('be');
  await expect(ada.getByRole('option', { name: 'bea' })).toBeVisible();
  await ada.keyboard.press('Enter');
  await ada.keyboard.press('Enter');
  await ada.keyboard.type('Hello, Bea!');
  await ada.keyboard.press('Enter');
  await bea.getByRole('link', { name: /ada.*Hello, Bea!/ }).click();
  await expect(bea.locator('.message-text')).toHaveText('Hello, Bea!');
  expect(Date.now() - begun).toBeLessThan(60_000);
});

test('two people chat: order, read marks, presence, writing, names, days', async ({ person, browserOf }) => {
  const ada = await person('ada');
  const bea = await person('bea');
  await ada.openWith('bea');
  await ada.say('One');
  await expect(ada.message('One')).toBeVisible();
  await bea.page.getByRole('link', { name: /ada/ }).click();
  await expect(bea.message('One')).toBeVisible();
  await expect(bea.page.getByText('Today', { exact: true })).toBeVisible();
  await expect(ada.page.locator('.conversation-head')).toContainText('Online');
  await bea.composer.pressSequentially('Tw');
  await expect(ada.page.locator('.conversation-head')).toContainText('bea is writing');
  await bea.say('Two');
  await ada.say('Three\nwith a line');
  for (const who of [ada, bea]) {
    await expect(who.page.locator('.message-text')).toHaveText(['One', 'Two', 'Three\nwith a line']);
  }
  await expect(ada.page.locator('.message.own .mark').last()).toHaveAttribute('title', 'Read');
  await expect(ada.page).toHaveURL(/\/c\/[0-9a-f-]{36}$/);
  // A browser that was not there when it was read hears of it too.
  const elsewhere = await browserOf(ada.account);
  await elsewhere.page.getByRole('link', { name: /bea/ }).click();
  await expect(elsewhere.page.locator('.message.own .mark').last()).toHaveAttribute('title', 'Read');
});

test('who goes on typing while the first message makes the conversation loses no letter', async ({ person }) => {
  const ada = await person('ada');
  await person('bea');
  await ada.openWith('bea');
  await ada.composer.fill('One');
  await ada.page.keyboard.press('Enter');
  await ada.page.keyboard.type('and two, and three, and four', { delay: 15 });
  await expect(ada.page).toHaveURL(/\/c\/[0-9a-f-]{36}$/);
  await expect(ada.message('One')).toBeVisible();
  await expect(ada.composer).toHaveValue('and two, and three, and four');
  await ada.page.keyboard.type(' and five');
  await ada.page.keyboard.press('Enter');
  await expect(ada.message('and two, and three, and four and five')).toBeVisible();
});

test('a conversation far down the list is found, and is not taken for a new one', async ({ browserOf, server }) => {
  const me = await server.account('ada');
  const others = await Promise.all(['bea', 'cleo', 'dora', 'eve', 'fay', 'gus'].map((name) => server.account(name)));
  await server.send(others[0] as typeof me, [me.id], 'the oldest of all');
  // Every other group that these people can make: more than a page.
  for (let bits = 2; bits < 2 ** others.length; bits += 1) {
    const group = others.filter((_, n) => bits & (2 ** n));
    await server.send(me, group.map((one) => one.id), `to group ${bits}`);
  }
  const ada = await browserOf(me);
  await expect(ada.page.getByRole('button', { name: 'Older conversations' })).toBeVisible();
  await ada.openWith('bea');
  await expect(ada.message('the oldest of all')).toBeVisible();
  await expect(ada.page).toHaveURL(/\/c\/[0-9a-f-]{36}$/);
  await ada.page.reload();
  await ada.page.getByLabel('Find a conversation').fill('bea');
  await expect(ada.page.locator('.row-text', { hasText: 'the oldest of all' })).toBeVisible();
  await ada.page.getByLabel('Find a conversation').fill('nobody');
  await expect(ada.page.getByText('No conversation by that name.')).toBeVisible();
});

test('the desktop is told of what comes while one looks elsewhere, on whatever screen', async ({ browserOf, server }) => {
  const [ada, bea] = [await server.account('ada'), await server.account('bea')];
  const who = await browserOf(ada);
  await who.page.addInitScript(() => {
    const shown: string[] = [];
    class Told {
      static permission = 'granted';
      constructor(title: string, { body }: { body: string }) {
        shown.push(`${title}: ${body}`);
      }
    }
    Object.assign(window, { Notification: Told, shown });
  });
  await who.page.goto(`${server.url}/settings`);
  // What came before the page listened is in the list, and is not told.
  await expect(who.page.locator('[data-connection="open"]')).toBeAttached();
  const shown = () => who.page.evaluate(() => (window as unknown as { shown: string[] }).shown);
  await server.send(bea, [ada.id], 'Are you there?');
  await expect.poll(shown).toEqual(['bea: Are you there?']);
  await expect(who.page).toHaveTitle('(1) Parlor');
  await who.page.getByRole('link', { name: 'Chats' }).click();
  await who.page.getByRole('link', { name: /bea/ }).click();
  await expect(who.message('Are you there?')).toBeVisible();
  await server.send(bea, [ada.id], 'I see you are.');
  await expect(who.message('I see you are.')).toBeVisible();
  expect(await shown()).toEqual(['bea: Are you there?']);
});

test('a group: who said it, and who is in it', async ({ person, server }) => {
  const ada = await person('ada');
  const bea = await person('bea');
  const cleo = await server.account('cleo');
  await ada.openWith('bea', 'cleo');
  await ada.say('All of you');
  await bea.page.getByRole('link', { name: /ada, cleo/ }).click();
  await expect(bea.page.locator('.message-sender')).toHaveText('ada');
  await server.send(cleo, [ada.account.id, bea.account.id], 'Me too');
  await expect(ada.message('Me too')).toBeVisible();
  await expect(ada.page.locator('.conversation-head')).toContainText('3 people');
});

test('unread counts, and reading them on one device clears them on the other', async ({ browserOf, server }) => {
  const [ada, bea] = [await server.account('ada'), await server.account('bea')];
  const desk = await browserOf(ada);
  const phone = await browserOf(ada);
  for (const text of ['1', '2', '3']) await server.send(bea, [ada.id], text);
  await expect(desk.page.locator('.row .badge')).toHaveText('3');
  await expect(phone.page.locator('.row .badge')).toHaveText('3');
  await expect(desk.page).toHaveTitle('(1) Parlor');
  await desk.page.getByRole('link', { name: /bea/ }).click();
  await expect(desk.page.locator('.row .badge')).toHaveCount(0);
  await expect(phone.page.locator('.row .badge')).toHaveCount(0);
  await expect(phone.page).toHaveTitle('Parlor');
});

test('a message that the server refuses says so, can be tried again and be thrown away', async ({ person, server }) => {
  const ada = await person('ada');
  await server.account('bea');
  await ada.page.goto(`${server.url}/c/new/99999`);
  await ada.say('Is anybody there?');
  await expect(ada.page.locator('.message-failed')).toContainText('Not sent');
  await ada.page.reload();
  await expect(ada.page.locator('.message-failed')).toContainText('Not sent');
  await ada.page.getByRole('button', { name: 'Discard' }).click();
  await expect(ada.page.locator('.message')).toHaveCount(0);
  await ada.page.reload();
  await expect(ada.composer).toBeVisible();
  await expect(ada.page.locator('.message')).toHaveCount(0);
});

test('history comes as one scrolls up, and stays where one was', async ({ browserOf, server }) => {
  const [ada, bea] = [await server.account('ada'), await server.account('bea')];
  for (let n = 0; n < 180; n += 1) await server.send(bea, [ada.id], `line ${n}`);
  const who = await browserOf(ada);
  await who.page.getByRole('link', { name: /bea/ }).click();
  await who.page.getByRole('button', { name: /Latest|new/ }).click();
  await expect(who.message('line 179')).toBeInViewport();
  await who.log.focus();
  // What is in view does not jump when what is above it comes.
  const place = () => who.page.locator('[data-seq="130"]').evaluate((row) => row.getBoundingClientRect().top);
  await who.page.locator('[data-seq="130"]').evaluate((row) => row.scrollIntoView({ block: 'start' }));
  await expect(who.page.locator('[data-seq="85"]')).toBeAttached();
  expect(Math.abs((await place()) - (await who.log.evaluate((log) => log.getBoundingClientRect().top)))).toBeLessThan(60);
  await expect(async () => {
    await who.page.keyboard.press('Home');
    await expect(who.page.getByText('This is where it began.')).toBeInViewport({ timeout: 300 });
  }).toPass();
  await expect(who.message('line 0')).toBeVisible();
  // A new message moves nothing, and is offered.
  await server.send(bea, [ada.id], 'the newest');
  await who.page.getByRole('button', { name: /Latest|new/ }).click();
  await expect(who.message('the newest')).toBeInViewport();
});

test('from far up, one step leads to the end, and one stays there', async ({ browserOf, server }) => {
  const [ada, bea] = [await server.account('ada'), await server.account('bea')];
  // More than the page keeps: its end is fetched anew.
  for (let n = 0; n < 450; n += 1) await server.send(bea, [ada.id], `line ${n}`);
  const who = await browserOf(ada);
  await who.page.getByRole('link', { name: /bea/ }).click();
  const latest = who.page.getByRole('button', { name: /Latest|new/ });
  await latest.click();
  await expect(who.message('line 449')).toBeInViewport();
  await who.log.focus();
  await expect(async () => {
    await who.page.keyboard.press('Home');
    await expect(who.page.getByText('This is where it began.')).toBeInViewport({ timeout: 300 });
  }).toPass();
  await expect(who.message('line 449')).not.toBeAttached();
  await latest.click();
  await expect(who.message('line 449')).toBeInViewport();
  await server.send(bea, [ada.id], 'one more');
  await expect(who.message('one more')).toBeInViewport();
  await expect(latest).toBeHidden();
  expect(await who.page.locator('[data-seq]').count()).toBeLessThanOrEqual(300);
});

test('a draft survives a reload, and another conversation', async ({ person, server }) => {
  const ada = await person('ada');
  const bea = await server.account('bea');
  await server.send(bea, [ada.account.id], 'Hi');
  await ada.page.getByRole('link', { name: /bea/ }).click();
  await ada.composer.fill('Half a thou');
  await ada.page.reload();
  await expect(ada.composer).toHaveValue('Half a thou');
});

test('signing out in one tab signs out all, and leaves nothing behind', async ({ person, server }) => {
  const ada = await person('ada');
  const other = await ada.page.context().newPage();
  await other.goto(server.url);
  await expect(other.getByRole('heading', { name: 'Chats' })).toBeVisible();
  await ada.page.getByRole('link', { name: 'Settings' }).click();
  await ada.page.getByRole('button', { name: 'Sign out' }).click();
  await expect(ada.page.getByRole('button', { name: 'Sign in' })).toBeVisible();
  await expect(other.getByRole('button', { name: 'Sign in' })).toBeVisible();
  await ada.page.reload();
  await expect(ada.page.getByRole('button', { name: 'Sign in' })).toBeVisible();
  await accessible(ada.page, 'sign in');
});
