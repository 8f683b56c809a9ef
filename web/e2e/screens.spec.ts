/** Every screen, light and dark, wide and narrow: nothing that axe calls wrong; pictures to be looked at. */

import { accessible, expect, newPage, Person, test } from './support/test.ts';

const PICTURES = process.env.PICTURES;

async function fill(ada: Person, server: import('./support/server.ts').Server): Promise<void> {
  const [bea, cleo] = [await server.account('bea'), await server.account('cleo.k')];
  const me = ada.account.id;
  await server.send(bea, [me], 'Morning! Did you see the new build?');
  await server.send(ada.account, [bea.id], 'Yes, and the script that tidies my messages up works: https://example.org/notes');
  await server.send(bea, [me], 'Nice. Lunch at twelve?');
  await server.send(bea, [me], 'The place at the corner 🍕');
  await server.send(ada.account, [bea.id], 'Deal. I bring Cleo.');
  await server.send(cleo, [me, bea.id], 'Agenda for Thursday:\n1. Budget\n2. Hiring\n3. The move');
  await server.send(ada.account, [bea.id, cleo.id], 'I take the second.');
  await server.send(cleo, [me], 'Could you look over my draft?');
  await fetch(`${server.url}/api/v1/users/me/auto-reply`, {
    method: 'PUT', headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${bea.accessToken}` },
    body: JSON.stringify({ enabled: true, text: 'I am in a meeting until three.', repeatAfterSeconds: 0 }),
  });
  await server.send(ada.account, [bea.id], 'Are you there?');
}

for (const [name, scheme, viewport] of [
  ['light', 'light', { width: 1280, height: 800 }],
  ['dark', 'dark', { width: 1280, height: 800 }],
  ['phone', 'light', { width: 390, height: 780 }],
] as const) {
  test(`every screen, ${name}`, async ({ browserOf, server }) => {
    test.setTimeout(300_000);
    await server.admin('root');
    const account = { username: 'root', password: 'correct horse' };
    const grant = (await server.post('/login', account)) as { accessToken: string; user: { id: number } };
    const ada = await browserOf({ ...account, id: grant.user.id, accessToken: grant.accessToken }, { colorScheme: scheme, viewport });
    const { page } = ada;
    const look = async (screen: string) => {
      // In the dark nothing is different but the colours.
      await accessible(page, `${screen}, ${name}`, scheme === 'dark' ? ['color-contrast'] : undefined);
      // Nothing reaches over the edge.
      expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), `${screen} is too wide`).toBeLessThanOrEqual(0);
      if (PICTURES) await page.screenshot({ path: `${PICTURES}/${name}-${screen}.png` });
    };
    await expect(page.getByText('No conversations yet')).toBeVisible();
    await look('empty');
    await fill(ada, server);
    await expect(page.getByRole('link', { name: /bea/ }).first()).toBeVisible();
    await look('list');
    await page.getByRole('button', { name: 'New conversation' }).first().click();
    await expect(page.getByRole('option').first()).toBeVisible();
    await look('new');
    await page.keyboard.press('Escape');
    await page.getByRole('link', { name: /meeting/ }).click();
    await expect(page.locator('.message.automatic')).toBeVisible();
    await look('conversation');
    await page.getByRole('button', { name: 'Emoji' }).click();
    await look('emoji');
    await page.keyboard.press('Escape');
    const to = async (path: string) => page.goto(`${server.url}${path}`);
    await to('/auto-reply');
    await page.getByRole('switch').click();
    await page.getByLabel('Text').fill('I am away until Monday. For anything urgent, ask Cleo.');
    await look('auto-reply');
    await to('/scripts/incoming');
    await expect(page.locator('.outcome').first()).toBeVisible({ timeout: 30_000 });
    await look('workshop');
    await page.getByRole('button', { name: 'Templates' }).click();
    await expect(page.locator('.template').first()).toBeVisible();
    await look('gallery');
    await page.getByRole('button', { name: /^Office hours (?!jolie)/ }).click();
    await expect(page.locator('.made').first()).toBeVisible({ timeout: 30_000 });
    await look('workshop-template');
    await page.getByRole('button', { name: 'Save and activate' }).click();
    await expect(page.getByText('Version 1 is running').first()).toBeVisible();
    await server.send({ ...ada.account, accessToken: (await server.account('dora')).accessToken }, [ada.account.id], 'Hello, is anybody in?');
    for (const panel of ['Versions', 'Log', 'Figures']) {
      await page.getByRole('tab', { name: panel }).click();
      await expect(page.getByRole('tabpanel').locator('.version, .run, .numbers').first()).toBeVisible({ timeout: 20_000 });
      await look(`workshop-${panel.toLowerCase()}`);
    }
    await to('/filtered');
    await expect(page.getByText('Nothing was filtered')).toBeVisible();
    await look('filtered');
    await to('/settings');
    await expect(page.getByRole('heading', { name: 'Settings' })).toBeVisible();
    await look('settings');
    for (const part of ['', '/users', '/nodes']) {
      await to(`/admin${part}`);
      await expect(page.locator('.health, .table, .facts').first()).toBeVisible();
      await look(`admin${part.replace('/', '-')}`);
    }
  });
}

test('the first load, to a conversation that is read, is less than 250 KiB', async ({ browser, server }) => {
  const [ada, bea] = [await server.account('ada'), await server.account('bea')];
  for (let n = 0; n < 60; n += 1) await server.send(bea, [ada.id], `message ${n} of some words`);
  const page = await newPage(browser, {}, []);
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Network.enable');
  let bytes = 0;
  cdp.on('Network.loadingFinished', ({ encodedDataLength }) => (bytes += encodedDataLength));
  await page.goto(server.url);
  await new Person(page, ada).signIn();
  await page.getByRole('link', { name: /bea/ }).click();
  await expect(page.locator('.message').first()).toBeVisible();
  console.log(`first load with heads: ${(bytes / 1024).toFixed(0)} KiB`);
  expect(bytes).toBeGreaterThan(50 * 1024);
  expect(bytes).toBeLessThan(250 * 1024);
  await page.context().close();
});
